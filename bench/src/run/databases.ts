import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import { Client } from 'pg';

export type DatabaseKind = 'postgres' | 'mysql' | 'sqlite';

/** An empty database of its own. */
export interface BenchDatabase {
  readonly kind: DatabaseKind;
  /** `postgres://…`, `mysql://…`, or `sqlite:` and a file name. */
  readonly url: string;
  /** Product and version. */
  readonly version: string;
  drop(): Promise<void>;
}

const {
  TEST_POSTGRES_URL = 'postgres://postgres@127.0.0.1:5432/postgres',
  TEST_MYSQL_URL = 'mysql://root@127.0.0.1:3306/mysql',
} = process.env;

/** Makes an empty database; gives none where no server of this kind answers. */
export async function createDatabase(kind: DatabaseKind): Promise<BenchDatabase | undefined> {
  if (kind === 'sqlite') return sqlite();
  const [administration, run] =
    kind === 'postgres'
      ? ([TEST_POSTGRES_URL, runOnPostgres] as const)
      : ([TEST_MYSQL_URL, runOnMysql] as const);
  let version: string;
  try {
    const [row] = await run(administration, 'SELECT version() AS version');
    version = String(row!['version']);
  } catch (error) {
    if (isUnreachable(error)) return undefined;
    throw error;
  }
  const name = `bench_${randomBytes(6).toString('hex')}`;
  await run(administration, `CREATE DATABASE ${name}`);
  const url = new URL(administration);
  url.pathname = `/${name}`;
  return {
    kind,
    url: url.href,
    version:
      kind === 'postgres'
        ? version.split(' ', 2).join(' ')
        : `MySQL ${version}`.replace(/.*-(\S*)-MariaDB.*|.* (\S*)-MariaDB.*/, 'MariaDB $1$2'),
    async drop() {
      await run(administration, `DROP DATABASE ${name}${kind === 'postgres' ? ' WITH (FORCE)' : ''}`);
    },
  };
}

/** Runs a statement on a PostgreSQL server. */
export async function runOnPostgres(url: string, statement: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(statement)).rows;
  } finally {
    await client.end();
  }
}

async function runOnMysql(url: string, statement: string): Promise<Record<string, unknown>[]> {
  const connection = await createConnection(url);
  try {
    const [rows] = await connection.query(statement);
    return Array.isArray(rows) ? (rows as Record<string, unknown>[]) : [];
  } finally {
    await connection.end();
  }
}

async function sqlite(): Promise<BenchDatabase> {
  const folder = await mkdtemp(join(tmpdir(), 'bench-'));
  return {
    kind: 'sqlite',
    url: `sqlite:${join(folder, 'bench.sqlite')}`,
    version: 'SQLite',
    drop: () => rm(folder, { recursive: true, force: true }),
  };
}

function isUnreachable(error: unknown): boolean {
  const errors = error instanceof AggregateError ? (error.errors as unknown[]) : [error];
  return errors.some((each) => (each as { code?: string }).code === 'ECONNREFUSED');
}
