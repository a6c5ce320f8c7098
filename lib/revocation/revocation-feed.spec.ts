import { Logger } from '@nestjs/common';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { andThen } from '../util/and-then.js';
import type { NotBefore } from '../storage/not-before.store.js';
import { type Revocation, UNSETTLED } from '../storage/session.store.js';
import { type FeedListener, RevocationFeed } from './revocation-feed.js';

const NOW = Date.UTC(2026, 0, 15);
const INTERVAL = 1_000;
const TTL = 15 * 60_000;
const HOUR = 3_600_000;
/** How far clocks may be apart. */
const TOLERANCE = 90_000;

/** The tables of revocations. */
class Table {
  readonly rows: Revocation[] = [];
  readonly notBefores: NotBefore[] = [];
  readonly reads: number[] = [];
  isDown = false;

  async notBeforesSince(time: number) {
    await Promise.resolve();
    if (this.isDown) throw new Error('down');
    return this.notBefores.filter(({ settledAt }) => settledAt >= time);
  }

  async revokedSince(time: number) {
    this.reads.push(time);
    await Promise.resolve();
    if (this.isDown) throw new Error('down');
    return this.rows.filter(({ revokedAt }) => revokedAt >= time);
  }
}

function setUp() {
  const table = new Table();
  return {
    table,
    feed: new RevocationFeed(
      table,
      { interval: INTERVAL, tokenLife: TTL, clockTolerance: TOLERANCE, patience: 1_000 },
      clock,
    ),
  };
}

const clock = { time: NOW, now: () => clock.time };

/** The number of revocations in a feed. */
function sizeOf(feed: RevocationFeed): number {
  const memory = Reflect.get(feed, 'memory') as object;
  return (Reflect.get(memory, 'sessions') as Map<string, unknown>).size;
}

function notBefore(id: string, more: Partial<NotBefore> = {}): NotBefore {
  const facts = { userId: undefined, notBefore: NOW, except: undefined, reason: 'admin', createdAt: NOW };
  return { id, ...facts, settledAt: UNSETTLED, isOwn: false, ...more };
}

/** When a session ended according to a feed. */
function endedAt(feed: RevocationFeed, id: string, now: number) {
  return andThen(feed.endOf({ sessionId: id, userId: 'ann' }, now), (end) => end?.endedAt);
}

afterEach(() => {
  clock.time = NOW;
  vi.restoreAllMocks();
});

