import type { DataSource, QueryRunner } from 'typeorm';

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
  } finally {
    await queryRunner.release();
  }
}
