import type { DataSource, DataSourceOptions } from 'typeorm';
import { retryAtStart } from './database-error.js';

/** Options of a SQLite database in a file. */
export type SqliteOptions = Extract<DataSourceOptions, { type: 'better-sqlite3' }>;

/** Whether these are the options of a SQLite database, by whatever driver. */
export function isSqlite({ type }: Pick<DataSourceOptions, 'type'>): boolean {
  return type === 'better-sqlite3' || type === 'sqljs';
}

/** Whether this is the `database` of a SQLite database that is in no file. */
export function isInMemory(database: unknown): boolean {
  return (
    typeof database !== 'string' ||
    database === '' ||
    database.includes(':memory:') ||
    database.includes('mode=memory')
  );
}

/** The used part of a connection of `better-sqlite3` or `libsql`, which have the same interface. */
interface Connection {
  readonly inTransaction: boolean;
  exec(sql: string): unknown;
  prepare(sql: string): Statement;
}

interface Statement {
  readonly reader: boolean;
  run(...parameters: unknown[]): unknown;
  all(...parameters: unknown[]): unknown;
}

/**
 * How long a statement may wait for a lock. The driver blocks the event loop while it waits. If a transaction of this
 * process holds the lock, it cannot end during that time. So the wait is short, and the statement is tried again later.
 */
export const BUSY_MS = 2;

const WRITE = /^\s*(insert|update|delete|replace|create|drop|alter)\b/i;
const BEGIN = /^\s*begin\b/i;
const END = /^\s*(commit|rollback)\b/i;

/**
 * Options of a SQLite connection on which each write takes the lock before it begins.
 *
 * The reason is a defect of `libsql` (0.5): it does not reset a statement that has failed because of a lock. The next write
 * on the connection then seems to succeed, but is not committed. A write that already has the lock cannot fail in this way.
 * `exec` takes the lock; if it fails, no statement is left behind.
 */
export function sqliteLocking({ prepareDatabase }: SqliteOptions) {
  return {
    timeout: BUSY_MS,
    // TypeORM before 0.3.26 does not await the result. So lockBeforeWriting() is called synchronously.
    prepareDatabase: (connection: Connection) => {
      const prepared = prepareDatabase?.(connection);
      lockBeforeWriting(connection);
      return prepared;
    },
  };
}

/**
 * Puts the file of an open connection into WAL mode. In WAL mode, readers and writers do not wait for each other. With a
 * rollback journal, two connections could prevent each other from committing for ever.
 */
export async function useWriteAheadLog(dataSource: DataSource): Promise<void> {
  await retryAtStart(() => connectionOf(dataSource).exec('PRAGMA journal_mode = WAL'));
}

/** The one connection of a SQLite `DataSource`. */
export function connectionOf({ driver }: DataSource): Connection {
  return (driver as unknown as { databaseConnection: Connection }).databaseConnection;
}

function lockBeforeWriting(connection: Connection): void {
  const prepare = connection.prepare.bind(connection);
  connection.prepare = (sql) => {
    if (BEGIN.test(sql)) return executed(connection, 'BEGIN IMMEDIATE');
    if (END.test(sql)) return executed(connection, sql);
    const statement = prepare(sql);
    if (!WRITE.test(sql)) return statement;
    statement.run = locked(connection, statement.run.bind(statement));
    statement.all = locked(connection, statement.all.bind(statement));
    return statement;
  };
}

/** Takes the lock, and then runs a write. */
function locked(connection: Connection, run: Statement['run']): Statement['run'] {
  return (...parameters) => {
    if (connection.inTransaction) return run(...parameters);
    connection.exec('BEGIN IMMEDIATE');
    try {
      const result = run(...parameters);
      connection.exec('COMMIT');
      return result;
    } catch (error) {
      if (connection.inTransaction) connection.exec('ROLLBACK');
      throw error;
    }
  };
}

/** A statement that `exec` runs, without preparing it. */
function executed(connection: Connection, sql: string): Statement {
  return {
    reader: false,
    run() {
      connection.exec(sql);
      return { changes: 0, lastInsertRowid: 0 };
    },
    all() {
      throw new Error('This statement returns no rows.');
    },
  };
}
