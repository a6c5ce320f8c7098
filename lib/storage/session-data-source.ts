import type { Logger } from '@nestjs/common';
import { DataSource, type DataSourceOptions, type QueryRunner } from 'typeorm';
import { InvalidOptionError } from '../errors/session.errors.js';
import { retryAtStart } from './database-error.js';
import { withMigrationLock } from './migration-lock.js';
import { withQueryRunner } from './query-runner.js';
import { isInMemory, isSqlite, sqliteLocking, useWriteAheadLog } from './sqlite-locking.js';
import { SESSION_ENTITIES, SESSION_MIGRATIONS } from './schema.js';

/** The application's choice of a database. */
export interface DatabaseSettings {
  readonly database?: DataSourceOptions;
  readonly sqliteConnection?: 'own' | 'shared';
}

/** The drivers of TypeORM that are supported and tested. */
const SUPPORTED: ReadonlySet<unknown> = new Set(['postgres', 'mysql', 'mariadb', 'better-sqlite3', 'sqljs']);

/** The database connection of the sessions. If it `isOwn`, the module must close it. */
export interface SessionDataSource {
  readonly dataSource: DataSource;
  readonly isOwn: boolean;
}

/**
 * Finds or opens the database of the sessions, and checks that its tables are there, and that it reads values as they are
 * meant.
 *
 * @throws {@link InvalidOptionError} when there is no database, its driver or its SQL mode is not supported, or entities or
 *   tables are missing
 */
export async function openSessionDataSource(
  application: DataSource | undefined,
  options: DatabaseSettings,
  logger: Logger,
): Promise<SessionDataSource> {
  if (options.database) {
    checkType('database', options.database);
    return openOwn(options.database);
  }
  if (!application) {
    throw new InvalidOptionError(
      'dataSource',
      'there is no TypeORM DataSource. Import TypeOrmModule.forRoot({ …, entities: [...SESSION_ENTITIES] }), name another one with "dataSourceToken", or give the options of a database in "database".',
    );
  }
  if (typeof application.hasMetadata !== 'function') {
    throw new InvalidOptionError('dataSourceToken', 'what has this token is not a TypeORM DataSource.');
  }
  checkType('dataSource', application.options);
  if (!application.isInitialized) {
    throw new InvalidOptionError(
      'dataSource',
      'the DataSource has not been initialized. Provide it with useFactory: () => dataSource.initialize().',
    );
  }
  for (const entity of SESSION_ENTITIES) {
    if (!application.hasMetadata(entity)) {
      throw new InvalidOptionError(
        'dataSource',
        'the DataSource does not know the entities of the sessions. Add ...SESSION_ENTITIES to its "entities" and ...SESSION_MIGRATIONS to its "migrations".',
      );
    }
  }
  await checkDatabase(application);
  const { type, database } = application.options;
  if (!isSqlite(application.options) || options.sqliteConnection === 'shared')
    return { dataSource: application, isOwn: false };
  if (type === 'sqljs' || isInMemory(database)) {
    logger.warn(
      'The DataSource is an in-memory SQLite database, whose one connection the sessions share with the application: a transaction that rolls back takes session writes of that moment with it. Use a file, or sqliteConnection: "shared" to accept this.',
    );
    return { dataSource: application, isOwn: false };
  }
  return { dataSource: await connect(application.options), isOwn: true };
}

async function openOwn(options: DataSourceOptions): Promise<SessionDataSource> {
  const dataSource = await withMigrationLock(options, () => openMigrated(options));
  try {
    await checkDatabase(dataSource);
  } catch (error) {
    await dataSource.destroy();
    throw error;
  }
  return { dataSource, isOwn: true };
}

async function openMigrated(options: DataSourceOptions): Promise<DataSource> {
  const dataSource = await connect(options);
  try {
    await retryAtStart(() => dataSource.runMigrations({ transaction: 'each' }));
  } catch (error) {
    await dataSource.destroy();
    throw error;
  }
  return dataSource;
}

async function connect(options: DataSourceOptions): Promise<DataSource> {
  const dataSource = new DataSource({
    ...options,
    ...(options.type === 'better-sqlite3' && sqliteLocking(options)),
    entities: [...SESSION_ENTITIES],
    migrations: [...SESSION_MIGRATIONS],
    migrationsTableName: `${options.entityPrefix ?? ''}user_session_migration`,
    subscribers: [],
    synchronize: false,
    migrationsRun: false,
    dropSchema: false,
  });
  await dataSource.initialize();
  if (options.type === 'better-sqlite3') await useWriteAheadLog(dataSource);
  return dataSource;
}

