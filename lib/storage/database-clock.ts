import type { DataSource } from 'typeorm';

/** Epoch milliseconds by the database's own clock. SQLite has none but this machine's. */
const CLOCK: Partial<Record<DataSource['options']['type'], string>> = {
  postgres: 'SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now',
  cockroachdb: 'SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now',
  mysql: 'SELECT unix_timestamp(now(3)) * 1000 AS now',
  mariadb: 'SELECT unix_timestamp(now(3)) * 1000 AS now',
};

/**
 * How far this process's clock is ahead of the database's, in milliseconds, give or take half the time of the query.
 *
 * @returns `undefined` where the database has no clock of its own, or this module does not know how to read it
 */
export async function clockSkew(dataSource: DataSource): Promise<number | undefined> {
  const sql = CLOCK[dataSource.options.type];
  if (sql === undefined) return undefined;
  const before = Date.now();
  const [row] = await dataSource.query<{ now: string | number }[]>(sql);
  const middle = (before + Date.now()) / 2;
  return middle - Number(row!.now);
}
