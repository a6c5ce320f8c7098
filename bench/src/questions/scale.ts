import { overConnections } from '../load/client.js';
import { makeSessions, type Sessions } from '../load/sessions.js';
import { raceTable } from '../report/race-table.js';
import { titleOf } from '../report/titles.js';
import { type Spread, spread } from '../run/statistics.js';
import type { Adapter } from '../servers/support/environment.js';
import type { ImportTimes } from '../servers/start-up/imports.js';
import type { Bench, Question, ServerSpec, Table } from './question.js';

const PROCESSES = 4;
const SESSIONS = 10_000;

/** Distinct tokens that one process sees in turn; the last are more than it should want to keep. */
const SEEN = [1_000, 10_000, 20_000] as const;

export const question: Question = {
  name: 'scale',
  order: 5,
  title: 'How does it scale, and what does it take?',

  async answer(bench) {
    const sessions = await makeSessions(bench, 'HS256', SEEN.at(-1)!);
    const tables: Table[] = [];
    for (const adapter of bench.adapters) tables.push(await processesTable(bench, adapter, sessions));
    tables.push(await memoryTable(bench, sessions));
    await bench.cleanUp();
    tables.push(await startUpTable(bench), await importTable(bench));
    return tables;
  },
};

async function processesTable(bench: Bench, adapter: Adapter, sessions: Sessions): Promise<Table> {
  const me = sessions.clients.slice(0, SESSIONS).map((client) => client.fixedMe());
  const bare = me.map(({ headers }) => ({ path: '/bare', headers, body: '{"ok":true}' }));
  const common = { adapter, processes: PROCESSES };
  const few = 16;
  const result = await bench.race({
    title: `${PROCESSES} processes on ${adapter}`,
    floor: 'bare route',
    // Each process gets a quarter of it.
    factors: { heats: 1 / bench.pace.heats, rounds: 5 / 3, warmUp: PROCESSES / 2 },
    contenders: [
      {
        name: 'bare route',
        server: 'guard/bare',
        ...common,
        load: { kind: 'requests', requests: bare },
      },
      {
        name: `SessionGuard, ${few} sessions`,
        ...sessions.ours(adapter),
        ...common,
        load: { kind: 'requests', requests: me.slice(0, few), primed: true },
      },
      {
        name: `SessionGuard, ${SESSIONS.toLocaleString('en-GB')} sessions`,
        ...sessions.ours(adapter),
        ...common,
        load: { kind: 'requests', requests: me, primed: true },
      },
      {
        name: `jose guard, ${SESSIONS.toLocaleString('en-GB')} sessions`,
        ...sessions.jose(adapter),
        ...common,
        load: { kind: 'requests', requests: me },
      },
    ],
  });
  return raceTable(result, {
    name: `processes-${adapter}`,
    title: `Four processes on ${titleOf(adapter)}`,
    text: 'All four share the servers’ core. The sessions come in turn; which process a request meets is whichever connection is free, so that every process sees every session.',
  });
}

async function memoryTable(bench: Bench, { clients, ours }: Sessions): Promise<Table> {
  bench.progress('memory per cached token');
  const process = await bench.start(ours('fastify'));
  const use = async (from: number, to: number) => {
    const users = clients.slice(from, to);
    await overConnections([process.port], 16, users, (client, connection) => client.take('me', connection));
    return (await process.collectGarbage()).heapUsed;
  };
  // What the first requests leave behind, compiled code above all, has nothing to do with the number of tokens.
  for (let pass = 0; pass < 20; pass++) await use(0, 100);
  const start = await use(0, 100);
  const rows: Table['rows'][number][] = [];
  let seen = 100;
  const add = (name: string, heap: number, count: number) =>
    rows.push({ name, values: { heap: heap - start, each: (heap - start) / count } });
  for (const count of SEEN) {
    const heap = await use(seen, count);
    add(`${count.toLocaleString('en-GB')} tokens`, heap, count - 100);
    seen = count;
  }
  add('all of them once more', await use(0, seen), seen - 100);
  await process.stop();
  return {
    name: 'memory',
    title: 'Memory of seen tokens',
    text: 'Heap in use after garbage collection, above that of the same process when it has seen 100 tokens, as one process sees more and more distinct valid tokens. On Fastify.',
    columns: [
      { key: 'heap', label: 'more heap', format: 'bytes' },
      { key: 'each', label: 'per token', format: 'bytes' },
    ],
    rows,
  };
}

async function startUpTable(bench: Bench): Promise<Table> {
  bench.progress('start-up time');
  const postgres = await bench.database('postgres');
  const contenders: [string, ServerSpec][] = [
    ['Nest', on('guard/bare')],
    ['Nest, TypeORM, SQLite in memory', on('start-up/data-source', 'sqlite::memory:')],
    ['… and SessionModule', on('ours/session-tokens', 'sqlite::memory:')],
  ];
  if (postgres) {
    contenders.push(
      ['Nest, TypeORM, PostgreSQL', on('start-up/data-source', postgres.url)],
      ['… and SessionModule, tables there', on('ours/session-tokens', postgres.url)],
    );
  }
  const times = contenders.map((): number[] => []);
  // The first round makes the tables, and fills the disk's cache.
  for (let round = -1; round < bench.pace.rounds; round++) {
    for (const [index, [, spec]] of contenders.entries()) {
      const process = await bench.start(spec);
      await process.stop();
      if (round >= 0) times[index]!.push(process.startMs);
    }
  }
  return {
    name: 'start-up',
    title: 'Start-up',
    text: 'From the start of the process until the server accepts connections, imports included, on Fastify, in turn.',
    columns: [{ key: 'time', label: 'ms' }],
    rows: contenders.map(([name], index) => ({ name, values: { time: spread(times[index]!) } })),
  };
}

function on(server: string, databaseUrl = ''): ServerSpec {
  return { server, adapter: 'fastify', databaseUrl };
}

async function importTable(bench: Bench): Promise<Table> {
  bench.progress('import cost');
  const rounds: ImportTimes[] = [];
  for (let round = -1; round < bench.pace.rounds; round++) {
    const process = await bench.start({ server: 'start-up/imports', adapter: 'fastify' });
    const times = await process.call<ImportTimes>('times');
    if (round >= 0) rounds.push(times);
    await process.stop();
  }
  const of = (what: keyof ImportTimes): Spread => spread(rounds.map((times) => times[what]));
  return {
    name: 'imports',
    title: 'Imports',
    text: 'Each row is imported after the ones above it, in a fresh process: what importing the library adds to an application that has the others.',
    columns: [{ key: 'time', label: 'ms' }],
    rows: [
      { name: 'peer dependencies: Nest, RxJS, TypeORM', values: { time: of('peers') } },
      { name: 'jose', values: { time: of('jose') } },
      { name: 'nestjs-session-tokens', values: { time: of('library') } },
    ],
  };
}