describe('the feed', () => {
  test.each<[string, boolean, (world: ReturnType<typeof setUp>) => unknown]>([
    ['this process revokes', true, ({ feed }) => feed.revoked(['a'], { endedAt: NOW })],
    ['this process ends all sessions', true, ({ feed }) => feed.revokedBefore(notBefore('a'))],
    [
      'a read finds a revocation',
      true,
      async ({ feed, table }) => {
        table.rows.push({ id: 'a', revokedAt: NOW, revokedReason: 'revoked' });
        await feed.freshen(NOW);
      },
    ],
    [
      'a read finds that all sessions have ended',
      true,
      async ({ feed, table }) => {
        table.notBefores.push(notBefore('a'));
        await feed.freshen(NOW);
      },
    ],
    ['a read finds nothing', false, async ({ feed }) => feed.freshen(NOW)],
    [
      'a read finds what is known',
      false,
      async ({ feed, table }) => {
        table.rows.push({ id: 'known', revokedAt: NOW, revokedReason: 'revoked' });
        await feed.freshen(NOW);
      },
    ],
  ])('tells who listens when %s: %s', async (_, isTold, happens) => {
    const world = setUp();
    world.feed.revoked(['known'], { endedAt: NOW });
    let times = 0;
    world.feed.onNews(() => times++);
    await happens(world);
    expect(times).toBe(isTold ? 1 : 0);
  });

  test('knows until when it has heard, and when the next read is due', async () => {
    const { table, feed } = setUp();
    expect(feed.dueAt).toBeLessThanOrEqual(NOW);
    await feed.freshen(NOW);
    expect([feed.heardAt, feed.dueAt, feed.freshen(NOW)]).toEqual([NOW, NOW + INTERVAL, undefined]);
    table.isDown = true;
    await feed.freshen(NOW + INTERVAL);
    expect([feed.heardAt, feed.dueAt]).toEqual([NOW, NOW + 2 * INTERVAL]);
  });

  test('answers without a promise between two reads', async () => {
    const { table, feed } = setUp();
    table.rows.push({ id: 'a', revokedAt: NOW, revokedReason: 'revoked' });
    expect(await endedAt(feed, 'a', NOW)).toBe(NOW);
    expect(endedAt(feed, 'a', NOW + INTERVAL - 1)).toBe(NOW);
    expect(endedAt(feed, 'b', NOW + INTERVAL - 1)).toBeUndefined();
    expect(endedAt(feed, 'b', NOW + INTERVAL)).toBeInstanceOf(Promise);
  });

  test('reads first what can still matter, then what is new, and now and then with room for clocks that differ', async () => {
    const { table, feed } = setUp();
    for (let second = 0; second <= 20; second++) await endedAt(feed, 'a', NOW + second * INTERVAL);
    const back = table.reads.map((time, second) => NOW + second * INTERVAL - time);
    expect(back[0]).toBe(TTL + TOLERANCE);
    for (const second of [10, 20]) expect(back[second]).toBe(10_000 + TOLERANCE);
    for (const second of [1, 2, 9, 11, 19]) expect(back[second]).toBe(INTERVAL + 5_000);
  });

  test.each([
    ['by a clock that is right', 0, INTERVAL],
    ['by a clock that is usually right', 5_000, INTERVAL],
    ['by a clock that is a little behind', 6_000, 11_000],
    ['by a clock as far behind as can be', TOLERANCE, 11_000],
  ])('learns of a revocation %s', async (_, lateness, within) => {
    // At every time between two reads, and between two full reads.
    for (let at = 500; at < 12_000; at += 700) {
      const { table, feed } = setUp();
      for (let time = 0; time <= at + within; time += 100) {
        // Its row appears after a read at the same moment.
        await endedAt(feed, 'a', NOW + time);
        if (time === at)
          table.rows.push({ id: 'a', revokedAt: NOW + time - lateness, revokedReason: 'revoked' });
      }
      expect(await endedAt(feed, 'a', NOW + at + within)).toBe(NOW + at - lateness);
    }
  });

  test.each([0, HOUR, 24 * HOUR])(
    'learns of a revocation that is not settled %d ms after the last read',
    async (later) => {
      const { table, feed } = setUp();
      await endedAt(feed, 'a', NOW);
      table.rows.push({ id: 'a', revokedAt: UNSETTLED, revokedReason: 'revoked' });
      const read = NOW + INTERVAL + later;
      expect(await endedAt(feed, 'a', read)).toBe(read);
      table.rows.length = 0;
      // It is forgotten like any other.
      await endedAt(feed, 'a', read + TTL + HOUR);
      expect(sizeOf(feed)).toBe(0);
    },
  );

  test('looks back from its own time when the clock has been set back', async () => {
    const { table, feed } = setUp();
    await endedAt(feed, 'a', NOW + HOUR);
    table.rows.push({ id: 'a', revokedAt: NOW - TOLERANCE, revokedReason: 'revoked' });
    expect(await endedAt(feed, 'a', NOW)).toBe(NOW - TOLERANCE);
  });

  test('after a failure reads again all that can still matter', async () => {
    vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    const { table, feed } = setUp();
    await endedAt(feed, 'a', NOW);
    table.isDown = true;
    await endedAt(feed, 'a', NOW + HOUR / 10);
    table.isDown = false;
    table.rows.push({ id: 'a', revokedAt: NOW + 1, revokedReason: 'revoked' });
    expect(await endedAt(feed, 'a', NOW + HOUR / 5)).toBe(NOW + 1);
  });

  test('forgets revocations whose last access token has expired', async () => {
    const { table, feed } = setUp();
    for (let n = 0; n < 1_000; n++)
      table.rows.push({ id: `other-${n}`, revokedAt: NOW, revokedReason: 'revoked' });
    feed.revoked(['own'], { endedAt: NOW });
    await endedAt(feed, 'a', NOW);
    expect(sizeOf(feed)).toBe(1_001);
    await endedAt(feed, 'a', NOW + TTL);
    expect(sizeOf(feed)).toBe(1_001);
    await endedAt(feed, 'a', NOW + TTL + HOUR);
    expect(sizeOf(feed)).toBe(0);
  });

  test('stays small in a process that has revoked for days and is asked nothing', async () => {
    const { feed } = setUp();
    for (let hour = 0; hour < 5 * 24; hour++) {
      clock.time = NOW + hour * HOUR;
      feed.revoked(
        Array.from({ length: 100 }, (_, n) => `${hour}-${n}`),
        { endedAt: NOW + hour * HOUR },
      );
    }
    expect(sizeOf(feed)).toBeLessThan(1_000);
  });

  test('keeps the time of the earliest word of a revocation from being lost by a read', async () => {
    const { table, feed } = setUp();
    feed.revoked(['a'], { endedAt: NOW });
    table.rows.push({ id: 'a', revokedAt: NOW, revokedReason: 'revoked' });
    expect(await endedAt(feed, 'a', NOW + INTERVAL)).toBe(NOW);
  });
});

