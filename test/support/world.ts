import type { DataSource, DataSourceOptions } from 'typeorm';
import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from 'vitest';
import {
  LookAgainError,
  type RefreshedSession,
  SESSION_ENTITIES,
  SessionEntity,
  SessionKeyEntity,
  type SessionModuleOptions,
  type SessionService,
} from 'nestjs-session-tokens';
import type { SessionCore } from '../../lib/module/session.core.js';
import { startCore } from './core.js';
import { connect, type DatabaseKind, type TestDatabase } from './databases.js';
import { QueryLog } from './query-log.js';
import { MINUTE, stopClock } from './time.js';

/** A connection with the tables in place, and what it asks the database. */
export interface Connection {
  readonly dataSource: DataSource;
  readonly log: QueryLog;
}

/** The library with a connection of its own, as one process would have it. */
export interface Instance extends SessionCore, Connection {}

/** A database whose tables are empty when a test begins, and instances of the library that work on it. */
export class World {
  database!: TestDatabase;
  private own!: Connection;
  private open: Connection[] = [];

  constructor(private readonly kind: Pick<DatabaseKind, 'create'>) {}

  /** The connection of the world itself, which all its {@link process processes} share. */
  get dataSource(): DataSource {
    return this.own.dataSource;
  }

  /** One more connection to the database, as another process would have it. */
  async connect(options: object = {}): Promise<Connection> {
    const connection = await this.newConnection(options);
    this.open.push(connection);
    return connection;
  }

  /** Any number of instances, each on a connection of its own, which start at the same moment. */
  async start(count: number, options?: SessionModuleOptions): Promise<Instance[]> {
    const connections: Connection[] = [];
    while (connections.length < count) connections.push(await this.connect());
    return Promise.all(
      connections.map(async (connection) =>
        Object.assign(connection, await startCore(connection.dataSource, options)),
      ),
    );
  }

  /** The service of an instance, for tests in which it does not matter that they share a connection. */
  async process(options: SessionModuleOptions = {}, dataSource = this.dataSource): Promise<SessionService> {
    return (await startCore(dataSource, options)).service;
  }

  /** The sessions as they lie in the table. */
  async rows(): Promise<SessionEntity[]> {
    return this.dataSource.getRepository(SessionEntity).find();
  }

  /** The keys as they lie in the table, oldest first. */
  async keys(purpose: 'access' | 'refresh'): Promise<SessionKeyEntity[]> {
    return this.dataSource
      .getRepository(SessionKeyEntity)
      .find({ where: { purpose }, order: { sequence: 'ASC' } });
  }

  /** The statements that an action makes on the world's own connection. */
  async queriesOf(action: () => Promise<unknown>): Promise<string[]> {
    this.own.log.take();
    await action();
    return this.own.log.take();
  }

  async create(): Promise<void> {
    this.database = await this.kind.create();
    this.own = await this.newConnection();
  }

  async empty(): Promise<void> {
    const open = this.open.splice(0).map(({ dataSource }) => dataSource);
    await Promise.all(open.filter(({ isInitialized }) => isInitialized).map((each) => each.destroy()));
    for (const entity of SESSION_ENTITIES) await this.dataSource.getRepository(entity).clear();
  }

  async remove(): Promise<void> {
    await this.dataSource.destroy();
    await this.database.remove();
  }

  private async newConnection(options: object = {}): Promise<Connection> {
    const log = new QueryLog();
    const all = { ...this.database.options, logger: log, poolSize: 5, ...options };
    const dataSource = await connect({ ...this.database, options: all as DataSourceOptions });
    log.take();
    return { dataSource, log };
  }
}

/** A world for the tests of the describe block that this is called in; the clock stands still when one begins. */
export function useWorld(kind: Pick<DatabaseKind, 'create'>): World {
  const world = new World(kind);
  vi.setConfig({ testTimeout: MINUTE, hookTimeout: MINUTE });
  beforeAll(() => world.create());
  beforeEach(() => stopClock());
  afterEach(async () => {
    vi.useRealTimers();
    await world.empty();
  });
  afterAll(() => world.remove());
  return world;
}

/**
 * Exchanges a refresh token that looks old. The client looks again when it is told to, and has nothing newer: whatever is said
 * of its token then is final.
 */
export async function insist(sessions: SessionService, token: string): Promise<RefreshedSession> {
  const error: unknown = await sessions.tokens.refresh(token).catch((reason: unknown) => reason);
  // Nothing is held against a client at first sight, however old its token looks.
  expect(error).toBeInstanceOf(LookAgainError);
  return sessions.tokens.refresh(token, { lookedAgain: (error as LookAgainError).tokenId });
}
