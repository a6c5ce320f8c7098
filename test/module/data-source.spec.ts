import type { ModuleMetadata } from '@nestjs/common';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import libsql from 'libsql';
import {
  InvalidOptionError,
  SESSION_ENTITIES,
  SessionEntity,
  SessionModule,
  SessionService,
} from 'nestjs-session-tokens';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { databases } from '../support/databases.js';
import { LogCapture } from '../support/log-capture.js';
import { asModule } from '../support/as-module.js';
import { applicationOptions, applications, expectToWork } from './context.js';

/** A module that provides a DataSource without the help of `@nestjs/typeorm`. */
function storageModule(token: string | symbol | typeof DataSource, useFactory: () => unknown) {
  return {
    module: asModule({}),
    global: true,
    providers: [{ provide: token, useFactory }],
    exports: [token],
  };
}

/** Whether the module stores a new session in this database. */
async function isStorageOf(dataSource: DataSource, sessions: SessionService): Promise<boolean> {
  await expectToWork(sessions);
  const { session } = await sessions.tokens.issue({ userId: 'alice' });
  return (await dataSource.getRepository(SessionEntity).findOneBy({ id: session.id })) !== null;
}

describe.each(databases)('storage on $name', (kind) => {
  const { start, database, onEnd } = applications(kind);

  /** The error that stops the start of an application. */
  async function whyNot(imports: ModuleMetadata['imports']): Promise<unknown> {
    return start({ imports }).then(
      () => 'it started',
      (error: unknown) => error,
    );
  }

  async function open(options: DataSourceOptions): Promise<DataSource> {
    const dataSource = await new DataSource(options).initialize();
    onEnd(async () => dataSource.isInitialized && dataSource.destroy());
    return dataSource;
  }

  it("is the application's DataSource of @nestjs/typeorm, whichever module comes first", async () => {
    const typeorm = TypeOrmModule.forRoot(applicationOptions(await database()));
    for (const imports of [
      [typeorm, SessionModule.forRoot()],
      [SessionModule.forRoot(), typeorm],
    ]) {
      const { context, sessions } = await start({ imports });
      expect(await isStorageOf(context.get(DataSource), sessions)).toBe(true);
    }
  });

  it('is the one that the application names, beside another one', async () => {
    const token = getDataSourceToken('accounts');
    const imports = [
      TypeOrmModule.forRoot({ ...(await database()).options, entities: [] }),
      TypeOrmModule.forRoot({ ...applicationOptions(await database()), name: 'accounts' }),
    ];
    const forms = [
      SessionModule.forRoot({ dataSourceToken: token }),
      SessionModule.forRootAsync({ dataSourceToken: token, useFactory: () => ({}) }),
    ];
    for (const module of forms) {
      const { context, sessions } = await start({ imports: [...imports, module] });
      expect(await isStorageOf(context.get<DataSource>(token), sessions)).toBe(true);
    }
  });

  it('is a DataSource that the application provides without @nestjs/typeorm', async () => {
    const dataSource = await open(applicationOptions(await database()));
    for (const [token, options] of [
      [DataSource, {}],
      ['DATABASE', { dataSourceToken: 'DATABASE' }],
    ] as const) {
      const { sessions } = await start({
        imports: [storageModule(token, () => dataSource), SessionModule.forRoot(options)],
      });
      expect(await isStorageOf(dataSource, sessions)).toBe(true);
    }
  });

  it('is a database of its own, which it migrates, whatever DataSource the application has', async () => {
    const [own, other] = [await database(), await database()];
    const application = TypeOrmModule.forRoot({ ...other.options, entities: [] });
    const module = SessionModule.forRoot({ database: own.options });
    const { sessions } = await start({ imports: [application, module] });
    expect(await isStorageOf(await open({ ...own.options, entities: [...SESSION_ENTITIES] }), sessions)).toBe(
      true,
    );
  });

  it('is one database for many processes that start at once on an empty one', async () => {
    const own = await database();
    const started = await Promise.all(
      Array.from({ length: 4 }, () => start({ imports: [SessionModule.forRoot({ database: own.options })] })),
    );
    const { accessToken } = await started[0]!.sessions.tokens.issue({ userId: 'alice' });
    for (const { sessions } of started) {
      expect(await sessions.tokens.verify(accessToken.token)).toMatchObject({ userId: 'alice' });
    }
  });

  describe('that cannot be used stops the start', () => {
    it('without a DataSource', async () => {
      const error = await whyNot([SessionModule.forRoot()]);
      expect(error).toBeInstanceOf(InvalidOptionError);
      expect((error as Error).message).toMatch(
        /no TypeORM DataSource.*SESSION_ENTITIES.*dataSourceToken.*"database"/,
      );
    });

    it('without the entities', async () => {
      const typeorm = TypeOrmModule.forRoot({ ...(await database()).options, entities: [] });
      const error = await whyNot([typeorm, SessionModule.forRoot()]);
      expect(error).toBeInstanceOf(InvalidOptionError);
      expect((error as Error).message).toMatch(/\.\.\.SESSION_ENTITIES/);
    });

    it('without the tables', async () => {
      const options = { ...(await database()).options, entities: [...SESSION_ENTITIES] };
      const error = await whyNot([TypeOrmModule.forRoot(options), SessionModule.forRoot()]);
      expect(error).toBeInstanceOf(InvalidOptionError);
      expect((error as Error).message).toMatch(
        /no table ".*user_session".*SESSION_MIGRATIONS.*migrationsRun/,
      );
    });

    it('with a token that nothing has', async () => {
      const typeorm = TypeOrmModule.forRoot(applicationOptions(await database()));
      const module = SessionModule.forRoot({ dataSourceToken: getDataSourceToken('misspelt') });
      const error = await whyNot([typeorm, module]);
      expect((error as Error).message).toContain('misspeltDataSource');
    });

    it('with a token of something else', async () => {
      const storage = storageModule('DATABASE', () => ({ url: 'sqlite:app.sqlite' }));
      const error = await whyNot([storage, SessionModule.forRoot({ dataSourceToken: 'DATABASE' })]);
      expect(error).toBeInstanceOf(InvalidOptionError);
      expect((error as Error).message).toMatch(/not a TypeORM DataSource/i);
    });

    it('with a DataSource that has not been initialized', async () => {
      const options = applicationOptions(await database());
      const storage = storageModule(DataSource, () => new DataSource(options));
      const error = await whyNot([storage, SessionModule.forRoot()]);
      expect(error).toBeInstanceOf(InvalidOptionError);
      expect((error as Error).message).toMatch(/initialize\(\)/);
    });
  });
});

