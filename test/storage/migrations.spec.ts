import { Logger } from '@nestjs/common';
import { DataSource, DefaultNamingStrategy, type MigrationInterface, type QueryRunner } from 'typeorm';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SESSION_ENTITIES, SESSION_MIGRATIONS, SessionEntity } from 'nestjs-session-tokens';
import { openSessionDataSource } from '../../lib/storage/session-data-source.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { startCore } from '../support/core.js';

/** A naming strategy with capital letters, as an application may have. */
class CapitalNamingStrategy extends DefaultNamingStrategy {
  override tableName(target: string, given: string | undefined): string {
    return given ?? target.toUpperCase();
  }

  override columnName(property: string, given: string | undefined, prefixes: string[]): string {
    return given ?? [...prefixes, property].join('_').toUpperCase();
  }

  override primaryKeyName(...parameters: Parameters<DefaultNamingStrategy['primaryKeyName']>): string {
    return super.primaryKeyName(...parameters).toUpperCase();
  }

  override indexName(...parameters: Parameters<DefaultNamingStrategy['indexName']>): string {
    return super.indexName(...parameters).toUpperCase();
  }
}

describe.each(databases)('the tables on $name', (kind) => {
  // On other databases the case is not defined. A skipped case would look as if it had not been tried.
  const whereverIs = (name: string) => (kind.name === name ? test : () => undefined);
  let database: TestDatabase;
  const open: DataSource[] = [];

  beforeEach(async () => {
    database = await kind.create();
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((dataSource) => dataSource.destroy()));
    await database.remove();
  });

  const withOptions = (options: object): TestDatabase => ({
    ...database,
    options: { ...database.options, ...options },
  });
  const connectTo = async (target: TestDatabase) => {
    const dataSource = await connect(target);
    open.push(dataSource);
    return dataSource;
  };
  /** Does the same as the module with its option `database`. */
  const openOwn = async (target: TestDatabase) => {
    const { dataSource } = await openSessionDataSource(undefined, { database: target.options }, new Logger());
    open.push(dataSource);
    return dataSource;
  };

  const variants = [
    ['as they are', {}],
    ['with an entityPrefix', { entityPrefix: 'shop_' }],
    ['under a naming strategy of the application', { namingStrategy: new CapitalNamingStrategy() }],
    ['with both', { entityPrefix: 'shop_', namingStrategy: new CapitalNamingStrategy() }],
  ] as const;

  describe.each(variants)('%s', (_, options) => {
    test.each([
      ['the migrations of an application', connectTo],
      ['the option "database"', openOwn],
    ])('made by %s leave the schema builder nothing to change, and work', async (_way, make) => {
      const dataSource = await make(withOptions(options));
      expect(await pendingChanges(dataSource)).toEqual([]);
      await expectToWork(dataSource);
    });
  });

  test('a naming strategy changes no name of a table or column', async () => {
    const plain = await connectTo(database);
    const named = await connectTo(withOptions({ namingStrategy: new CapitalNamingStrategy() }));
    for (const entity of SESSION_ENTITIES) {
      const names = (dataSource: DataSource) => {
        const { tableName, columns } = dataSource.getMetadata(entity);
        return [tableName, ...columns.map(({ databaseName }) => databaseName)];
      };
      expect(names(named)).toEqual(names(plain));
    }
    await expectToWork(named);
  });

  test.each([
    [
      'the migrations of applications',
      async (prefix: string) =>
        connectTo(withOptions({ entityPrefix: prefix, migrationsTableName: `${prefix}migrations` })),
    ],
    ['the option "database"', async (prefix: string) => openOwn(withOptions({ entityPrefix: prefix }))],
  ])('stand beside each other under several prefixes, made by %s', async (_, make) => {
    const dataSources: DataSource[] = [];
    for (const prefix of ['', 'shop_', 'blog_']) dataSources.push(await make(prefix));
    for (const dataSource of dataSources) {
      expect(await pendingChanges(dataSource)).toEqual([]);
      await expectToWork(dataSource);
    }
    // Each has only the one session that it made.
    const rows = await Promise.all(
      dataSources.map(async (dataSource) => dataSource.getRepository(SessionEntity).find()),
    );
    expect(rows.map(({ length }) => length)).toEqual([1, 1, 1]);
    expect(new Set(rows.flat().map(({ id }) => id)).size).toBe(3);
  });

  test('go with their own prefix only', async () => {
    const [shop, blog] = [
      await openOwn(withOptions({ entityPrefix: 'shop_' })),
      await openOwn(withOptions({ entityPrefix: 'blog_' })),
    ];
    await shop.undoLastMigration();
    await expectToWork(blog);
    expect(await pendingChanges(blog)).toEqual([]);
    await expectToWork(await openOwn(withOptions({ entityPrefix: 'shop_' })));
  });

  test('go and come with the migration, and nothing else does', async () => {
    const dataSource = await connectTo(database);
    await dataSource.query('CREATE TABLE of_the_application (id int)');
    await dataSource.undoLastMigration();
    expect(await tablesOf(dataSource)).toEqual(['of_the_application']);
    await dataSource.runMigrations();
    expect(await tablesOf(dataSource)).toEqual(['of_the_application', 'user_session', 'user_session_key']);
    expect(await pendingChanges(dataSource, ['of_the_application'])).toEqual([]);
    await expectToWork(dataSource);
  });

  test('stand among those of the application, made by its own migrations', async () => {
    class Application1700000000000 implements MigrationInterface {
      async up(queryRunner: QueryRunner) {
        await queryRunner.query('CREATE TABLE of_the_application (id int)');
      }
      async down() {}
    }
    const dataSource = await new DataSource({
      ...database.options,
      entities: [...SESSION_ENTITIES],
      migrations: [...SESSION_MIGRATIONS, Application1700000000000],
      migrationsRun: true,
    }).initialize();
    open.push(dataSource);
    await expectToWork(dataSource);
    // The application changes to the option "database". The tables already exist.
    await expectToWork(await openOwn(database));
    expect(await tablesOf(dataSource)).toEqual(['of_the_application', 'user_session', 'user_session_key']);
  });

  test('are made once by five processes that open an empty database at once', async () => {
    const dataSources = await Promise.all(Array.from({ length: 5 }, async () => openOwn(database)));
    expect(await pendingChanges(dataSources[0]!)).toEqual([]);
    await Promise.all(dataSources.map(expectToWork));
    expect(await tablesOf(dataSources[0]!)).toEqual(['user_session', 'user_session_key']);
  });

  whereverIs('postgres')('can lie in a schema of their own (PostgreSQL)', async () => {
    const admin = await connectTo(database);
    await admin.query('CREATE SCHEMA sessions');
    const dataSource = await openOwn(withOptions({ schema: 'sessions' }));
    expect(await pendingChanges(dataSource)).toEqual([]);
    await expectToWork(dataSource);
    const [{ count }] = await admin.query<[{ count: string }]>(
      'SELECT count(*) FROM sessions.user_session_key',
    );
    expect(Number(count)).toBe(2);
  });

  test('whose absence stops the start, with the fix in the message', async () => {
    const dataSource = await connectTo(database);
    await dataSource.undoLastMigration();
    await expect(openSessionDataSource(dataSource, {}, new Logger())).rejects.toThrow(
      /no table "user_session".*SESSION_MIGRATIONS/,
    );
  });

  test.each([
    ['user_session', 'label'],
    ['user_session_key', 'active_at'],
    ['user_session_not_before', 'reason'],
  ])('of which one lacks a column stop the start, and the message names it: %s.%s', async (table, column) => {
    const dataSource = await connectTo(database);
    await dataSource.query(`ALTER TABLE ${table} DROP COLUMN ${column}`);
    await expect(openSessionDataSource(dataSource, {}, new Logger())).rejects.toThrow(
      new RegExp(
        `no column ${column} in the table "${table}".*SessionTables1764000000000.*SESSION_MIGRATIONS`,
      ),
    );
  });

  test('may have columns of a later version, which runs beside this one', async () => {
    const dataSource = await connectTo(database);
    await dataSource.query('ALTER TABLE user_session ADD COLUMN of_a_later_version varchar(10)');
    const opened = await openSessionDataSource(dataSource, {}, new Logger());
    if (opened.isOwn) open.push(opened.dataSource);
    await expectToWork(opened.dataSource);
    expect(await pendingChanges(dataSource)).not.toEqual([]);
  });
});

/** The changes that the schema builder would make. */
async function pendingChanges(dataSource: DataSource, except: readonly string[] = []): Promise<string[]> {
  const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
  const changes = upQueries.map(({ query }) => query);
  return changes.filter((query) => !except.some((name) => query.includes(name)));
}

async function expectToWork(dataSource: DataSource): Promise<void> {
  const { service } = await startCore(dataSource);
  const { session, accessToken, refreshToken } = await service.tokens.issue({
    userId: 'ann',
    data: { n: 1 },
  });
  await service.tokens.verify(accessToken.token);
  await service.tokens.refresh(refreshToken.token);
  await service.updateData(session.id, { n: 2 });
  expect((await service.findAllForUser('ann')).sessions).toContainEqual(
    expect.objectContaining({ id: session.id }),
  );
  expect(await service.revoke(session.id)).toBe(true);
}

async function tablesOf(dataSource: DataSource): Promise<string[]> {
  const queryRunner = dataSource.createQueryRunner();
  const found: string[] = [];
  for (const name of ['of_the_application', 'user_session', 'user_session_key']) {
    if (await queryRunner.hasTable(name)) found.push(name);
  }
  await queryRunner.release();
  return found;
}
