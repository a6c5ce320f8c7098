// A thousand connections of all kinds at two processes of the library, whose sessions end in all ways: no byte may come later
// than the interval, and nobody else may be disturbed.
// Usage:
//   npm run soak:connections [-- --databases sqlite,postgres,mysql --sessions 63 --each 2 --seconds 20 --seed 1]
// The databases are those of TEST_POSTGRES_URL and TEST_MYSQL_URL; sqlite needs none. 63 sessions with two connections of each of
// the eight kinds are 1,008 connections.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import 'reflect-metadata';
import { runnerImport } from 'vite';
import { createDatabase } from './processes.mjs';

const { values } = parseArgs({
  options: {
    databases: { type: 'string', default: 'sqlite' },
    sessions: { type: 'string', default: '63' },
    each: { type: 'string', default: '2' },
    seconds: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
  },
});

const root = fileURLToPath(new URL('../..', import.meta.url));
const { module } = await runnerImport(fileURLToPath(new URL('../connections/crowd.ts', import.meta.url)), {
  root,
  configFile: false,
  logLevel: 'error',
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  resolve: { alias: { 'nestjs-session-tokens': `${root}lib/index.ts` } },
});

for (const kind of values.databases.split(',')) {
  const { url, remove } = await createDatabase(kind);
  const database =
    kind === 'sqlite'
      ? { type: 'better-sqlite3', database: url.replace('sqlite:', '') }
      : { type: kind === 'mysql' ? 'mariadb' : kind, url };
  try {
    const report = await module.watchCrowd({
      database,
      sessions: Number(values.sessions),
      each: Number(values.each),
      duration: Number(values.seconds) * 1_000,
      seed: Number(values.seed),
    });
    const { rows, fates, racing, falseEnds, late, limit, pause, leftOver } = report;
    console.log(`${kind}: milliseconds from the end of a session to the last byte, and until it is closed`);
    console.table(rows);
    console.log(fates);
    console.log(`${racing.accepted} of ${racing.tried} connections were accepted while their session ended.`);
    console.log(`Limit ${limit} ms; the longest pause of a process was ${pause} ms.`);
    console.log(
      `${late.length} late, ${falseEnds.length} ended falsely, ${leftOver} still registered.`,
      late.slice(0, 10),
      falseEnds.slice(0, 10),
    );
    if (late.length > 0 || falseEnds.length > 0 || leftOver > 0) process.exitCode = 1;
  } finally {
    await remove();
  }
}
console.log(process.exitCode ? 'FAILED' : 'No byte came after its time, and nobody else was disturbed.');
process.exit();