async function checkDatabase(dataSource: DataSource): Promise<void> {
  await withQueryRunner(dataSource, async (queryRunner) => {
    const lacking: string[] = [];
    if (dataSource.options.type === 'mysql' || dataSource.options.type === 'mariadb') {
      await checkSqlMode(queryRunner);
    }
    for (const entity of SESSION_ENTITIES) {
      const { tablePath, columns } = dataSource.getMetadata(entity);
      const table = await retryAtStart(() => queryRunner.getTable(tablePath));
      if (!table) {
        lacking.push(`no table "${tablePath}"`);
        continue;
      }
      const present = new Set(table.columns.map(({ name }) => name));
      const absent = columns.map(({ databaseName }) => databaseName).filter((name) => !present.has(name));
      if (absent.length > 0) lacking.push(`no column ${absent.join(', ')} in the table "${tablePath}"`);
    }
    if (lacking.length > 0) throw await missing(dataSource, queryRunner, lacking.join(', '));
  });
}

/** Says which migrations have not been run, because that is nearly always why. */
async function missing(
  dataSource: DataSource,
  queryRunner: QueryRunner,
  what: string,
): Promise<InvalidOptionError> {
  const run = await migrationsRun(dataSource, queryRunner);
  const names = SESSION_MIGRATIONS.map(({ name }) => name);
  const open = names.filter((name) => !run.has(name));
  const why =
    open.length > 0
      ? `These migrations have not been run: ${open.join(', ')}. Add ...SESSION_MIGRATIONS to the DataSource's "migrations" and run them before this version starts (migrationsRun: true does that at start).`
      : `All migrations of the sessions have been run (${names.join(', ')}), so something else has changed the tables since. Restore them. Or drop them, which signs everybody out, delete these names from the table of migrations, and run them again: ...SESSION_MIGRATIONS, migrationsRun.`;
  return new InvalidOptionError('dataSource', `the database has ${what}. ${why}`);
}

/** The names of the migrations that have been run, as far as the database tells. */
async function migrationsRun(
  { driver, options }: DataSource,
  queryRunner: QueryRunner,
): Promise<ReadonlySet<string>> {
  const { schema, database } = driver as { schema?: string; database?: string };
  const path = driver.buildTableName(options.migrationsTableName ?? 'migrations', schema, database);
  const table = path
    .split('.')
    .map((part) => driver.escape(part))
    .join('.');
  try {
    const rows = (await queryRunner.query(`SELECT ${driver.escape('name')} FROM ${table}`)) as {
      name: string;
    }[];
    return new Set(rows.map(({ name }) => name));
  } catch {
    // None has ever been run, or the application keeps them in another way.
    return new Set();
  }
}

/**
 * TypeORM has mysql2 write values into the SQL text, where quotes have a backslash before them. In this mode a backslash is an
 * ordinary character, so that a quote in a `User-Agent` would end the text: what comes after it would be run as SQL.
 */
async function checkSqlMode(queryRunner: QueryRunner): Promise<void> {
  const [row] = (await retryAtStart(() => queryRunner.query('SELECT @@sql_mode AS mode'))) as {
    mode?: unknown;
  }[];
  if (!String(row?.mode).includes('NO_BACKSLASH_ESCAPES')) return;
  throw new InvalidOptionError(
    'dataSource',
    "the database has the SQL mode NO_BACKSLASH_ESCAPES, in which mysql2's values can break out of their quotes (SQL injection). Remove it from the server's sql_mode.",
  );
}

function checkType(option: string, { type }: DataSourceOptions): void {
  if (SUPPORTED.has(type)) return;
  throw new InvalidOptionError(
    option,
    `sessions cannot be kept by TypeORM's driver "${type}", only by ${[...SUPPORTED].join(', ')}. Give the options of such a database in "database"; for SQLite use "better-sqlite3", with the package of that name or "libsql" as its "driver".`,
  );
}

/** A value that is equal for two data sources with the same tables of sessions, as far as their options tell. */
export function tablesOf(dataSource: DataSource): unknown {
  const { type, database, url, host, port, schema } = dataSource.options as DataSourceOptions &
    Record<string, unknown>;
  // A database in memory has no name. Only its own connection can reach it, so the data source identifies it.
  if (isSqlite(dataSource.options) && isInMemory(database)) return dataSource;
  const { tablePath } = dataSource.getMetadata(SESSION_ENTITIES[0]);
  return JSON.stringify([type, url, host, port, database, schema, tablePath]);
}
