import { setImmediate as turn } from 'node:timers/promises';
import type { DataSource, DataSourceOptions, EntitySubscriberInterface } from 'typeorm';
import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from 'vitest';
import {
  LookAgainError,
  type RefreshedSession,
  SessionEntity,
  SessionKeyEntity,
  type SessionModuleOptions,
} from 'nestjs-session-tokens';
import type { SessionCore } from '../../lib/module/session.core.js';
import { connect, type DatabaseKind, type TestDatabase } from '../support/databases.js';
import { QueryLog } from '../support/query-log.js';
import { startCore } from '../support/services.js';
import { MINUTE, stopClock } from '../support/time.js';

/** The library with a connection of its own, as one process would have it. */
export interface Instance extends SessionCore {
  readonly dataSource: DataSource;
  readonly log: QueryLog;
}

/** A database for the tests of a suite, empty and at {@link START} for each of them. */
export interface World {
  readonly database: TestDatabase;
  /** Any number of instances, which start at the same moment. */
  start(count: number, options?: SessionModuleOptions): Promise<Instance[]>;
  /** Connections with the tables in place. */
  connect(count: number): Promise<Pick<Instance, 'dataSource' | 'log'>[]>;
  /** The keys as they lie in the table, oldest first. */
  keys(purpose: 'access' | 'refresh'): Promise<SessionKeyEntity[]>;
}

export function describeWorld(kind: Pick<DatabaseKind, 'create'>): World {
  let database: TestDatabase;
  let admin: DataSource;
  let open: DataSource[] = [];

  vi.setConfig({ testTimeout: MINUTE, hookTimeout: MINUTE });

  beforeAll(async () => {
    database = await kind.create();
    admin = await connect(database);
  });
  beforeEach(() => {
    stopClock();
  });
  afterEach(async () => {
    vi.useRealTimers();
    await Promise.all(open.filter(({ isInitialized }) => isInitialized).map((each) => each.destroy()));
    open = [];
    await admin.getRepository(SessionEntity).clear();
    await admin.getRepository(SessionKeyEntity).clear();
  });
  afterAll(async () => {
    await admin.destroy();
    await database.remove();
  });

  const world: World = {
    get database() {
      return database;
    },
    async connect(count) {
      const connections: Pick<Instance, 'dataSource' | 'log'>[] = [];
      for (let index = 0; index < count; index++) {
        const log = new QueryLog();
        const extra = { logging: true, logger: log, poolSize: 5 };
        const options = { ...database.options, ...extra } as DataSourceOptions;
        const dataSource = await connect({ ...database, options });
        log.take();
        open.push(dataSource);
        connections.push({ dataSource, log });
      }
      return connections;
    },
    async start(count, options) {
      const connections = await world.connect(count);
      return Promise.all(
        connections.map(async (connection) =>
          Object.assign(connection, await startCore(connection.dataSource, options)),
        ),
      );
    },
    async keys(purpose) {
      return admin.getRepository(SessionKeyEntity).find({ where: { purpose }, order: { sequence: 'ASC' } });
    },
  };
  return world;
}

/**
 * Exchanges a refresh token that looks old. The client looks again when it is told to, and has nothing newer: whatever is said
 * of its token then is final.
 */
export async function insist(
  { service }: Pick<Instance, 'service'>,
  token: string,
): Promise<RefreshedSession> {
  const error: unknown = await service.tokens.refresh(token).catch((reason: unknown) => reason);
  // Nothing is held against a client at first sight, however old its token looks.
  expect(error).toBeInstanceOf(LookAgainError);
  return service.tokens.refresh(token, { lookedAgain: (error as LookAgainError).tokenId });
}

/** Runs before each statement of a connection; the statement waits for it. */
export function beforeQuery(dataSource: DataSource, hook: (query: string) => Promise<void>): void {
  const subscriber: EntitySubscriberInterface = { beforeQuery: ({ query }) => hook(query) };
  dataSource.subscribers.push(subscriber);
}

/** Lets the statements of these instances run one after the other, in an order that chance decides. */
export function shuffleStatements(instances: readonly Instance[], random: () => number): void {
  const waiting: (() => void)[] = [];
  let isRunning = false;
  let finished: (() => void) | undefined;

  const run = async () => {
    isRunning = true;
    while (waiting.length > 0) {
      // Time for whoever is not waiting for the database to come to its next statement.
      for (let turns = 0; turns < 5; turns++) await turn();
      const [release] = waiting.splice(Math.floor(random() * waiting.length), 1);
      const done = new Promise<void>((resolve) => {
        finished = resolve;
      });
      release!();
      await done;
    }
    isRunning = false;
  };
  const subscriber: EntitySubscriberInterface = {
    beforeQuery: () =>
      new Promise<void>((resolve) => {
        waiting.push(resolve);
        if (!isRunning) void run();
      }),
    afterQuery: () => finished?.(),
  };
  for (const { dataSource } of instances) dataSource.subscribers.push(subscriber);
}

/** The instance's database is gone while this runs. */
export async function withoutDatabase<T>({ dataSource }: Instance, action: () => Promise<T>): Promise<T> {
  await dataSource.destroy();
  try {
    return await action();
  } finally {
    await dataSource.initialize();
  }
}

/** Random numbers from 0 to 1 that are the same in every run. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
