import { Logger } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SessionError, SessionOverError } from '../errors/session.errors.js';
import type { LastingKeys, VerificationKey } from '../keys/signing-key.js';
import type { AccessToken } from '../protocol/access-token.js';
import type { RevocationNews } from '../revocation/revocation-checker.js';
import type { RevocableSession } from '../revocation/revocation-memory.js';
import { AuthenticatedSession } from '../session/authenticated-session.js';
import type { SessionEnd, SessionState } from '../storage/session.store.js';
import { SYSTEM_CLOCK } from '../util/clock.js';
import { SessionConnections } from './session-connections.js';

const START = Date.UTC(2026, 0, 15);
const MINUTE = 60_000;
/** How long access tokens live. */
const TTL = 15 * MINUTE;
const INTERVAL = 1_000;
/** As long as a session lives. */
const LIFE = 60 * MINUTE;
/** What a timer may be late by, and the shortest wait. */
const SLACK = 25;

/** Reads that succeed, fail, or do not end. */
class Source {
  state: 'up' | 'down' | 'hanging' = 'up';
  begunAt = 0;
  heardAt = Number.NEGATIVE_INFINITY;
  reads = 0;
  private waiting: (() => void)[] = [];

  get dueAt(): number {
    return this.begunAt + INTERVAL;
  }

  freshen(now: number): Promise<void> | undefined {
    return now < this.dueAt ? undefined : this.read(now);
  }

  protected async read(now: number): Promise<void> {
    this.begunAt = now;
    this.reads++;
    const seen = this.see();
    if (this.state === 'hanging') await new Promise<void>((resolve) => this.waiting.push(resolve));
    if (this.state === 'down') throw new Error('down');
    this.heardAt = now;
    seen();
  }

  /** What a read that begins now will tell. */
  protected see(): () => void {
    return () => undefined;
  }

  /** It answers again. */
  recover(): void {
    this.state = 'up';
    for (const resume of this.waiting.splice(0)) resume();
  }
}

class News extends Source implements RevocationNews {
  /** What other processes have revoked. */
  readonly elsewhere = new Map<string, SessionEnd>();
  readonly known = new Map<string, SessionEnd>();
  private readonly listeners: (() => void)[] = [];

  remembered({ sessionId }: RevocableSession): SessionEnd | undefined {
    return this.known.get(sessionId);
  }

  onNews(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** This process revokes. */
  revoke(id: string): void {
    this.known.set(id, { endedAt: Date.now(), reason: 'revoked' });
    for (const listener of this.listeners) listener();
  }

  protected override see(): () => void {
    const seen = [...this.elsewhere];
    return () => {
      for (const [id, end] of seen) this.known.set(id, end);
    };
  }
}

class Keys extends Source implements LastingKeys {
  private readonly keys = new Map<string, VerificationKey>();
  private readonly droppedElsewhere = new Set<string>();
  private dropped = new Set<string>();

  constructor() {
    super();
    for (const kid of ['first', 'second']) this.keys.set(kid, { kid } as VerificationKey);
  }

  find(kid: string): VerificationKey | undefined {
    return this.keys.get(kid);
  }

  isDropped(kid: string): boolean {
    return this.dropped.has(kid);
  }

  drop(kid: string): void {
    this.droppedElsewhere.add(kid);
  }

  /** It goes, and nobody knows why. */
  remove(kid: string): void {
    this.keys.delete(kid);
  }

  protected override see(): () => void {
    const seen = [...this.droppedElsewhere];
    return () => {
      this.dropped = new Set(seen);
      for (const kid of seen) this.keys.delete(kid);
    };
  }
}

class Rows {
  state: 'up' | 'down' | 'hanging' = 'up';
  readonly states = new Map<string, SessionState>();
  readonly batches: (readonly string[])[] = [];

  put(id: string, more: Partial<SessionState> = {}): void {
    const times = { createdAt: START, lastSeenAt: START, expiresAt: START + LIFE, idleTtl: null };
    this.states.set(id, { id, ...times, revokedAt: null, revokedReason: null, ...more });
  }

