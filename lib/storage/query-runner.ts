import type { DataSource, QueryRunner } from 'typeorm';

/** What TypeORM calls itself when a connection of `pg` breaks: the pool then drops it. */
interface PostgresQueryRunner {
  releasePostgresConnection?(error: unknown): Promise<void>;
}

/**
 * Calls a function with a connection to the master. No transaction of the application is open on it. Repositories and
 * `dataSource.query()` are not used, because they may go to a replica or to the query cache, or, with
 * `typeorm-transactional`, into the transaction of the calling code.
 */
export async function withQueryRunner<T>(
  dataSource: DataSource,
  use: (queryRunner: QueryRunner) => Promise<T>,
): Promise<T> {
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

/** Whether PostgreSQL has answered, so that its connection waits for nothing. */
function isAnswer(error: unknown): boolean {
  const { driverError } = (error ?? {}) as { driverError?: { severity?: unknown } };
  return typeof driverError?.severity === 'string';
}
