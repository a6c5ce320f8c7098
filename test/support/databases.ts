import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import libsql from 'libsql';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { SESSION_ENTITIES, SESSION_MIGRATIONS } from 'nestjs-session-tokens';

/** A fresh, empty database of its own. */
export interface TestDatabase {
  readonly options: DataSourceOptions;
  remove(): Promise<void>;
}

/** A kind of database that the suites run on. */
export interface DatabaseKind {
  readonly name: 'sqlite' | 'postgres' | 'mysql';
  create(): Promise<TestDatabase>;
}

const sqlite: DatabaseKind = {
  name: 'sqlite',
  async create() {
    const folder = await mkdtemp(join(tmpdir(), 'session-tokens-'));
    return {
      options: { type: 'better-sqlite3', driver: libsql, database: join(folder, 'test.sqlite') },
      remove: () => rm(folder, { recursive: true, force: true }),
    };
  },
};

function server(type: 'postgres' | 'mysql', url: string): DatabaseKind {
  return {
    name: type,
    async create() {
      const name = `session_tokens_test_${randomBytes(6).toString('hex')}`;
      await administer(type, url, `CREATE DATABASE ${name}`);
      const own = new URL(url);
      own.pathname = `/${name}`;
      // TypeORM reads the defaults of MariaDB's columns right only when told that it is MariaDB.
      const [row] = await administer(type, url, 'SELECT version() AS version');
      return {
        options: { type: /mariadb/i.test(row!['version']!) ? 'mariadb' : type, url: own.href },
        async remove() {
          await administer(type, url, `DROP DATABASE ${name}${type === 'postgres' ? ' WITH (FORCE)' : ''}`);
        },
      };
    },
  };
}

async function administer(
  type: 'postgres' | 'mysql',
  url: string,
  statement: string,
): Promise<Record<string, string>[]> {
  const dataSource = await new DataSource({ type, url }).initialize();
  try {
    return await dataSource.query<Record<string, string>[]>(statement);
  } finally {
    await dataSource.destroy();
  }
}

const { TEST_POSTGRES_URL, TEST_MYSQL_URL } = process.env;

/** SQLite, and every server whose URL is in the environment. */
export const databases: readonly DatabaseKind[] = [
  sqlite,
  ...(TEST_POSTGRES_URL ? [server('postgres', TEST_POSTGRES_URL)] : []),
  ...(TEST_MYSQL_URL ? [server('mysql', TEST_MYSQL_URL)] : []),
];

/** A connection to a test database with the tables of the sessions. */
export async function connect(database: TestDatabase): Promise<DataSource> {
  return new DataSource({
    ...database.options,
    entities: [...SESSION_ENTITIES],
    migrations: [...SESSION_MIGRATIONS],
    migrationsRun: true,
  }).initialize();
}
