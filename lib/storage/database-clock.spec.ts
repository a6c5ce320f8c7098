import type { DataSource } from 'typeorm';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { databaseClock } from '../../test/support/database-clock.js';
import { DatabaseClock } from './database-clock.js';

const NOW = Date.UTC(2026, 0, 15);
const MINUTE = 60_000;

/** A database whose clock is behind this machine's, and that takes its time to answer. */
class Database {
  behind = 0;
  /** From the question until the clock is read, and from then until the answer is there, in milliseconds. */
  takes: [number, number] = [0, 0];
  asked = 0;
  isDown = false;

  readonly dataSource = {
    options: { type: 'postgres' },
    driver: {},
    createQueryRunner: () => ({
      connect: async () => undefined,
      release: async () => undefined,
      query: async () => {
        this.asked++;
        await Promise.resolve();
        if (this.isDown) throw new Error('down');
        wait(this.takes[0]);
        const now = Date.now() - this.behind;
        wait(this.takes[1]);
        return [{ now: String(now) }];
      },
    }),
  } as unknown as DataSource;
}

function wait(milliseconds: number): void {
  vi.setSystemTime(Date.now() + milliseconds);
}

/** Lets a reading that nobody waits for end. */
const settle = async () => new Promise(setImmediate);

describe('the clock of the database', () => {
  let database: Database;
  let clock: DatabaseClock;

  beforeEach(() => {
    databaseClock.goesByItself = true;
    vi.useFakeTimers({ toFake: ['Date'], now: NOW });
    database = new Database();
    clock = new DatabaseClock(database.dataSource);
  });
  afterEach(() => {
    databaseClock.goesByItself = false;
    vi.useRealTimers();
  });

  test('is this machine’s until it is read, and is not asked before', async () => {
    database.behind = 1_000;
    expect(clock.now()).toBe(NOW);
    wait(10 * MINUTE);
    expect(clock.now()).toBe(NOW + 10 * MINUTE);
    await settle();
    expect(database.asked).toBe(0);
  });

  test.each([0, 1, -1, 3_600_000, -3_600_000, 0.4])('is %d ms behind', async (behind) => {
    database.behind = behind;
    expect(await clock.synchronise()).toBe(Math.round(behind));
    expect(clock.now()).toBe(Date.now() - Math.round(behind));
  });

  test.each<[string, number, [number, number], number]>([
    ['no more than the answer shows', 100, [30, 30], 70],
    ['nothing, if the answer took longer than the difference', 100, [200, 200], 0],
    ['no more than the answer shows, the other way', -100, [30, 30], -70],
    ['the whole difference, if the answer took no time', 100, [0, 0], 100],
  ])('is corrected by %s', async (_, behind, takes, ahead) => {
    Object.assign(database, { behind, takes });
    expect(await clock.synchronise()).toBe(ahead);
  });

  test('is read again after a minute in which it was asked for, and nobody waits for that', async () => {
    await clock.synchronise();
    database.behind = 3_600_000;
    wait(MINUTE);
    clock.now();
    await settle();
    expect(database.asked).toBe(1);
    wait(1);
    // Any number of calls begin one reading.
    for (let n = 0; n < 100; n++) expect(clock.now()).toBe(Date.now());
    await settle();
    expect(database.asked).toBe(2);
    expect(clock.now()).toBe(Date.now() - 3_600_000);
  });

  test.each([-3_600_000, 3_600_000])(
    'is read again when this machine’s is put right by %d ms',
    async (by) => {
      database.behind = 0;
      await clock.synchronise();
      wait(by);
      database.behind = by;
      clock.now();
      await settle();
      expect(clock.now()).toBe(NOW);
    },
  );

  test('stays as it is known while the database is down', async () => {
    database.behind = 5_000;
    await clock.synchronise();
    database.isDown = true;
    wait(2 * MINUTE);
    expect(clock.now()).toBe(Date.now() - 5_000);
    await settle();
    expect(clock.now()).toBe(Date.now() - 5_000);
    // It does not ask with every request.
    expect(database.asked).toBe(2);
  });
});
