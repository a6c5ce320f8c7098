// npm run profile [-- express|fastify] [--operation proven|first-seen|refresh|login] [--slice 5] [--floor]
// Where the CPU time of a server goes, by package and by function: one with the library, or with --floor the one that a
// refresh or a login is compared with.
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { makeSessions } from './load/sessions.js';
import { functionUsage, groupUsage, type Usage } from './profile/groups.js';
import type { Load, ServerSpec } from './questions/question.js';
import { printTable } from './report/terminal.js';
import { readOptions } from './run/command-line.js';
import { type Workbench, withWorkbench } from './run/workbench.js';
import type { Adapter } from './servers/support/environment.js';

const { names, pace, values } = readOptions(
  { heats: 1, rounds: 1, slice: 5, warmUp: 3 },
  { operation: { type: 'string', default: 'proven' }, floor: { type: 'boolean', default: false } },
);
const adapter = (names[0] ?? 'fastify') as Adapter;
const operation = values['operation'] as string;

const SHOWN = 30;

/** The server, and what it is driven with. */
async function prepare(bench: Workbench): Promise<{ spec: ServerSpec; load: Load }> {
  switch (operation) {
    case 'proven': {
      const { clients, ours } = await makeSessions(bench, 'HS256', 100);
      return { spec: ours(adapter), load: { kind: 'requests', requests: requestsOf(clients) } };
    }
    case 'first-seen': {
      const count = 8_000;
      const { clients, ours } = await makeSessions(bench, 'HS256', 2 * count);
      return { spec: ours(adapter), load: { kind: 'requests', requests: requestsOf(clients), count } };
    }
    case 'refresh':
    case 'login': {
      const database = await bench.database('postgres');
      if (!database) throw new Error('This needs PostgreSQL: see README.md.');
      const env = { SESSION_OPTIONS: JSON.stringify({ reuseWindow: 0 }) };
      const server = values['floor'] ? 'database/one-update' : 'ours/session-tokens';
      const spec = { server, adapter, databaseUrl: database.url, env };
      return { spec, load: { kind: 'flow', step: operation === 'login' ? 'login' : 'renew' } };
    }
    default:
      throw new Error(`There is no operation "${operation}": proven, first-seen, refresh, login.`);
  }
}

function requestsOf(clients: Awaited<ReturnType<typeof makeSessions>>['clients']) {
  return clients.map((client) => client.fixedMe());
}

function toRow({ name, ...figures }: Usage) {
  return { name, values: figures };
}

const progress = (message: string) => process.stderr.write(`${message}\n`);
await withWorkbench(pace, progress, async (bench) => {
  const { spec, load } = await prepare(bench);
  const recording = await bench.profile(spec, load, pace.slice);

  const file = fileURLToPath(new URL(`../${operation}-${adapter}.cpuprofile`, import.meta.url));
  await writeFile(file, JSON.stringify(recording.profile));
  const functions = functionUsage(recording);
  const columns = [
    { key: 'share', label: 'of busy time', format: 'percent' },
    { key: 'each', label: 'µs/request' },
  ] as const;
  const title = `${operation} on ${adapter}: ${recording.requests} requests, main thread`;
  printTable({ title, columns, rows: groupUsage(functions).map(toRow) });
  printTable({
    title: 'Functions by self time',
    columns: [...columns, { key: 'group', label: 'of' }],
    rows: functions.slice(0, SHOWN).map(toRow),
  });
  progress(`\nThe whole profile, for the developer tools of a browser: ${file}`);
});
