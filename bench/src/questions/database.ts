import { Client, overConnections } from '../load/client.js';
import type { Step } from '../load/load.js';
import { entryOf, raceTable } from '../report/race-table.js';
import { titleOf } from '../report/titles.js';
import { type BenchDatabase, runOnPostgres } from '../run/databases.js';
import type { Adapter } from '../servers/support/environment.js';
import type { Bench, Contender, Question, RaceResult, Ratio, Row, Table } from './question.js';

/** Options under which every refresh rotates: the load refreshes far more often than any client would. */
const STRICT = JSON.stringify({ reuseWindow: 0 });

const FLOOR = 'bare driver, one UPDATE';
const ALONE = { 'the same, TypeORM not loaded': 'database/one-update-alone' };
const LOCKING = { 'bare driver, SELECT … FOR UPDATE': 'database/select-for-update' };
const OURS = 'nestjs-session-tokens';

const CONNECTIONS = 16;

export const question: Question = {
  name: 'database',
  order: 2,
  title: 'What does the database cost?',

  async answer(bench) {
    const tables: Table[] = [await roundTrips(bench)];
    const hot: Row[] = [];
    for (const adapter of bench.adapters) {
      const refresh = await raceOnPostgres(bench, 'renew', adapter, { ...ALONE, ...LOCKING });
      tables.push(tableOf(refresh.result, 'refresh', adapter));
      hot.push(...refresh.hot);
      const login = await raceOnPostgres(bench, 'login', adapter, ALONE);
      tables.push(tableOf(login.result, 'login', adapter));
    }
    tables.push(hotTable(hot));
    return tables;
  },

  async quick(bench) {
    const ratios: Ratio[] = [];
    for (const adapter of bench.adapters) {
      for (const [name, step] of [
        ['refresh', 'renew'],
        ['login', 'login'],
      ] as const) {
        const { result } = await raceOnPostgres(bench, step, adapter);
        const { throughputRatio, cpuRatio } = entryOf(result, OURS);
        ratios.push(
          { name: `database.${adapter}.${name}.throughput`, value: throughputRatio },
          { name: `database.${adapter}.${name}.cpu`, value: cpuRatio },
        );
      }
    }
    return ratios;
  },
};

/** Each contender has a database of its own, so that what PostgreSQL counts can be told apart. */
async function raceOnPostgres(
  bench: Bench,
  step: Extract<Step, 'login' | 'renew'>,
  adapter: Adapter,
  others: Readonly<Record<string, string>> = {},
): Promise<{ result: RaceResult; hot: Row[] }> {
  const contenders: Contender[] = [];
  const databases = new Map<string, BenchDatabase>();
  const add = async (name: string, server: string) => {
    const database = await bench.database('postgres');
    if (!database) throw new Error('This question needs PostgreSQL: see README.md.');
    databases.set(name, database);
    contenders.push({
      name,
      server,
      adapter,
      databaseUrl: database.url,
      pool: CONNECTIONS,
      env: { SESSION_OPTIONS: STRICT },
      load: { kind: 'flow', step, connections: CONNECTIONS },
    });
  };
  await add(FLOOR, 'database/one-update');
  await add(OURS, 'ours/session-tokens');
  for (const [name, server] of Object.entries(others)) await add(name, server);
  const title = `${step === 'renew' ? 'refresh' : step} on ${adapter} and PostgreSQL`;
  const result = await bench.race({ title, floor: FLOOR, contenders });
  const hot: Row[] = [];
  if (step === 'renew') {
    for (const [name, database] of databases)
      hot.push({ name: `${name}, ${titleOf(adapter)}`, values: await hotUpdates(database) });
  }
  return { result, hot };
}

