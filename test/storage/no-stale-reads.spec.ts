import { AsyncLocalStorage } from 'node:async_hooks';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Logger } from '@nestjs/common';
import { DataSource, type DataSourceOptions, type EntityManager, Repository } from 'typeorm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { SESSION_ENTITIES, SessionEntity } from 'nestjs-session-tokens';
import { openSessionDataSource } from '../../lib/storage/session-data-source.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { startCore } from '../support/core.js';
import { accesses, clear, contents, fill, type Storage, storageOn } from './accesses.js';

/** The two paths of a statement: prepared by `pg`, if possible, and through TypeORM, which subscribers need. */
const ways = ['as usual', 'with a subscriber to queries'];

const urlOf = ({ options }: TestDatabase) => ({ url: (options as { url: string }).url });

const nothing = async () => undefined;

function subscribe(dataSource: DataSource, way: string): void {
  if (way !== ways[0]) dataSource.subscribers.push({ beforeQuery: () => undefined });
}

// TypeORM does not support replicas of SQLite.
describe.each(databases.filter(({ name }) => name !== 'sqlite'))('with replicas of $name', (kind) => {
  let master: TestDatabase;
  /** A replica that has no rows yet. */
  let replica: TestDatabase;
  let admin: DataSource;

  beforeAll(async () => {
    master = await kind.create();
    replica = await kind.create();
    admin = await connect(master);
  });
  beforeEach(async () => fill(storageOn(admin)));
  afterEach(async () => clear(admin));
  afterAll(async () => {
    await admin.destroy();
    await master.remove();
    await replica.remove();
  });

  const replicated = (own = master): DataSourceOptions => {
    const replication = { master: urlOf(own), slaves: [urlOf(replica)] };
    return { type: master.options.type, replication } as DataSourceOptions;
  };

  test('repositories ask the replica, which is why nothing here may', async () => {
    const dataSource = await new DataSource({
      ...replicated(),
      entities: [...SESSION_ENTITIES],
    }).initialize();
    await expect(dataSource.getRepository(SessionEntity).find()).rejects.toThrow(/user_session/);
    await dataSource.destroy();
  });

  describe.each(ways)('%s', (way) => {
    let storage: Storage;

    beforeAll(async () => {
      const dataSource = new DataSource({ ...replicated(), entities: [...SESSION_ENTITIES] });
      storage = storageOn(await dataSource.initialize());
      subscribe(dataSource, way);
    });
    afterAll(async () => storage.dataSource.destroy());

    test.each(accesses(kind))('%s goes to the master', async (_, run, result) => {
      expect(await run(storage)).toEqual(result);
    });
  });

  test('an application starts, makes its tables, and works', async () => {
    const empty = await kind.create();
    const options = { database: replicated(empty) };
    const { dataSource } = await openSessionDataSource(undefined, options, new Logger());
    const { service } = await startCore(dataSource);
    const { accessToken, session } = await service.tokens.issue({ userId: 'ann' });
    expect(await service.tokens.verify(accessToken.token)).toMatchObject({ id: session.id });
    await dataSource.destroy();
    await empty.remove();
  });
});

/** Does the same as `typeorm-transactional`: inside a transaction, all repositories use the manager of the transaction. */
class AmbientTransactions {
  private readonly current = new AsyncLocalStorage<EntityManager>();
  private readonly managers = new WeakMap<object, EntityManager>();

  constructor(private readonly dataSource: DataSource) {
    const { current, managers } = this;
    let own = dataSource.manager;
    Object.defineProperty(dataSource, 'manager', {
      configurable: true,
      get: () => current.getStore() ?? own,
      set: (next: EntityManager) => {
        own = next;
      },
    });
    dataSource.query = async function (...given: unknown[]) {
      const parameters = [given[0], given[1], given[2] ?? this.manager.queryRunner];
      return DataSource.prototype.query.apply(this, parameters as never) as never;
    };
    dataSource.createQueryBuilder = function (...given: unknown[]) {
      const { queryRunner } = this.manager;
      const parameters = given.length === 0 ? [queryRunner] : [given[0], given[1], given[2] ?? queryRunner];
      return DataSource.prototype.createQueryBuilder.apply(this, parameters as never) as never;
    };
    Object.defineProperty(Repository.prototype, 'manager', {
      configurable: true,
      get(this: object) {
        const manager = managers.get(this)!;
        return manager.dataSource === dataSource ? (current.getStore() ?? manager) : manager;
      },
      set(this: object, next: EntityManager) {
        managers.set(this, next);
      },
    });
  }

  static restore(): void {
    Reflect.deleteProperty(Repository.prototype, 'manager');
  }

  /** @returns the result of the action, and the statements sent in its transaction, which is rolled back */
  async rolledBack<T>(action: () => Promise<T>): Promise<{ result: T; statements: unknown[] }> {
    const queryRunner = this.dataSource.createQueryRunner();
    await queryRunner.startTransaction();
    const seen = vi.spyOn(queryRunner, 'query');
    try {
      const result = await this.current.run(queryRunner.manager, action);
      return { result, statements: seen.mock.calls.map(([sql]) => sql) };
    } finally {
      seen.mockRestore();
      await queryRunner.rollbackTransaction();
      await queryRunner.release();
    }
  }
}