  readonly read = async (ids: readonly string[]): Promise<SessionState[]> => {
    this.batches.push(ids);
    if (this.state === 'hanging') await new Promise(() => undefined);
    if (this.state === 'down') throw new Error('down');
    return ids.flatMap((id) => this.states.get(id) ?? []);
  };
}

interface World {
  readonly news: News;
  readonly keys: Keys;
  readonly rows: Rows;
  readonly connections: SessionConnections;
}

let logged: string[];

function setUp({ database = true, hears = true, interval = INTERVAL } = {}): World {
  const [news, keys, rows] = [new News(), new Keys(), new Rows()];
  const times = { interval, recheck: TTL };
  const connections = new SessionConnections(
    keys,
    hears ? news : undefined,
    database ? rows.read : undefined,
    times,
    SYSTEM_CLOCK,
  );
  return { news, keys, rows, connections };
}

/** A session with an access token of now. */
function sessionOf(id: string, more: Partial<AccessToken> = {}): AuthenticatedSession {
  const now = Date.now();
  return new AuthenticatedSession({
    sessionId: id,
    userId: 'ann',
    claims: {},
    issuedAt: now,
    expiresAt: now + TTL,
    authTime: now,
    amr: [],
    unproven: undefined,
    actor: undefined,
    kid: 'first',
    ...more,
  });
}

/** Opens a connection whose session has a row. */
function open({ connections, rows }: World, id: string, more: Partial<AccessToken> = {}) {
  const opened = { error: undefined as SessionError | undefined, endedAt: 0, close: () => {} };
  if (!rows.states.has(id)) rows.put(id);
  opened.close = connections.add(sessionOf(id, more), (error) => {
    opened.error = error;
    opened.endedAt = Date.now();
  });
  return opened;
}

beforeEach(() => {
  vi.useFakeTimers({ now: START });
  logged = [];
  for (const level of ['error', 'log', 'warn'] as const)
    vi.spyOn(Logger.prototype, level).mockImplementation((text: unknown) => void logged.push(String(text)));
});
afterEach(() => {
  expect(logged.filter((text) => /could not be closed/.test(text))).toEqual([]);
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const over = (reason: string | undefined, impersonation = false) => ({
  code: 'session_over',
  reason,
  impersonation,
});
const refresh = { code: 'try_refresh' };
const ACTOR = { sessionId: 'of the actor', userId: 'admin' };

/** What happens to a session whose connection is open, and what its client is told. */
const ends: {
  name: string;
  happens: (world: World) => void;
  told: object;
  world?: Parameters<typeof setUp>[0];
  token?: Partial<AccessToken>;
  /** How long the connection has been open before. */
  after?: number;
  /** How long the end may take. */
  within?: number;
}[] = [
  { name: 'is revoked here', happens: ({ news }) => news.revoke('a'), told: over('revoked'), within: 0 },
  {
    name: 'is revoked elsewhere',
    happens: ({ news }) => news.elsewhere.set('a', { endedAt: Date.now(), reason: 'admin' }),
    told: over('admin'),
  },
  {
    name: 'is revoked elsewhere, a day later',
    happens: ({ news }) => news.elsewhere.set('a', { endedAt: Date.now(), reason: 'admin' }),
    told: over('admin'),
    after: 59 * MINUTE,
  },
  { name: 'has a key that is dropped', happens: ({ keys }) => keys.drop('first'), told: refresh },
  {
    name: 'has a key that is dropped when its token has expired',
    happens: ({ keys }) => keys.drop('first'),
    told: refresh,
    after: TTL + MINUTE,
  },
  {
    name: 'has a key that goes before its token',
    happens: ({ keys }) => keys.remove('first'),
    told: refresh,
  },
  {
    name: 'expires',
    happens: ({ rows }) => rows.put('a', { expiresAt: Date.now() }),
    told: over('expired'),
    after: TTL - 1,
  },
  {
    name: 'has no row any more when its token expires',
    happens: ({ rows }) => rows.states.delete('a'),
    told: over(undefined),
    after: TTL - 1,
  },
  {
    name: 'acts as another user, and its token expires',
    token: { actor: ACTOR },
    happens: () => undefined,
    told: over('expired', true),
    after: TTL - 1,
  },
  {
    name: 'acts as another user, and the session of the actor is revoked here',
    token: { actor: ACTOR },
    happens: ({ news }) => news.revoke(ACTOR.sessionId),
    told: over('revoked', true),
    within: 0,
  },
  {
    name: 'acts as another user, and the session of the actor is revoked elsewhere',
    token: { actor: ACTOR },
    happens: ({ news }) => news.elsewhere.set(ACTOR.sessionId, { endedAt: 0, reason: 'admin' }),
    told: over('admin', true),
  },
  {
    name: 'is known by its token alone, which expires',
    world: { database: false },
    happens: () => undefined,
    told: refresh,
    after: TTL - 1,
  },
  {
    name: 'is known by its token alone, without news, and the token expires',
    world: { database: false, hears: false },
    happens: () => undefined,
    told: refresh,
    after: TTL - 1,
  },
  {
    name: 'is revoked elsewhere, where the interval is short',
    world: { interval: 50 },
    happens: ({ news }) => news.elsewhere.set('a', { endedAt: Date.now(), reason: 'admin' }),
    told: over('admin'),
  },
];

describe('a connection', () => {
  it.each(ends)('ends in time when its session $name', async (story) => {
    const { happens, told, token, after = 0, within = INTERVAL } = story;
    const world = setUp(story.world);
    // Its token lives longer, because without the database it ends with that.
    const bystander = open(world, 'b', { kid: 'second', expiresAt: START + 2 * LIFE });
    const watched = open(world, 'a', token);
    await vi.advanceTimersByTimeAsync(after);
    expect(watched.error).toBeUndefined();
    const before = Date.now();
    happens(world);
    await vi.advanceTimersByTimeAsync(within + SLACK);
    expect(watched.error).toMatchObject(told);
    expect(watched.endedAt - before).toBeLessThanOrEqual(within + SLACK);
    expect(bystander.error).toBeUndefined();
    expect(world.connections.size).toBe(1);
  });

  it.each([
    { name: 'its token expires', happens: () => undefined, after: TTL + MINUTE },
    {
      name: 'its key has been retired',
      happens: ({ keys }: World) => keys.remove('first'),
      after: TTL + MINUTE,
    },
    {
      name: 'its session is revoked after it was closed',
      happens: ({ news }: World) => news.revoke('closed'),
      after: 0,
    },
  ])('stays open when $name', async ({ happens, after }) => {
    const world = setUp();
    const closed = open(world, 'closed');
    closed.close();
    const watched = open(world, 'a');
    await vi.advanceTimersByTimeAsync(after);
    happens(world);
    await vi.advanceTimersByTimeAsync(10 * MINUTE);
    expect([watched.error, closed.error]).toEqual([undefined, undefined]);
  });

  it.each([
    { name: 'revoked', happens: ({ news }: World) => news.revoke('a'), told: over('revoked') },
    { name: 'dropped', happens: ({ keys }: World) => keys.remove('first'), told: refresh },
  ])('that is registered after the news (session or key $name) ends, too', async ({ happens, told }) => {
    const world = setUp();
    const bystander = open(world, 'b', { kid: 'second' });
    happens(world);
    await vi.advanceTimersByTimeAsync(100);
    // The handshake has taken that long.
    const late = open(world, 'a');
    await vi.advanceTimersByTimeAsync(INTERVAL);
    expect(late.error).toMatchObject(told);
    expect(bystander.error).toBeUndefined();
  });

  it.each(['news', 'keys'] as const)(
    'ends in time whenever requests have caused the last read of the %s',
    async (source) => {
      for (let phase = 0; phase < INTERVAL; phase += 70) {
        const world = setUp();
        const watched = open(world, 'a');
        await vi.advanceTimersByTimeAsync(5_000 + phase);
        await world[source].freshen(Date.now() + INTERVAL);
        world[source].begunAt = Date.now();
        const before = Date.now();
        if (source === 'news') world.news.elsewhere.set('a', { endedAt: before, reason: 'admin' });
        else world.keys.drop('first');
        await vi.advanceTimersByTimeAsync(2 * INTERVAL);
        expect(watched.endedAt - before).toBeLessThanOrEqual(INTERVAL + SLACK);
        watched.close();
      }
    },
  );
});

describe('while the database', () => {
  it.each(['hanging', 'down'] as const)(
    'is %s, what this process knows still ends connections',
    async (state) => {
      const world = setUp();
      const [here, expiring, kept] = [
        open(world, 'a'),
        open(world, 'b', { actor: ACTOR, expiresAt: START + 5_000 }),
        open(world, 'c'),
      ];
      await vi.advanceTimersByTimeAsync(2_000);
      for (const each of [world.news, world.keys, world.rows]) each.state = state;
      await vi.advanceTimersByTimeAsync(2_000);
      world.news.revoke('a');
      await vi.advanceTimersByTimeAsync(SLACK);
      expect(here.error).toMatchObject(over('revoked'));
      await vi.advanceTimersByTimeAsync(1_000 + INTERVAL);
      expect(expiring.error).toMatchObject(over('expired', true));
      expect(kept.error).toBeUndefined();
    },
  );

  it('is hanging, reads do not pile up, and when it answers, what was revoked meanwhile counts', async () => {
    const world = setUp();
    const watched = open(world, 'a');
    await vi.advanceTimersByTimeAsync(2_000);
    world.news.state = world.keys.state = 'hanging';
    const reads = world.news.reads + world.keys.reads;
    await vi.advanceTimersByTimeAsync(5 * MINUTE);
    expect(world.news.reads + world.keys.reads - reads).toBe(2);
    world.news.elsewhere.set('a', { endedAt: Date.now(), reason: 'admin' });
    world.news.recover();
    world.keys.recover();
    await vi.advanceTimersByTimeAsync(SLACK);
    expect(watched.error).toMatchObject(over('admin'));
  });

  it('fails, nobody is ended, it is tried again once per interval, and the log says so twice', async () => {
    const world = setUp();
    const watched = open(world, 'a');
    const gone = open(world, 'gone');
    world.rows.states.delete('gone');
    await vi.advanceTimersByTimeAsync(TTL - 1_000);
    expect(world.rows.batches.length).toBe(1);
    world.rows.put('gone');
    world.rows.state = 'down';
    await vi.advanceTimersByTimeAsync(10 * MINUTE);
    expect(gone.error).toBeDefined();
    expect(watched.error).toBeUndefined();
    const tries = world.rows.batches.length - 1;
    expect(tries).toBeGreaterThan(500);
    expect(tries).toBeLessThanOrEqual(600);
    world.rows.state = 'up';
    world.rows.states.delete('a');
    await vi.advanceTimersByTimeAsync(2 * INTERVAL);
    expect(watched.error).toMatchObject(over(undefined));
    expect(logged).toHaveLength(2);
  });

  it('fails, looks do not come more often', async () => {
    const world = setUp();
    open(world, 'a');
    let looks = 0;
    world.connections.onLook(() => (looks++, false));
    world.news.state = world.keys.state = 'down';
    await vi.advanceTimersByTimeAsync(MINUTE);
    // Both are read once per interval, and each read is followed by a look.
    expect(looks).toBeLessThan(4 * 60);
  });

  it('was not heard for longer than access tokens live, the rows tell what was missed', async () => {
    const world = setUp();
    const [missed, live] = [
      open(world, 'a', { expiresAt: START + LIFE }),
      open(world, 'b', { expiresAt: START + LIFE }),
    ];
    await vi.advanceTimersByTimeAsync(2_000);
    world.news.state = 'down';
    await vi.advanceTimersByTimeAsync(TTL + MINUTE);
    // Its revocation is no news any more.
    world.rows.put('a', { revokedAt: START + MINUTE, revokedReason: 'admin' });
    expect(missed.error).toBeUndefined();
    world.news.state = 'up';
    await vi.advanceTimersByTimeAsync(INTERVAL + SLACK);
    expect(missed.error).toMatchObject(over('admin'));
    expect(live.error).toBeUndefined();
  });
});

describe('the rows of sessions', () => {
  it('are not read before their tokens have expired, then once per life of a token, each once, at the same time', async () => {
    const world = setUp();
    await vi.advanceTimersByTimeAsync(2_000);
    for (let n = 0; n < 3; n++) for (const id of ['a', 'b', 'c']) open(world, id);
    await vi.advanceTimersByTimeAsync(INTERVAL);
    world.rows.batches.length = 0;
    await vi.advanceTimersByTimeAsync(TTL - 2 * INTERVAL);
    expect(world.rows.batches).toEqual([]);
    await vi.advanceTimersByTimeAsync(2 * TTL + 4 * INTERVAL);
    const all = ['a', 'b', 'c'];
    expect(world.rows.batches.slice(0, 2)).toEqual([all, all]);
    expect(world.rows.batches.length).toBeLessThanOrEqual(3);
  });
});

describe('looks', () => {
  it('stop when nothing is open, and nothing is asked', async () => {
    const world = setUp();
    const opened = open(world, 'a');
    await vi.advanceTimersByTimeAsync(5_000);
    opened.close();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(vi.getTimerCount()).toBe(0);
    const { reads } = world.news;
    await vi.advanceTimersByTimeAsync(MINUTE);
    expect(world.news.reads).toBe(reads);
    open(world, 'b');
    expect(vi.getTimerCount()).toBe(1);
  });

  it('ask nobody while only something may be open', async () => {
    const world = setUp();
    let looks = 0;
    world.connections.onLook(() => (looks++, true));
    world.connections.schedule();
    await vi.advanceTimersByTimeAsync(MINUTE);
    expect(looks).toBeGreaterThanOrEqual(58);
    expect(looks).toBeLessThanOrEqual(60);
    expect(world.news.reads + world.keys.reads).toBe(0);
  });

  it('come every second, however long the interval is, so that nothing is held for long', async () => {
    const world = setUp({ interval: 60 * MINUTE });
    let looks = 0;
    world.connections.onLook(() => (looks++, true));
    world.connections.schedule();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(looks).toBe(10);
  });

  it('are few, however much is revoked', async () => {
    const world = setUp();
    const watched = open(world, 'last');
    let looks = 0;
    world.connections.onLook(() => (looks++, false));
    await vi.advanceTimersByTimeAsync(100);
    looks = 0;
    for (let n = 0; n < 1_000; n++) {
      world.news.revoke(`other ${n}`);
      await vi.advanceTimersByTimeAsync(1);
    }
    world.news.revoke('last');
    await vi.advanceTimersByTimeAsync(SLACK);
    expect(looks).toBeLessThan(60);
    expect(watched.error).toBeDefined();
  });

  it('go on after a connection that cannot be closed', async () => {
    const world = setUp();
    world.connections.add(sessionOf('a'), () => {
      throw new Error('cannot');
    });
    const watched = open(world, 'a');
    world.news.revoke('a');
    await vi.advanceTimersByTimeAsync(SLACK);
    expect(watched.error).toBeDefined();
    expect(logged).toEqual(['A connection whose session is over could not be closed.']);
    logged.length = 0;
  });

  it.each([-3 * 60 * MINUTE, 60_000])('go on when the clock is set by %i ms', async (by) => {
    const world = setUp();
    const watched = open(world, 'a', { expiresAt: START + 10 * LIFE });
    world.rows.put('a', { expiresAt: START + 10 * LIFE });
    await vi.advanceTimersByTimeAsync(5_000);
    vi.setSystemTime(Date.now() + by);
    // As the sources do it: abs().
    for (const each of [world.news, world.keys]) if (by < 0) each.begunAt = 0;
    await vi.advanceTimersByTimeAsync(INTERVAL);
    world.news.elsewhere.set('a', { endedAt: Date.now(), reason: 'admin' });
    await vi.advanceTimersByTimeAsync(INTERVAL + SLACK);
    expect(watched.error).toMatchObject(over('admin'));
  });

  it('end when the process stops, also those that wait for a read', async () => {
    const world = setUp();
    const watched = open(world, 'a');
    await vi.advanceTimersByTimeAsync(2_000);
    world.news.state = 'hanging';
    await vi.advanceTimersByTimeAsync(2_000);
    world.news.elsewhere.set('a', { endedAt: Date.now() });
    world.connections.stop();
    world.news.recover();
    world.news.revoke('a');
    await vi.advanceTimersByTimeAsync(MINUTE);
    expect(vi.getTimerCount()).toBe(0);
    expect((watched.error as SessionOverError | undefined)?.code).toBeUndefined();
  });
});
