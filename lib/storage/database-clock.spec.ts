import type { DataSource } from 'typeorm';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { databaseClock } from '../../test/support/database-clock.js';
import { LOG_CONTEXT } from '../util/logger.js';
import { LogCapture } from '../../test/support/log-capture.js';
import { Logger } from '@nestjs/common';
import { DatabaseClock } from './database-clock.js';

const NOW = Date.UTC(2026, 0, 15);
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** The time that the machine's steady clock shows, by itself: nobody sets it, and it stands still while the machine sleeps. */
let steady = NOW;

/** A database whose clock goes on by itself, and that takes its time to answer. */
class Database {
  now = NOW;
  /** From the question until the clock is read, and from then until the answer is there, in milliseconds; one for each question. */
  takes: [number, number][] = [];
  asked = 0;
  isDown = false;
  isSilent = false;

  readonly dataSource = {
    options: { type: 'postgres' },
    driver: {},
    createQueryRunner: () => ({
      connect: async () => undefined,
      release: async () => undefined,
      query: async () => {
        const [there, back] = this.takes[this.asked] ?? [0, 0];
        this.asked++;
        await Promise.resolve();
        if (this.isDown) throw new Error('down');
        if (this.isSilent) return new Promise<never>(() => undefined);
        wait(there);
        const { now } = this;
        wait(back);
        return [{ now: String(now) }];
      },
    }),
  } as unknown as DataSource;
}

let database: Database;
let clock: DatabaseClock;

/** Time passes for everybody. */
function wait(milliseconds: number): void {
  steady += milliseconds;
  database.now += milliseconds;
  vi.setSystemTime(Date.now() + milliseconds);
}

/** Somebody sets this machine's clock. */
const setMachine = (by: number) => void vi.setSystemTime(Date.now() + by);

/** The machine sleeps. Its steady clock stands still meanwhile. */
function sleep(milliseconds: number): void {
  database.now += milliseconds;
  vi.setSystemTime(Date.now() + milliseconds);
}

/** Lets a reading that nobody waits for end. */
const settle = async () => new Promise(setImmediate);

