import type { DataSource, QueryRunner } from 'typeorm';

/** What TypeORM calls itself when a connection of `pg` breaks: the pool then drops it. */
interface PostgresQueryRunner {
  releasePostgresConnection?(error: unknown): Promise<void>;
}

/** The used part of a pool of `pg`. */
interface Pool {
  on?(event: 'acquire', listener: (connection: Connection) => void): unknown;
}

interface Connection {
  on(event: 'error', listener: () => void): unknown;
}

/** Pools and connections that have a listener of this file. */
const heard = new WeakSet<object>();

/**
 * Calls a function with a connection to the master. No transaction of the application is open on it. Repositories and
 * `dataSource.query()` are not used, because they may go to a replica or to the query cache, or, with
 * `typeorm-transactional`, into the transaction of the calling code.
 */
export async function withQueryRunner<T>(
  dataSource: DataSource,
  use: (queryRunner: QueryRunner) => Promise<T>,
): Promise<T> {
  hearOfLostConnections(dataSource);
  const queryRunner = dataSource.createQueryRunner('master');
  try {
    return await use(queryRunner);
  } catch (error) {
    // After a timeout of `pg`, the connection still waits for the answer, and so would all that is sent over it. TypeORM would
    // give it back to the pool.
    if (!isAnswer(error)) await (queryRunner as PostgresQueryRunner).releasePostgresConnection?.(error);
    throw error;
  } finally {
    // Does nothing if it has been released.
    await queryRunner.release();
  }
}

/**
 * TypeORM listens to a connection a little later than the pool gives it. If the connection breaks in between, as when its last
 * answer and its end come together, nobody would hear of the error, and Node would end the process.
 */
function hearOfLostConnections({ options, driver }: DataSource): void {
  const pool = options.type === 'postgres' ? (driver as { master?: Pool }).master : undefined;
  if (!pool || heard.has(pool)) return;
  heard.add(pool);
  pool.on?.('acquire', (connection) => {
    if (heard.has(connection)) return;
    heard.add(connection);
    // What is sent over it fails, which says it.
    connection.on('error', () => undefined);
  });
}

/** Whether PostgreSQL has answered, so that its connection waits for nothing. */
function isAnswer(error: unknown): boolean {
  const { driverError } = (error ?? {}) as { driverError?: { severity?: unknown } };
  return typeof driverError?.severity === 'string';
}
