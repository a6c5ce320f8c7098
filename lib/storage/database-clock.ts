import type { DataSource } from 'typeorm';
import { withQueryRunner } from './query-runner.js';

/** Reads the database's clock, in epoch milliseconds. SQLite uses the clock of this machine. */
const CLOCK: Partial<Record<DataSource['options']['type'], string>> = {
  postgres: 'SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now',
  mysql: 'SELECT unix_timestamp(now(3)) * 1000 AS now',
  mariadb: 'SELECT unix_timestamp(now(3)) * 1000 AS now',
};

/**
 * How far this process's clock is ahead of the database's, in milliseconds. The error is at most half the time of the query.
 *
 * @returns `undefined` if the database has no clock of its own
 */
export async function clockSkew(dataSource: DataSource): Promise<number | undefined> {
  const sql = CLOCK[dataSource.options.type];
  if (sql === undefined) return undefined;
  return withQueryRunner(dataSource, async (queryRunner) => {
    // Connect first, because the time for that must not count as time of the query.
    await queryRunner.connect();
    const before = Date.now();
    const [row] = (await queryRunner.query(sql)) as { now: string | number }[];
    const middle = (before + Date.now()) / 2;
    const now = Number(row?.now);
    if (!Number.isFinite(now)) throw new Error('The database did not tell its time.');
    return middle - now;
  });
}
