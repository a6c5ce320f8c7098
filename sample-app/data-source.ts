import { setTimeout as delay } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { SESSION_ENTITIES, SESSION_MIGRATIONS, withMigrationLock } from 'nestjs-session-tokens';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { problemOf } from './database.js';
import { StartError } from './start-error.js';

/** In milliseconds. A database server may start after the application, and may first have to be set up. */
const LONGEST_WAIT = 30_000;
const INTERVAL = 500;

const logger = new Logger('Database');

/**
 * Opens the application's database, and runs the migrations that it does not have. Of several processes that start at once, one
 * does. Nest would write each error with its stack, so this comes before it.
 *
 * @throws {@link StartError} when the database cannot be used
 */
export async function openDataSource(database: DataSourceOptions): Promise<DataSource> {
  const options: DataSourceOptions = {
    ...database,
    // An application's own entities and migrations would stand here beside those of the sessions.
    entities: [...SESSION_ENTITIES],
    migrations: [...SESSION_MIGRATIONS],
  };
  if (options.type === 'better-sqlite3' && options.database !== ':memory:') {
    const problem = problemOf(options.database);
    if (problem !== undefined) throw new StartError(`The database cannot be used. ${problem}`);
  }
  const begin = performance.now();
  let reason: string | undefined;
  for (;;) {
    try {
      const dataSource = await withMigrationLock(options, () => migrated(options));
      if (reason !== undefined) logger.log(`The database is there. ${waited(begin)}`);
      return dataSource;
    } catch (error) {
      const message = messageOf(error);
      if (performance.now() - begin >= LONGEST_WAIT || options.type === 'better-sqlite3') {
        throw new StartError(`The database cannot be used: ${message}`, { cause: error });
      }
      if (reason === undefined) {
        logger.warn(`Waiting for the database, for ${LONGEST_WAIT / 1_000} s at most: ${message}`);
      }
      reason = message;
      await delay(INTERVAL);
    }
  }
}

async function migrated(options: DataSourceOptions): Promise<DataSource> {
  const dataSource = await new DataSource(options).initialize();
  try {
    const run = await dataSource.runMigrations();
    if (run.length > 0) logger.log(`Migrations: ${run.map(({ name }) => name).join(', ')}`);
    return dataSource;
  } catch (error) {
    await dataSource.destroy();
    throw error;
  }
}

function waited(begin: number): string {
  return `It took ${((performance.now() - begin) / 1_000).toFixed(1)} s.`;
}

/** Where a host has several addresses, Node's error is one of all attempts, without a message. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join(', ');
  return error instanceof Error ? error.message : String(error);
}
