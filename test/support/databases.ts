import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import libsql from 'libsql';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { SESSION_ENTITIES, SESSION_MIGRATIONS } from 'nestjs-session-tokens';
import { TEST_MYSQL_URL, TEST_POSTGRES_URL } from './database-urls.js';
import { returnPostgresDatabase, takePostgresDatabase } from './postgres-databases.js';

/** A new, empty database. */
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

function postgres(server: string): DatabaseKind {
  return {
    name: 'postgres',
    async create() {
      const url = await takePostgresDatabase(server);
      return {
        options: { type: 'postgres', url: url.href },
        remove: () => returnPostgresDatabase(server, url),
      };
    },
  };
}

function mysql(server: string): DatabaseKind {
  return {
    name: 'mysql',
    async create() {
      const name = `session_tokens_test_${randomBytes(6).toString('hex')}`;
      const url = new URL(server);
      url.pathname = `/${name}`;
      const connection = await createConnection(server);
      await connection.query(`CREATE DATABASE ${name}`);
      const [rows] = await connection.query<(RowDataPacket & { version: string })[]>(
        'SELECT version() AS version',
      );
      await connection.end();
      return {
        // TypeORM reads the defaults of MariaDB's columns correctly only with the type "mariadb".
        options: { type: /mariadb/i.test(rows[0]!.version) ? 'mariadb' : 'mysql', url: url.href },
        async remove() {
          const last = await createConnection(server);
          await last.query(`DROP DATABASE ${name}`);
          await last.end();
        },
      };
    },
  };
}

/** SQLite, and every server whose URL is in the environment. */
export const databases: readonly DatabaseKind[] = [
  sqlite,
  ...(TEST_POSTGRES_URL ? [postgres(TEST_POSTGRES_URL)] : []),
  ...(TEST_MYSQL_URL ? [mysql(TEST_MYSQL_URL)] : []),
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
