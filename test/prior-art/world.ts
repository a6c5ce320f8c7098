import { DataSource } from 'typeorm';
import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from 'vitest';
import {
  LookAgainError,
  type RefreshedSession,
  SESSION_ENTITIES,
  SessionEntity,
  type SessionEvent,
  SessionKeyEntity,
  type SessionModuleOptions,
  type SessionService,
} from 'nestjs-session-tokens';
import { connect, type DatabaseKind, type TestDatabase } from '../support/databases.js';
import { QueryLog } from '../support/query-log.js';
import { startCore } from '../support/services.js';
import { stopClock } from '../support/time.js';

/** What the older suites' words for refusals are here. */
export const TRY_REFRESH = { code: 'try_refresh' };
export const OVER = { code: 'session_over' };
export const THEFT = { code: 'token_theft' };

/** Single use that is enforced at first sight: the older libraries knew neither a reuse window nor a second look. */
export const STRICT = { reuseWindow: 0, lookAgain: false } as const satisfies SessionModuleOptions;

/** A database whose tables are empty when a test begins, and processes that work on it. */
export class World {
  private database!: TestDatabase;
  private readonly connections: DataSource[] = [];
  /** The connection that {@link process} uses. */
  dataSource!: DataSource;

  constructor(private readonly kind: DatabaseKind) {}

  /** A process of the application; all those of one test work on the same tables. */
  async process(options: SessionModuleOptions = {}, dataSource = this.dataSource): Promise<SessionService> {
    return (await startCore(dataSource, options)).service;
  }

  /** One more connection to the database, as another process would have it. */
  async connect(options: object = {}): Promise<DataSource> {
    const dataSource = await connect({
      ...this.database,
      options: { ...this.database.options, ...options },
    });
    this.connections.push(dataSource);
    return dataSource;
  }

  async rows(): Promise<SessionEntity[]> {
    return this.dataSource.getRepository(SessionEntity).find();
  }

  async keys(purpose: 'access' | 'refresh'): Promise<SessionKeyEntity[]> {
    return this.dataSource
      .getRepository(SessionKeyEntity)
      .find({ where: { purpose }, order: { sequence: 'ASC' } });
  }

  /** The queries that an action makes. */
  async queriesOf(action: () => Promise<unknown>): Promise<string[]> {
    const log = new QueryLog();
    const previous = this.dataSource.logger;
    this.dataSource.logger = log;
    try {
      await action();
    } finally {
      this.dataSource.logger = previous;
    }
    return log.take();
  }

  async open(): Promise<void> {
    this.database = await this.kind.create();
    this.dataSource = await connect(this.database);
  }

  async empty(): Promise<void> {
    await Promise.all(this.connections.splice(0).map((each) => each.destroy()));
    for (const entity of SESSION_ENTITIES) await this.dataSource.getRepository(entity).clear();
  }

  async close(): Promise<void> {
    await this.dataSource.destroy();
    await this.database.remove();
  }
}

/** A world for the tests of the describe block that this is called in. */
export function useWorld(kind: DatabaseKind): World {
  const world = new World(kind);
  beforeAll(() => world.open());
  beforeEach(() => {
    stopClock();
  });
  afterEach(async () => {
    vi.useRealTimers();
    await world.empty();
  });
  afterAll(() => world.close());
  return world;
}

/**
 * What is said of a refresh token that looks old, in a process that has clients look again: at first always the same, and then,
 * to a client that has nothing newer, what is final.
 */
export async function insist(sessions: SessionService, token: string): Promise<RefreshedSession> {
  const error: unknown = await sessions.tokens.refresh(token).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(LookAgainError);
  return sessions.tokens.refresh(token, { lookedAgain: (error as LookAgainError).tokenId });
}

/** What happens to sessions in a process, from now on. */
export function recordEvents(sessions: SessionService): SessionEvent[] {
  const events: SessionEvent[] = [];
  sessions.events.subscribe((event) => events.push(event));
  return events;
}

/** A part of a JWT. */
export function decode(token: string, part: 'header' | 'payload'): Record<string, unknown> {
  const text = token.split('.')[part === 'header' ? 0 : 1]!;
  return JSON.parse(Buffer.from(text, 'base64url').toString()) as Record<string, unknown>;
}

/** Expects an access token to be good, proven, and without any cost to the database. */
export async function expectFree(world: World, sessions: SessionService, accessToken: string): Promise<void> {
  // The revocation feed reads once per interval, whatever the tokens; that read is not this token's.
  await sessions.tokens.verify(accessToken);
  const queries = await world.queriesOf(async () => {
    expect((await sessions.tokens.verify(accessToken)).newAccessToken).toBeUndefined();
  });
  expect(queries).toEqual([]);
}
