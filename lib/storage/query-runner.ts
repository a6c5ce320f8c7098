import type { DataSource, QueryRunner } from 'typeorm';

/**
 * Lends a connection of the master, on which no transaction of the application is open. Repositories and
 * `dataSource.query()` may go to a replica, to the query cache, or, with `typeorm-transactional`, into the transaction that
 * the calling code is in.
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
