import type { Bench, ServerSpec, Table } from '../questions/question.js';
import type { Cell } from '../report/cell.js';
import type { BenchDatabase } from '../run/databases.js';
import type { ServerProcess } from '../run/server-process.js';
import { fill, type Filling, replaceKeys } from './fill.js';
import type { Samples } from './samples.js';
import { connect, type Sql } from './sql.js';

/** What all parts of the question need. */
export interface Growth {
  readonly bench: Bench;
  readonly kind: 'postgres' | 'mysql';
  /** The key of access tokens, as JSON, so that all processes have the same. */
  readonly signingJwk: string;
  readonly samples: Samples;
  /** Sessions of the large table. */
  readonly rows: number;
  /** Whether this is only a try. */
  readonly isQuick: boolean;
  readonly progress: (message: string) => void;
}

/** What a part has found. */
export interface Found {
  readonly tables: readonly Table[];
  /** Lines of the summary, by their names. */
  readonly summary: Readonly<Record<string, Cell>>;
}

/** A database with a filled table, and the processes that use it. */
export interface Station {
  readonly sql: Sql;
  readonly rows: number;
  readonly start: (spec?: Pick<ServerSpec, 'core' | 'env'>) => Promise<ServerProcess>;
}

/** In how many rows the small table is. */
export const SMALL = 10_000;

export const NAMES = { postgres: 'PostgreSQL', mysql: 'MySQL or MariaDB' } as const;

/** Runs something with stations, whose own connections are closed at the end. */
export async function withStations<T>(
  growth: Growth,
  work: (open: (filling: Omit<Filling, 'progress'>) => Promise<Station>) => Promise<T>,
): Promise<T> {
  const opened: Sql[] = [];
  try {
    return await work(async (filling) => {
      const database = await growth.bench.database(growth.kind);
      if (!database) throw new Error(`The ${growth.kind} server has gone.`);
      const start = (spec: Parameters<Station['start']>[0] = {}) => startWorker(growth, database, spec);
      // It makes the tables.
      await (await start()).stop();
      const sql = await connect(database);
      opened.push(sql);
      await replaceKeys(sql, growth.samples);
      await fill(sql, { ...filling, progress: growth.progress });
      return { sql, rows: filling.rows, start };
    });
  } finally {
    for (const sql of opened) await sql.end().catch(() => undefined);
    await growth.bench.cleanUp();
  }
}

function startWorker(
  { bench, signingJwk }: Growth,
  database: BenchDatabase,
  { core = 'server', env = {} }: Pick<ServerSpec, 'core' | 'env'>,
): Promise<ServerProcess> {
  return bench.start({
    server: 'growth/worker',
    adapter: 'fastify',
    databaseUrl: database.url,
    core,
    env: { SIGNING_JWK: signingJwk, ...env },
  });
}

/** The number of a size, as a reader says it: `10 million`, `10,000`. */
export function say(rows: number): string {
  return rows % 1e6 === 0 ? `${rows / 1e6} million` : rows.toLocaleString('en-GB');
}