describe('the clock of the database', () => {
  const log = new LogCapture();

  beforeEach(() => {
    databaseClock.goesByItself = true;
    vi.useFakeTimers({ toFake: ['Date'], now: NOW });
    steady = NOW;
    database = new Database();
    clock = new DatabaseClock(database.dataSource);
    vi.spyOn(clock as unknown as { tick(): number }, 'tick').mockImplementation(() => steady);
    log.lines.length = 0;
    Logger.overrideLogger(log);
  });
  afterEach(() => {
    databaseClock.goesByItself = false;
    vi.useRealTimers();
    vi.restoreAllMocks();
    Logger.overrideLogger(true);
  });

  test('is this machine’s until it is read, and is not asked before', async () => {
    database.now -= SECOND;
    expect(clock.now()).toBe(NOW);
    wait(10 * MINUTE);
    clock.doubt();
    expect(clock.now()).toBe(NOW + 10 * MINUTE);
    expect(clock.peek()).toBe(NOW + 10 * MINUTE);
    await settle();
    expect(database.asked).toBe(0);
  });

  test('is not waited for where the database hangs, and that takes one connection only', async () => {
    database.isSilent = true;
    const hasty = new DatabaseClock(database.dataSource, 20);
    await expect(hasty.synchronise()).rejects.toThrow(/did not answer within 0\.02 s/);
    await expect(hasty.synchronise()).rejects.toThrow(/did not answer within 0\.02 s/);
    expect(database.asked).toBe(1);
    // The deadline is real time.
    expect(Math.abs(hasty.now() - NOW)).toBeLessThan(SECOND);
  });

  test.each([0, 1, -1, 11 * SECOND, -2 * MINUTE, HOUR, -HOUR, 30 * 24 * HOUR, 0.4])(
    'is %d ms behind this machine’s',
    async (behind) => {
      database.now -= behind;
      expect(await clock.synchronise()).toBe(Math.round(behind));
      expect(clock.now()).toBe(NOW - Math.round(behind));
      expect(clock.peek()).toBe(NOW - Math.round(behind));
      expect(Number.isInteger(clock.now())).toBe(true);
    },
  );

  test.each<[string, number, [number, number][], number]>([
    ['no more than the answer shows', 100, [[30, 30]], 70],
    ['nothing, if the answer took longer than the difference', 100, [[200, 200]], 0],
    ['no more than the answer shows, the other way', -100, [[30, 30]], -70],
    ['the whole difference, if the answer took no time', 100, [[0, 0]], 100],
    ['what the fastest of three answers shows', HOUR, [[9e3, 9e3], [10, 10]], HOUR - 10], // prettier-ignore
    ['what three slow answers show together', HOUR, [[3e3, 0], [0, 3e3], [2e3, 2e3]], HOUR], // prettier-ignore
  ])('is corrected by %s', async (_, behind, takes, ahead) => {
    Object.assign(database, { takes });
    database.now -= behind;
    expect(await clock.synchronise()).toBe(ahead);
  });

  test('is asked for again after a second when all answers were slow', async () => {
    database.takes = Array.from({ length: 3 }, () => [SECOND, SECOND]);
    await clock.synchronise();
    expect(database.asked).toBe(3);
    wait(SECOND - 1);
    clock.now();
    await settle();
    expect(database.asked).toBe(3);
    wait(101);
    clock.now();
    await settle();
    expect(database.asked).toBe(4);
  });

  test('is read again after ten seconds, when it is asked for, and nobody waits for that', async () => {
    await clock.synchronise();
    database.now += HOUR;
    wait(10 * SECOND - 1);
    clock.now();
    await settle();
    expect(database.asked).toBe(1);
    wait(MINUTE);
    // To peek asks nothing. Any number of calls begin one reading.
    clock.peek();
    await settle();
    expect(database.asked).toBe(1);
    for (let n = 0; n < 100; n++) expect(clock.now()).toBe(Date.now());
    await settle();
    expect(database.asked).toBe(2);
    expect(clock.now()).toBe(Date.now() + HOUR);
    expect(log.lines).toEqual([
      expect.stringMatching(/The database's clock has moved by 3600 s against that of this process/),
    ]);
    expect(log.lines[0]).toContain(LOG_CONTEXT);
  });

  test.each([11 * SECOND, -11 * SECOND, 2 * MINUTE, HOUR, -HOUR, 30 * 24 * HOUR, -30 * 24 * HOUR])(
    'does not move at all when this machine’s is set by %d ms',
    async (by) => {
      await clock.synchronise();
      setMachine(by);
      expect(clock.now()).toBe(NOW);
      await settle();
      wait(SECOND);
      expect(clock.now()).toBe(NOW + SECOND);
      await settle();
      expect(clock.now()).toBe(NOW + SECOND);
      expect(log.lines).toEqual([]);
    },
  );

  test('goes by a clock that nobody can set', async () => {
    vi.restoreAllMocks();
    await clock.synchronise();
    const before = clock.now();
    setMachine(HOUR);
    expect(Math.abs(clock.now() - before)).toBeLessThan(MINUTE);
  });

  test.each([11 * SECOND, HOUR])(
    'is read again at once when the machine has slept for %d ms',
    async (milliseconds) => {
      await clock.synchronise();
      wait(SECOND);
      sleep(milliseconds);
      clock.now();
      await settle();
      expect(database.asked).toBe(2);
      expect(clock.now()).toBe(NOW + SECOND + milliseconds);
      expect(log.lines).toHaveLength(1);
    },
  );

  test.each([5 * SECOND, 11 * SECOND, -11 * SECOND, HOUR, -HOUR])(
    'is read again when a server answers after a failure, whose clock differs by %d ms',
    async (by) => {
      await clock.synchronise();
      database.now += by;
      clock.doubt();
      expect(clock.now()).toBe(NOW);
      await settle();
      expect(clock.now()).toBe(NOW + by);
      expect(database.asked).toBe(2);
      expect(log.lines).toHaveLength(1);
    },
  );

  test('stays as it is known while the database is down', async () => {
    database.now -= 5 * SECOND;
    await clock.synchronise();
    database.isDown = true;
    wait(2 * MINUTE);
    expect(clock.now()).toBe(Date.now() - 5 * SECOND);
    await settle();
    expect(clock.now()).toBe(Date.now() - 5 * SECOND);
    await settle();
    // It does not ask with every request.
    expect(database.asked).toBe(2);
  });
});