function tableOf(result: RaceResult, operation: 'refresh' | 'login', adapter: Adapter): Table {
  const what =
    operation === 'refresh'
      ? 'Each client refreshes again and again, with `reuseWindow: 0`, so that each refresh rotates.'
      : 'Each request signs in a new user.';
  return raceTable(result, {
    name: `${operation}-${adapter}`,
    title: `${operation === 'refresh' ? 'Refresh' : 'Login'} on ${titleOf(adapter)} and PostgreSQL`,
    text: `${what} ${CONNECTIONS} clients, ${CONNECTIONS} connections to the database. The bare driver does the same work in the same stack with named prepared statements: the same columns, tokens and cookies. The stack includes TypeORM, connected and idle, as applications of the library have it; one row is without.`,
    chart: {
      column: 'throughputRatio',
      title: `${operation === 'refresh' ? 'Refresh' : 'Login'} on Nest with ${titleOf(adapter)} and PostgreSQL: share of the bare driver’s throughput`,
      highlight: [OURS],
    },
  });
}

/** Operations in the order in which one client does them, and what they are called. */
const OPERATIONS: readonly (readonly [Step, string])[] = [
  ['login', 'create'],
  ['me', 'request with a proven token'],
  ['renew', 'refresh'],
  ['me', 'first use of a refreshed token (prove)'],
  ['me', 'request after that'],
  ['devices', 'list of devices'],
  ['logout', 'revoke'],
];

/** Statements per operation, as TypeORM sends them. */
async function roundTrips(bench: Bench): Promise<Table> {
  bench.progress('statements per operation');
  const columns: { key: string; label: string }[] = [];
  const counts: Record<string, number>[] = OPERATIONS.map(() => ({}));
  for (const kind of ['postgres', 'mysql', 'sqlite'] as const) {
    const database = await bench.database(kind);
    if (!database) continue;
    columns.push({ key: kind, label: database.version });
    for (const [index, count] of (await countStatements(bench, database)).entries())
      counts[index]![kind] = count;
  }
  return {
    name: 'round-trips',
    title: 'Statements per operation',
    text: 'What TypeORM sends to the database while one client does one thing after the other. The query by which a process learns of revocations, at most once a second, is turned off here.',
    columns,
    rows: OPERATIONS.map(([, name], index) => ({ name, values: counts[index]! })),
  };
}

async function countStatements(bench: Bench, database: BenchDatabase): Promise<number[]> {
  const process = await bench.start({
    server: 'ours/session-tokens',
    adapter: 'fastify',
    databaseUrl: database.url,
    env: { COUNT_QUERIES: '1', SESSION_OPTIONS: JSON.stringify({ reuseWindow: 0, revocation: 'none' }) },
  });
  const counts: number[] = [];
  const client = new Client('user-1');
  await overConnections([process.port], 1, OPERATIONS, async ([step], connection) => {
    const before = (await process.sample()).queries!;
    await client.take(step, connection);
    counts.push((await process.sample()).queries! - before);
  });
  await process.stop();
  return counts;
}

/** How many updates of the sessions' table left its indexes alone. All servers have stopped, and so have told PostgreSQL. */
async function hotUpdates({ url }: BenchDatabase): Promise<Row['values']> {
  await runOnPostgres(url, 'SELECT pg_stat_force_next_flush()');
  const [row] = await runOnPostgres(
    url,
    `SELECT n_tup_upd AS updates, n_tup_hot_upd AS hot FROM pg_stat_user_tables WHERE relname = 'user_session'`,
  );
  const [updates, hot] = [Number(row!['updates']), Number(row!['hot'])];
  return { updates, hot: hot / updates };
}

function hotTable(rows: readonly Row[]): Table {
  return {
    name: 'hot-updates',
    title: 'Updates that leave the indexes alone',
    text: 'Share of PostgreSQL’s HOT updates (`n_tup_hot_upd` of `n_tup_upd`) of the sessions’ table in the refresh runs above, first uses included.',
    columns: [
      { key: 'updates', label: 'updates' },
      { key: 'hot', label: 'HOT', format: 'percent' },
    ],
    rows,
  };
}
