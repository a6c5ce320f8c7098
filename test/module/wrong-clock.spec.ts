import { SessionModule } from 'nestjs-session-tokens';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { databaseClock } from '../support/database-clock.js';
import { type DatabaseKind, databases } from '../support/databases.js';
import { LogCapture } from '../support/log-capture.js';
import { DAY, HOUR, MINUTE, SECOND, stopClock } from '../support/time.js';
import { applications, expectToWork } from './context.js';

beforeEach(() => {
  databaseClock.goesByItself = true;
});
afterEach(() => {
  databaseClock.goesByItself = false;
  vi.useRealTimers();
});

/** The time of this machine, whatever a test has set. */
const trueTime = () => performance.timeOrigin + performance.now();

/** How exactly times can be compared here, on a busy machine. Less than the smallest difference below. */
const PRECISION = 5 * SECOND;

/** Starts an application on a new database with a clock that differs by this time. @returns its log lines about clocks */
function clocks(kind: DatabaseKind) {
  const { database, start } = applications(kind);
  return async (offset: number, clockTolerance?: string): Promise<string[]> => {
    const { options } = await database();
    stopClock(Date.now() + offset);
    const log = new LogCapture();
    const accessToken = clockTolerance === undefined ? {} : { clockTolerance };
    const { sessions } = await start(
      { imports: [SessionModule.forRoot({ database: options, accessToken })] },
      log,
    );
    await expectToWork(sessions);
    return log.lines.filter((line) => /clock/i.test(line));
  };
}

describe('the clock of a process, beside SQLite', () => {
  const warningsAt = clocks(databases[0]!);

  it('is the same one, and nothing is said', async () => {
    expect(await warningsAt(10 * MINUTE)).toEqual([]);
  });
});

describe.each(databases.filter(({ name }) => name !== 'sqlite'))(
  'the clock of a process, beside that of $name',
  (kind) => {
    const warningsAt = clocks(kind);
    const apps = applications(kind);

    it.each([
      [2 * MINUTE, /is 1[12]\d s ahead of the database's/],
      [-2 * MINUTE, /is 1[12]\d s behind the database's/],
    ])('is warned about when it is off by %d ms, and the process works', async (offset, message) => {
      expect(await warningsAt(offset)).toEqual([expect.stringMatching(message)]);
    });

    it.each([0, MINUTE / 2, -MINUTE / 2])('is not when it is off by %d ms', async (offset) => {
      expect(await warningsAt(offset)).toEqual([]);
    });

    it.each([11 * SECOND, -11 * SECOND, 2 * MINUTE, -2 * MINUTE, HOUR, -HOUR, 30 * DAY, -30 * DAY])(
      'makes no difference to sessions when it is off by %d ms, or is set right',
      async (offset) => {
        const { database, start } = apps;
        const { options } = await database();
        stopClock(Date.now() + offset);
        const { sessions } = await start({ imports: [SessionModule.forRoot({ database: options })] });
        const expectTrueTimes = async () => {
          const { accessToken, session } = await sessions.tokens.issue({ userId: 1 });
          const life = accessToken.expiresAt.getTime() - trueTime();
          // The jitter takes up to 45 s.
          expect(life).toBeGreaterThan(14 * MINUTE);
          expect(life).toBeLessThanOrEqual(15 * MINUTE + PRECISION);
          const { createdAt } = (await sessions.find(session.id))!;
          expect(Math.abs(createdAt.getTime() - trueTime())).toBeLessThan(PRECISION);
          expect((await sessions.tokens.verify(accessToken.token)).id).toBe(session.id);
        };
        await expectTrueTimes();
        vi.setSystemTime(trueTime());
        await expectTrueTimes();
      },
    );

    it('is measured by what is tolerated', async () => {
      expect(await warningsAt(MINUTE / 2, '10s')).toHaveLength(1);
      expect(await warningsAt(2 * MINUTE, '5m')).toEqual([]);
    });
  },
);
