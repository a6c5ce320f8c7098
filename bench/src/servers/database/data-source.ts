import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../support/data-source-options.js';

/**
 * Connects TypeORM, which the driver's sessions do not use. It is part of the stack: applications of the library have it,
 * and a process that has loaded it does everything else more slowly, by a tenth on Express.
 */
export async function openDataSource(): Promise<() => Promise<void>> {
  const dataSource = await new DataSource(dataSourceOptions()).initialize();
  return () => dataSource.destroy();
}
