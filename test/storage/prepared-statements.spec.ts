import { Logger } from '@nestjs/common';
import * as pg from 'pg';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SESSION_ENTITIES, StorageUnavailableError } from 'nestjs-session-tokens';
import { newSessionId } from '../../lib/protocol/session-id.js';
import { DatabaseClock } from '../../lib/storage/database-clock.js';
import type { SessionStore } from '../../lib/storage/session.store.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { QueryLog } from '../support/query-log.js';
import { TcpGate } from '../support/tcp-gate.js';
import { storeOn } from './accesses.js';

interface Prepared {
  readonly name: string;
  readonly statement: string;
}

describe.each(databases)('statements on $name', (kind) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let store: SessionStore;
  const log = new QueryLog();

  beforeEach(async () => {
    database = await kind.create();
    const options = { ...database.options, poolSize: 1, logging: true, logger: log };
    dataSource = await connect({ ...database, options: options as TestDatabase['options'] });
    store = storeOn(dataSource);
    log.take();
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await dataSource.destroy();
    await database.remove();
  });

  test('that fail say so without their values', async () => {
    await store.find(newSessionId(1));
    await dataSource.query('ALTER TABLE user_session RENAME TO elsewhere');
    const failing = store.find('a-secret-value');
    await expect(failing).rejects.toThrow(StorageUnavailableError);
    const error = (await failing.catch((reason: unknown) => reason)) as StorageUnavailableError;
    expect(error.cause).toMatchObject({ name: 'QueryFailedError' });
    expect(JSON.stringify(error.cause)).not.toContain('a-secret-value');
  });

  test('fail when the database is gone, and go on when it is back', async () => {
    await dataSource.destroy();
    await expect(store.find(newSessionId(1))).rejects.toThrow(StorageUnavailableError);
    await dataSource.initialize();
    expect(await store.find(newSessionId(1))).toBeNull();
  });

  // On other databases, statements are not prepared.
  if (kind.name !== 'postgres') return;

  const prepared = async (): Promise<Prepared[]> =>
    dataSource.query<Prepared[]>('SELECT name, statement FROM pg_prepared_statements');

  test('are prepared once for each connection, and logged like all others', async () => {
    for (let n = 0; n < 3; n++) await store.find(newSessionId(n));
    expect(log.take('SELECT')).toHaveLength(3);
    expect(await prepared()).toEqual([
      { name: expect.stringMatching(/^session_tokens_\w{16}$/), statement: expect.stringMatching(/^SELECT/) },
    ]);
  });

  test('go on where the connection does not keep them, as behind a pooler, and that is said once', async () => {
    const warned = vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    const id = newSessionId(1);
    await store.find(id);
    await dataSource.query('DEALLOCATE ALL');
    expect(await store.find(id)).toBeNull();
    expect(warned.mock.calls.map(([message]) => message as string)).toEqual([
      expect.stringMatching(/did not keep a prepared statement/),
    ]);
    for (let n = 0; n < 3; n++) expect(await store.find(id)).toBeNull();
    expect(warned).toHaveBeenCalledTimes(1);
    expect(await prepared()).toEqual([]);
  });

  test('are left to TypeORM where somebody subscribes to queries', async () => {
    const seen: string[] = [];
    dataSource.subscribers.push({ beforeQuery: ({ query }) => void seen.push(query) });
    await store.find(newSessionId(1));
    expect(seen).toEqual([expect.stringMatching(/^SELECT/)]);
    expect(await prepared()).toEqual([]);
  });

  test.each<[string, (other: DataSource) => Promise<unknown>]>([
    ['by name', async (other) => storeOn(other).find(newSessionId(1))],
    [
      'through TypeORM',
      async (other) => {
        other.subscribers.push({ beforeQuery: () => undefined });
        return storeOn(other).find(newSessionId(1));
      },
    ],
    ["of the database's clock", async (other) => new DatabaseClock(other).synchronise()],
  ])('that are never answered cost their connection, %s', async (_, run) => {
    const url = new URL((database.options as { url: string }).url);
    const gate = await TcpGate.before(url.hostname, Number(url.port));
    url.port = String(gate.port);
    const other = await connect({
      ...database,
      options: {
        type: 'postgres',
        url: url.href,
        poolSize: 1,
        extra: { query_timeout: 200 },
      },
    });
    try {
      await run(other);
      gate.move();
      await expect(run(other)).rejects.toThrow(/did not answer as it should|Query read timeout/);
      await run(other);
    } finally {
      await other.destroy();
      await gate.close();
    }
  });

  /** A pool with only the members that TypeORM needs. It does not support named statements. */
  class ForeignPool {
    private readonly pool: pg.Pool;
    constructor(options: pg.PoolConfig) {
      this.pool = new pg.Pool(options);
    }
    on = (event: 'error', listener: (error: Error) => void) => this.pool.on(event, listener);
    connect = (callback: Parameters<pg.Pool['connect']>[0]) => this.pool.connect(callback);
    end = (callback: () => void) => this.pool.end(callback);
    query(): never {
      throw new Error('statements have no names here');
    }
  }

  /** As `pg-native` has them. */
  class NativeClient extends pg.Client {
    static readonly Query = () => undefined;
  }
  class NativePool extends pg.Pool {
    constructor(options: pg.PoolConfig) {
      super({ ...options, Client: NativeClient });
    }
  }
  class OwnPool extends pg.Pool {}

  test.each<[string, object, number]>([
    ['that TypeORM finds', {}, 1],
    ['that the application gives', { driver: pg }, 1],
    ['of a class made of it', { driver: { ...pg, Pool: OwnPool } }, 1],
    ["that is not pg's", { driver: { ...pg, Pool: ForeignPool } }, 0],
    ['whose connections are others', { driver: { ...pg, Pool: NativePool } }, 0],
  ])('go to a pool %s, with a name where it is one of pg', async (_, driver, count) => {
    const options = { ...database.options, ...driver, poolSize: 1, entities: [...SESSION_ENTITIES] };
    const other = await new DataSource(options as DataSourceOptions).initialize();
    try {
      expect(await storeOn(other).find(newSessionId(1))).toBeNull();
      const names = await other.query<Prepared[]>('SELECT name, statement FROM pg_prepared_statements');
      expect(names).toHaveLength(count);
    } finally {
      await other.destroy();
    }
  });
});