const isThere = async (sessions: SessionService, id: string) => (await sessions.find(id)) !== null;

describe('SQLite', () => {
  const { start, database } = applications();

  async function startOnFile(options: { sqliteConnection?: 'own' | 'shared' } = {}) {
    const typeorm = TypeOrmModule.forRoot(applicationOptions(await database()));
    const { context, sessions } = await start({ imports: [typeorm, SessionModule.forRoot(options)] });
    const application = context.get(DataSource);
    await application.query('CREATE TABLE orders (id integer)');
    return { application, sessions };
  }

  it('keeps a session that was made while a transaction of the application was open that rolled back', async () => {
    const { application, sessions } = await startOnFile();
    const queryRunner = application.createQueryRunner();
    await queryRunner.startTransaction();
    const during = await sessions.tokens.issue({ userId: 'alice' });
    await queryRunner.query('INSERT INTO orders VALUES (1)');
    await queryRunner.rollbackTransaction();
    await queryRunner.release();
    expect(await application.query('SELECT * FROM orders')).toEqual([]);
    expect(await isThere(sessions, during.session.id)).toBe(true);
  });

  it('waits for a transaction of the application that has already written, and keeps the session', async () => {
    const { application, sessions } = await startOnFile();
    const queryRunner = application.createQueryRunner();
    await queryRunner.startTransaction();
    await queryRunner.query('INSERT INTO orders VALUES (1)');
    const waiting = sessions.tokens.issue({ userId: 'alice' });
    await queryRunner.query('INSERT INTO orders VALUES (2)');
    await queryRunner.rollbackTransaction();
    await queryRunner.release();
    const { session } = await waiting;
    expect(await isThere(sessions, session.id)).toBe(true);
  });

  it('loses such a session on a shared connection, which is why it has its own', async () => {
    const { application, sessions } = await startOnFile({ sqliteConnection: 'shared' });
    const queryRunner = application.createQueryRunner();
    await queryRunner.startTransaction();
    const { session } = await sessions.tokens.issue({ userId: 'alice' });
    await queryRunner.rollbackTransaction();
    await queryRunner.release();
    expect(await isThere(sessions, session.id)).toBe(false);
  });

  it('in memory is shared with the application, with a warning unless that is asked for', async () => {
    const options: DataSourceOptions = { type: 'better-sqlite3', driver: libsql, database: ':memory:' };
    for (const [sqliteConnection, warned] of [
      [undefined, true],
      ['own', true],
      ['shared', false],
    ] as const) {
      const logs = new LogCapture();
      const memory = TypeOrmModule.forRoot(applicationOptions({ options, remove: async () => {} }));
      const module = SessionModule.forRoot({ secret: 's'.repeat(32), sqliteConnection });
      const { context, sessions } = await start({ imports: [memory, module] }, logs);
      await expectToWork(sessions);
      expect(await context.get(DataSource).getRepository(SessionEntity).count()).toBe(1);
      const warnings = logs.lines.filter((line) => line.includes('in-memory SQLite database'));
      expect(warnings).toHaveLength(warned ? 1 : 0);
    }
  });
});

describe('a missing secret', () => {
  const { start, database } = applications();

  it('is warned of once, with what it means; a secret is not', async () => {
    for (const [given, expected] of [
      [{}, 1],
      [{ secret: 's'.repeat(32) }, 0],
      [{ secret: false }, 0],
    ] as const) {
      const logs = new LogCapture();
      const { options } = await database();
      await start({ imports: [SessionModule.forRoot({ database: options, ...given })] }, logs);
      const warnings = logs.lines.filter((line) => line.includes('"secret"'));
      expect(warnings).toHaveLength(expected);
      for (const warning of warnings) expect(warning).toMatch(/plain text.*forge.*32 random characters/);
    }
  });
});
