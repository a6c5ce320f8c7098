import type { DataSource } from 'typeorm';
import { withQueryRunner } from './query-runner.js';

/** Epoch milliseconds by the database's own clock. SQLite has none but this machine's. */
const CLOCK: Partial<Record<DataSource['options']['type'], string>> = {
  postgres: 'SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now',
  mysql: 'SELECT unix_timestamp(now(3)) * 1000 AS now',
  mariadb: 'SELECT unix_timestamp(now(3)) * 1000 AS now',
};

/**
 * How far this process's clock is ahead of the database's, in milliseconds, give or take half the time of the query.
 *
 * @returns `undefined` where the database has no clock of its own
 */
export async function clockSkew(dataSource: DataSource): Promise<number | undefined> {
  const sql = CLOCK[dataSource.options.type];
  if (sql === undefined) return undefined;
  return withQueryRunner(dataSource, async (queryRunner) => {
    // A connection may have to be made first; that is no part of the query.
    await queryRunner.connect();
    const before = Date.now();
    const [row] = (await queryRunner.query(sql)) as { now: string | number }[];
    const middle = (before + Date.now()) / 2;
    const now = Number(row?.now);
    if (!Number.isFinite(now)) throw new Error('The database did not tell its time.');
    return middle - now;
  });
}