async function startTimer(table: Table, listener?: FeedListener<Revocation>) {
  vi.useFakeTimers({ now: NOW });
  const times = { interval: INTERVAL, tokenLife: TTL, clockTolerance: TOLERANCE, patience: 1_000 };
  const feed = new RevocationFeed(table, times, { now: () => Date.now() }, listener);
  await feed.start();
  return feed;
}

describe('a feed with a timer', () => {
  afterEach(() => vi.useRealTimers());

  test('reads at once, and once per interval without requests, until it is stopped', async () => {
    const table = new Table();
    const feed = await startTimer(table);
    expect(table.reads).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(3 * INTERVAL);
    expect(table.reads).toHaveLength(4);
    await feed.stop();
    expect(vi.getTimerCount()).toBe(0);
    await vi.advanceTimersByTimeAsync(3 * INTERVAL);
    expect(table.reads).toHaveLength(4);
  });

  test('leaves out a read that requests have just caused', async () => {
    const table = new Table();
    const feed = await startTimer(table);
    await vi.advanceTimersByTimeAsync(INTERVAL - 1);
    // As one that came a moment before the timer: the first read was one interval ago.
    vi.setSystemTime(NOW + INTERVAL);
    await endedAt(feed, 'a', NOW + INTERVAL);
    await vi.advanceTimersByTimeAsync(1);
    expect(table.reads).toHaveLength(2);
    await feed.stop();
  });

  test('tells of each revocation once: not of the first read, nor of what this process has told itself', async () => {
    const table = new Table();
    table.rows.push({ id: 'before', revokedAt: NOW, revokedReason: 'admin' });
    table.notBefores.push(notBefore('before'));
    const told: [string, number][] = [];
    const feed = await startTimer(table, {
      revoked: ({ id }, at) => told.push([id, at]),
      revokedBefore: ({ id }, at) => told.push([id, at]),
    });
    feed.revoked(['own'], { endedAt: NOW, reason: 'admin' });
    table.rows.push({ id: 'own', revokedAt: NOW, revokedReason: 'admin' });
    table.rows.push({ id: 'other', revokedAt: NOW, revokedReason: 'admin' });
    table.rows.push({ id: 'unsettled', revokedAt: UNSETTLED, revokedReason: 'admin' });
    feed.revokedBefore(notBefore('own of ann', { userId: 'ann' }));
    table.notBefores.push(notBefore('own of ann', { userId: 'ann' }));
    table.notBefores.push(notBefore('other of ann', { userId: 'ann', settledAt: NOW }));
    table.notBefores.push(notBefore('everybody'));
    await vi.advanceTimersByTimeAsync(20 * INTERVAL);
    expect(told).toEqual([
      ['other', NOW],
      ['unsettled', NOW + INTERVAL],
      ['other of ann', NOW],
      ['everybody', NOW + INTERVAL],
    ]);
    await feed.stop();
  });

  test('that is to hurry reads soon, once for many calls, also if a read is under way', async () => {
    const table = new Table();
    const feed = await startTimer(table);
    feed.hurry();
    feed.hurry();
    await vi.advanceTimersByTimeAsync(20);
    expect(table.reads).toHaveLength(2);
    let done: (() => void) | undefined;
    vi.spyOn(table, 'notBeforesSince').mockImplementationOnce(
      () =>
        new Promise((resolve) => {
          done = () => resolve([]);
        }),
    );
    feed.hurry();
    await vi.advanceTimersByTimeAsync(20);
    feed.hurry();
    await vi.advanceTimersByTimeAsync(20);
    expect(table.reads).toHaveLength(3);
    // What it has read may be from before the second call.
    done!();
    await vi.advanceTimersByTimeAsync(20);
    expect(table.reads).toHaveLength(4);
    await feed.stop();
    feed.hurry();
    await feed.stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('that could not read tells later what it has missed', async () => {
    vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    const table = new Table();
    const told: string[] = [];
    const feed = await startTimer(table, {
      revoked: ({ id }) => told.push(id),
      revokedBefore: ({ id }) => told.push(id),
    });
    table.isDown = true;
    table.rows.push({ id: 'a', revokedAt: NOW, revokedReason: 'admin' });
    await vi.advanceTimersByTimeAsync(60 * INTERVAL);
    expect(told).toEqual([]);
    table.isDown = false;
    await vi.advanceTimersByTimeAsync(2 * INTERVAL);
    expect(told).toEqual(['a']);
    await feed.stop();
  });
});
