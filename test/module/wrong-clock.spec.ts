import { SessionModule } from 'nestjs-session-tokens';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type DatabaseKind, databases } from '../support/databases.js';
import { LogCapture } from '../support/log-capture.js';
import { MINUTE, stopClock } from '../support/time.js';
import { applications, expectToWork } from './context.js';

afterEach(() => vi.useRealTimers());

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

    it.each([
      [2 * MINUTE, /is 1[12]\d s ahead of the database's/],
      [-2 * MINUTE, /is 1[12]\d s behind the database's/],
    ])('is warned about when it is off by %d ms, and the process works', async (offset, message) => {
      expect(await warningsAt(offset)).toEqual([expect.stringMatching(message)]);
    });

    it.each([0, MINUTE / 2, -MINUTE / 2])('is not when it is off by %d ms', async (offset) => {
      expect(await warningsAt(offset)).toEqual([]);
    });

    it('is measured by what is tolerated', async () => {
      expect(await warningsAt(MINUTE / 2, '10s')).toHaveLength(1);
      expect(await warningsAt(2 * MINUTE, '5m')).toEqual([]);
    });
  },
);
