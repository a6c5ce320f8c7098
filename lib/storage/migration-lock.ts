import { setTimeout as delay } from 'node:timers/promises';
import { DataSource, type DataSourceOptions, type QueryRunner } from 'typeorm';
import { StorageUnavailableError } from '../errors/session.errors.js';
import { BUSY_MS, connectionOf, isInMemory, isSqlite, type SqliteOptions } from './sqlite-locking.js';

/** In milliseconds. A process that waits asks this often whether the lock is free. */
const INTERVAL = 50;

/**
 * In milliseconds. The lock of a process that dies is free at once. But if its whole machine is gone, the server may believe for
 * hours that the connection is there.
 */
const LONGEST_WAIT = 300_000;

/** Asks for the lock once. @returns a function that gives it back, or `undefined` if somebody else has it */
type Attempt = () => Promise<(() => Promise<void>) | undefined>;

/** How to ask for the lock, and what to close when it is no longer needed. */
interface Lock {
  readonly attempt: Attempt;
  close(): Promise<void>;
}

/**
 * Runs a function while no other process runs one under the same lock: that of a database. So of several processes that start at
 * once on an empty database, one runs the migrations. The others wait, and find the work done. The module does the same with its
 * option `database`.
 *
 * The lock is one of the database, on a connection of its own: PostgreSQL has an advisory lock of a transaction, which also works
 * through PgBouncer in transaction mode; MySQL and MariaDB have `GET_LOCK()`; SQLite has the lock of an empty file beside the
 * database's, `<database>-migration-lock`, which stays. An in-memory database needs none. If a process dies, its lock is free. The
 * function must not ask for the lock again.
 *
 * @example
 * ```ts
 * TypeOrmModule.forRootAsync({
 *   useFactory: () => ({ type: 'postgres', url, entities, migrations, migrationsRun: true }),
 *   dataSourceFactory: (options) => withMigrationLock(options!, () => new DataSource(options!).initialize()),
 * })
 * ```
 *
 * @param options of the `DataSource` whose migrations run; only what is needed to connect is used
 * @param migrate runs the migrations, or initializes a `DataSource` that has `migrationsRun: true`
 * @returns what the function returns
 * @throws {@link StorageUnavailableError} when another process has not given the lock back for 5 minutes; the database's error when
 *   it cannot be reached; what the function throws
 */
export async function withMigrationLock<T>(
  options: DataSourceOptions,
  migrate: () => Promise<T>,
): Promise<T> {
  const lock = await openLock(options);
  if (!lock) return migrate();
  try {
    const release = await acquire(lock.attempt);
    try {
      return await migrate();
    } finally {
      await release();
    }
  } finally {
    await lock.close();
  }
}

async function acquire(attempt: Attempt): Promise<() => Promise<void>> {
  const until = performance.now() + LONGEST_WAIT;
  for (;;) {
    const release = await attempt();
    if (release) return release;
    if (performance.now() >= until) {
      throw new StorageUnavailableError(
        `Another process has had the migration lock of the database for ${LONGEST_WAIT / 60_000} minutes. If none is running migrations, end the database connection that has it.`,
      );
    }
    await delay(INTERVAL * (0.5 + Math.random()));
  }
}

async function openLock(options: DataSourceOptions): Promise<Lock | undefined> {
  switch (options.type) {
    case 'postgres':
      return serverLock(options, tryOnPostgres);
    case 'mysql':
    case 'mariadb':
      return serverLock(options, tryOnMysql);
    case 'better-sqlite3':
      return isInMemory(options.database) || options.readonly ? undefined : fileLock(options);
    default:
      if (isSqlite(options)) return undefined;
      throw new TypeError(`There is no migration lock for TypeORM's driver "${options.type}".`);
  }
}

/** A connection of its own: those of the application may all be needed for the migrations. */
async function serverLock(
  options: DataSourceOptions,
  attempt: (queryRunner: QueryRunner) => ReturnType<Attempt>,
): Promise<Lock> {
  const dataSource = await connect({ ...options, poolSize: 1 } as DataSourceOptions);
  const queryRunner = dataSource.createQueryRunner('master');
  return {
    attempt: () => attempt(queryRunner),
    async close() {
      await queryRunner.release();
      await dataSource.destroy();
    },
  };
}

async function connect(options: DataSourceOptions): Promise<DataSource> {
  const dataSource = new DataSource({
    ...options,
    entities: [],
    migrations: [],
    subscribers: [],
    synchronize: false,
    migrationsRun: false,
    dropSchema: false,
    cache: false,
  });
  return dataSource.initialize();
}

/** Any number that no other software is likely to use. Advisory locks are those of one database. */
const POSTGRES_LOCK = '8151123719878795419';

/**
 * The lock of a transaction, because a pooler may give each transaction another connection of the server. It is not waited for in
 * the database: the waiting statement would have a snapshot, for whose end `CREATE INDEX CONCURRENTLY` in a migration waits.
 */
async function tryOnPostgres(queryRunner: QueryRunner): ReturnType<Attempt> {
  await queryRunner.startTransaction();
  // The transaction does nothing for as long as the migrations take. The second name is known from PostgreSQL 17 on.
  await queryRunner.query(
    `SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')`,
  );
  if (await isLocked(queryRunner, `SELECT pg_try_advisory_xact_lock(${POSTGRES_LOCK}) AS locked`)) {
    return async () => queryRunner.rollbackTransaction();
  }
  await queryRunner.rollbackTransaction();
  return undefined;
}

/** These locks are those of the whole server, so the name has the database's. It has at most 64 characters. */
const MYSQL_LOCK = `CONCAT('session-tokens:', LEFT(SHA2(DATABASE(), 256), 40))`;

async function tryOnMysql(queryRunner: QueryRunner): ReturnType<Attempt> {
  // Some servers end connections that do nothing for a short time. The value is in seconds.
  await queryRunner.query('SET SESSION wait_timeout = 86400');
  if (!(await isLocked(queryRunner, `SELECT GET_LOCK(${MYSQL_LOCK}, 0) AS locked`))) return undefined;
  return async () => {
    await queryRunner.query(`DO RELEASE_LOCK(${MYSQL_LOCK})`);
  };
}

async function isLocked(queryRunner: QueryRunner, sql: string): Promise<boolean> {
  const [row] = (await queryRunner.query(sql)) as { locked: unknown }[];
  return Number(row!.locked) === 1;
}

/**
 * Not a lock of the database's own file, which would keep the migrations out, too. The file stays: if it were removed, a process
 * that has opened it before and one that makes it anew would both get their lock.
 */
async function fileLock(options: SqliteOptions): Promise<Lock | undefined> {
  const dataSource = await connect({
    ...options,
    database: `${options.database}-migration-lock`,
    prepareDatabase: undefined,
    enableWAL: false,
    timeout: BUSY_MS,
  }).catch((error: unknown) => {
    // Where no file can be made, SQLite cannot write to the database either. Its error says so.
    if (codeOf(error) === 'SQLITE_CANTOPEN') return undefined;
    throw error;
  });
  if (!dataSource) return undefined;
  const connection = connectionOf(dataSource);
  return {
    async attempt() {
      try {
        connection.exec('BEGIN EXCLUSIVE');
      } catch (error) {
        if (codeOf(error) === 'SQLITE_BUSY') return undefined;
        throw error;
      }
      return async () => {
        connection.exec('ROLLBACK');
      };
    },
    close: () => dataSource.destroy(),
  };
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}
