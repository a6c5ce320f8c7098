import type { DataSource, DataSourceOptions } from 'typeorm';
import { retryAtStart } from './database-error.js';

type SqliteOptions = Extract<DataSourceOptions, { type: 'better-sqlite3' }>;

/** What is used of a connection of `better-sqlite3`, or of `libsql`, which looks the same. */
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
 * How long a statement may wait for a lock. The driver waits in the event loop's thread: were it a transaction of this very
 * process that holds the lock, a longer wait would only keep it from ending. The statement is tried again later instead.
 */
const BUSY_MS = 2;

const WRITE = /^\s*(insert|update|delete|replace|create|drop|alter)\b/i;
const BEGIN = /^\s*begin\b/i;
const END = /^\s*(commit|rollback)\b/i;

/**
 * Options of a SQLite connection on which each write takes the lock before it begins.
 *
 * `libsql` (0.5) does not reset a statement that has met a lock; the next write on the connection then looks done and is
 * not committed. With the lock in hand no statement can meet one. The lock itself is taken by `exec`, which leaves nothing
 * behind when it fails.
 */
export function sqliteLocking({ prepareDatabase }: SqliteOptions) {
  return {
    timeout: BUSY_MS,
    // TypeORM before 0.3.26 does not wait for what this returns.
    prepareDatabase: (connection: Connection) => {
      const prepared = prepareDatabase?.(connection);
      lockBeforeWriting(connection);
      return prepared;
    },
  };
}

/**
 * Puts the file of an open connection into WAL mode, in which readers and writers do not wait for each other; with a rollback
 * journal, two connections can keep each other from ever committing.
 */
export async function useWriteAheadLog({ driver }: DataSource): Promise<void> {
  const { databaseConnection } = driver as unknown as { databaseConnection: Connection };
  await retryAtStart(() => databaseConnection.exec('PRAGMA journal_mode = WAL'));
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

/** Runs a write with the lock in hand. */
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

/** A statement that is executed without being prepared. */
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