describe.each(databases)("in a transaction of the application's on $name", (kind) => {
  let database: TestDatabase;
  let admin: DataSource;
  let application: DataSource;
  let transactions: AmbientTransactions;
  let close: () => Promise<unknown>;
  let storage: Storage;

  beforeAll(async () => {
    database = await kind.create();
    admin = await connect(database);
    application = await connect(database);
    transactions = new AmbientTransactions(application);
    const { dataSource, isOwn } = await openSessionDataSource(application, {}, new Logger());
    close = async () => isOwn && dataSource.destroy();
    storage = storageOn(dataSource);
  });
  beforeEach(async () => fill(storage));
  afterEach(async () => clear(admin));
  afterAll(async () => {
    AmbientTransactions.restore();
    await close();
    await Promise.all([admin.destroy(), application.destroy()]);
    await database.remove();
  });

  test('everything that goes through a repository or the data source is part of it', async () => {
    const sessions = application.getRepository(SessionEntity);
    const before = await contents(admin);
    const { statements } = await transactions.rolledBack(async () => {
      await sessions.delete('a');
      await application.createQueryBuilder().delete().from(SessionEntity).where({ id: 'b' }).execute();
      await application.query("DELETE FROM user_session WHERE id = 'expired'");
      return sessions.find();
    });
    expect(statements).toHaveLength(4);
    expect(await contents(admin)).toEqual(before);
  });

  describe.each(ways)('%s', (way) => {
    beforeAll(() => subscribe(storage.dataSource, way));
    afterAll(() => storage.dataSource.subscribers.splice(0));

    test.each(accesses(kind))('%s is no part of it', async (_, run, result) => {
      let written: unknown;
      const { statements } = await transactions.rolledBack(async () => {
        expect(await run(storage)).toEqual(result);
        written = await contents(admin);
      });
      expect(statements).toEqual([]);
      expect(await contents(admin)).toEqual(written);
    });
  });

  test('a session is made, refreshed, changed and revoked, and what is rolled back is not the session', async () => {
    await clear(admin);
    const { service } = await startCore(storage.dataSource);
    const { result, statements } = await transactions.rolledBack(async () => {
      const kept = await service.tokens.issue({ userId: 'bob' });
      const { session, refreshToken, accessToken } = await service.tokens.issue({ userId: 'cleo' });
      await service.tokens.verify(accessToken.token);
      await service.tokens.refresh(refreshToken.token);
      await service.updateData(session.id, { n: 1 });
      await service.updateData(session.id, () => ({ n: 2 }));
      await service.updateClaims(session.id, { role: 'admin' });
      expect(await service.revokeAllForUser('cleo')).toBe(1);
      return [kept.session.id, session.id] as const;
    });
    expect(statements).toEqual([]);
    expect(await service.find(result[0])).not.toBeNull();
    expect(await service.find(result[1])).toBeNull();
  });
});

const asked = vi.fn<() => Promise<undefined>>(nothing);

/** A cache that counts its reads. */
const provider = () => ({
  connect: nothing,
  disconnect: nothing,
  synchronize: nothing,
  getFromCache: asked,
  storeInCache: asked,
  isExpired: () => true,
  clear: nothing,
  remove: nothing,
});

describe.each(databases)('with a cache for all queries on $name', (kind) => {
  let database: TestDatabase;
  let storage: Storage;

  beforeAll(async () => {
    database = await kind.create();
    const cache = { alwaysEnabled: true, provider };
    const options = { ...database.options, cache } as DataSourceOptions;
    storage = storageOn(await connect({ ...database, options }));
  });
  beforeEach(async () => {
    await fill(storage);
    asked.mockClear();
  });
  afterEach(async () => clear(storage.dataSource));
  afterAll(async () => {
    await storage.dataSource.destroy();
    await database.remove();
  });

  test('repositories ask it, which is why nothing here may', async () => {
    await storage.dataSource.getRepository(SessionEntity).find();
    expect(asked).toHaveBeenCalled();
  });

  test.each(accesses(kind))('%s does not ask it', async (_, run, result) => {
    expect(await run(storage)).toEqual(result);
    expect(asked).not.toHaveBeenCalled();
  });
});

test('the library has no other way', () => {
  const root = join(import.meta.dirname, '../../lib');
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.endsWith('.spec.ts'),
  );
  const filesWith = (pattern: RegExp) =>
    files.filter((file) => pattern.test(readFileSync(join(root, file), 'utf8')));
  const others =
    /getRepository|\bRepository\b|EntityManager|QueryBuilder\b|dataSource\.(manager|query|transaction)\(/;
  // The lock for migrations is on a connection of its own, and reads no rows.
  const connecting = ['storage/migration-lock.ts', 'storage/query-runner.ts'];
  expect(filesWith(/createQueryRunner\(/).toSorted()).toEqual(connecting);
  expect(filesWith(/pool\.query\(/)).toEqual(['storage/prepared-statement.ts']);
  // This file mentions them only in the comment that says why they are not used.
  expect(filesWith(others)).toEqual(['storage/query-runner.ts']);
});
