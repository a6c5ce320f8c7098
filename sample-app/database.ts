import { accessSync, constants, existsSync, lstatSync, mkdirSync, mkdtempSync, statSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import libsql from 'libsql';
import mysql2, { type PoolOptions } from 'mysql2';
import type { DataSourceOptions } from 'typeorm';

/**
 * Timeouts in milliseconds. The session module answers 503 when a statement has taken 5 s (`databaseTimeout`), but the statement
 * goes on and keeps its connection, until something here ends it. README, "What happens while the database is down?".
 */
const TIMEOUTS = {
  /** For a connection: to the server, and with `pg` also from the pool. A server that drops packets refuses nothing. */
  connect: 5_000,
  /** For a lock that another transaction has: the server then ends the statement. */
  lock: 4_000,
  /** For a statement: the server then ends it. */
  statement: 6_000,
  /** For the answer of a server that has stopped answering: the driver then gives the connection up. */
  answer: 8_000,
  /** For the next statement of a transaction: the server then rolls it back, and its locks are free. */
  idleTransaction: 10_000,
};

/** The database that a URL names, or `undefined` when it names none that this application can use. */
export function databaseOptions(url: string): DataSourceOptions | undefined {
  if (url.startsWith('sqlite:')) {
    const file = url.slice('sqlite:'.length);
    if (file === '' || file.startsWith('//')) return undefined;
    return sqliteOptions(file);
  }
  if (!URL.canParse(url)) return undefined;
  const { protocol, hostname, pathname } = new URL(url);
  if (hostname === '' || pathname.length < 2) return undefined;
  switch (protocol) {
    case 'postgres:':
    case 'postgresql:':
      return {
        type: 'postgres',
        url,
        connectTimeoutMS: TIMEOUTS.connect,
        extra: {
          lock_timeout: TIMEOUTS.lock,
          statement_timeout: TIMEOUTS.statement,
          idle_in_transaction_session_timeout: TIMEOUTS.idleTransaction,
          query_timeout: TIMEOUTS.answer,
          keepAlive: true,
        },
      };
    case 'mysql:':
      return { type: 'mysql', url, connectTimeout: TIMEOUTS.connect, driver: mysqlDriver };
    case 'mariadb:':
      return { type: 'mariadb', url, connectTimeout: TIMEOUTS.connect, driver: mysqlDriver };
    default:
      return undefined;
  }
}

/** libsql is SQLite with the interface of better-sqlite3. In WAL mode reading and writing do not wait for each other. */
function sqliteOptions(database: string): DataSourceOptions {
  return { type: 'better-sqlite3', driver: libsql, database, enableWAL: true };
}

/**
 * The comments are statements: the first for MySQL alone, where the time counts for SELECT only, the second for MariaDB alone. One
 * takes milliseconds, the others seconds.
 */
const SET_TIMEOUTS = `SET SESSION innodb_lock_wait_timeout = ${TIMEOUTS.lock / 1_000}
  /*!80000 , max_execution_time = ${TIMEOUTS.statement} */
  /*M! , max_statement_time = ${TIMEOUTS.statement / 1_000} */`;

/** mysql2 has no option for statements that each new connection begins with, and none for a server that has stopped answering. */
const mysqlDriver = {
  ...mysql2,
  createPool(options: PoolOptions) {
    const pool = mysql2.createPool(options);
    pool.on('connection', (connection) => {
      // Whoever takes the connection finds out if it is broken.
      connection.query(SET_TIMEOUTS, () => undefined);
      const { stream } = connection as unknown as { stream: Socket };
      // Also ends a connection that nobody uses. The pool makes another one when that is needed.
      stream.setTimeout(TIMEOUTS.answer, () =>
        stream.destroy(new Error('The database has not answered in time.')),
      );
    });
    return pool;
  },
};

const DEFAULT_FILE = 'sample.sqlite';

/** The database where nobody has named one, and a sentence about it if that is not the usual file. */
export interface DefaultDatabase {
  readonly options: DataSourceOptions;
  readonly note?: string;
}

/** A file in the current folder; where that cannot be written, one in the system's folder for temporary files. */
export function defaultDatabase(): DefaultDatabase {
  const problem = problemOf(DEFAULT_FILE);
  if (problem === undefined) return { options: sqliteOptions(DEFAULT_FILE) };
  try {
    const file = join(ownTemporaryFolder(), DEFAULT_FILE);
    return {
      options: sqliteOptions(file),
      note: `${problem} The database is ${file}, which may be gone after a restart of the machine. DATABASE_URL names another.`,
    };
  } catch {
    return {
      options: sqliteOptions(':memory:'),
      note: `${problem} Temporary files cannot be written either. The database is in memory, and is gone when this process ends. DATABASE_URL names another.`,
    };
  }
}

/** Other users of the machine may write to the folder of all, and must not put a database of theirs there for this one. */
function ownTemporaryFolder(): string {
  const user = process.getuid?.();
  const folder = join(tmpdir(), `session-tokens-sample-${user ?? 'user'}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const found = lstatSync(folder);
  const isOwn =
    found.isDirectory() && (user === undefined || (found.uid === user && (found.mode & 0o077) === 0));
  return isOwn && problemOf(join(folder, DEFAULT_FILE)) === undefined ? folder : mkdtempSync(`${folder}-`);
}

/** Why a SQLite file cannot be used, or `undefined`. Its folder matters as well: SQLite keeps its journals there. */
export function problemOf(file: string): string | undefined {
  const present = [file, `${file}-wal`, `${file}-shm`].filter((each) => existsSync(each));
  // The folder is made if it does not exist.
  let folder = dirname(resolve(file));
  while (!existsSync(folder)) folder = dirname(folder);
  if (!statSync(folder).isDirectory()) return `"${folder}" is no folder.`;
  if (existsSync(file) && !statSync(file).isFile()) return `"${file}" is no file.`;
  for (const path of [folder, ...present]) {
    try {
      accessSync(path, path === folder ? constants.W_OK | constants.X_OK : constants.R_OK | constants.W_OK);
    } catch {
      return `"${path}" cannot be written.`;
    }
  }
  return undefined;
}
