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

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** The default reuse window. After this time, the use of an access token proves its generation. */
export const SETTLED = 90 * SECOND;

/** The default lifetime of an access token. After this time, the refresh token that came with it is exchanged. */
export const TTL = 15 * MINUTE;

/** The time at which every test begins. */
export const START = Date.UTC(2026, 0, 15, 9, 30);

/** The library with its own connection, as in one process. */
export interface Instance extends SessionCore {
  readonly dataSource: DataSource;
  readonly log: QueryLog;
}

/** A database for the tests of a suite. For each test it is empty, and the time is {@link START}. */
export interface World {
  readonly database: TestDatabase;
  /** Starts any number of instances at the same moment. */
  start(count: number, options?: SessionModuleOptions): Promise<Instance[]>;
  /** Connections to a database with the tables. */
  connect(count: number): Promise<Pick<Instance, 'dataSource' | 'log'>[]>;
  /** The rows of the table of keys, oldest first. */
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
    vi.useFakeTimers({ toFake: ['Date'], now: START });
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

/** Lets time pass. */
export function pass(milliseconds: number): void {
  vi.setSystemTime(Date.now() + milliseconds);
}

/**
 * Exchanges a refresh token that looks old. The client looks again when it is told to, and has no newer token. So the
 * second answer is final.
 */
export async function insist(
  { service }: Pick<Instance, 'service'>,
  token: string,
): Promise<RefreshedSession> {
  const error: unknown = await service.tokens.refresh(token).catch((reason: unknown) => reason);
  // The first use of a token that looks old never counts as theft.
  expect(error).toBeInstanceOf(LookAgainError);
  return service.tokens.refresh(token, { lookedAgain: (error as LookAgainError).tokenId });
}

/** Calls an operation with a clock that is ahead or behind. Every operation reads the clock first. */
export function withClock<T>(offset: number, call: () => T): T {
  const now = Date.now();
  vi.setSystemTime(now + offset);
  try {
    return call();
  } finally {
    vi.setSystemTime(now);
  }
}

/** Runs a function before each statement of a connection. The statement waits for it. */
export function beforeQuery(dataSource: DataSource, hook: (query: string) => Promise<void>): void {
  const subscriber: EntitySubscriberInterface = { beforeQuery: ({ query }) => hook(query) };
  dataSource.subscribers.push(subscriber);
}

/** Lets the statements of these instances run one after the other, in random order. */
export function shuffleStatements(instances: readonly Instance[], random: () => number): void {
  const waiting: (() => void)[] = [];
  let isRunning = false;
  let finished: (() => void) | undefined;

  const run = async () => {
    isRunning = true;
    while (waiting.length > 0) {
      // Gives the other operations time to reach their next statement.
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

/** Runs a function while the instance's database is not available. */
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
