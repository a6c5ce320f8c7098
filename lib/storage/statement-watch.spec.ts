import { inspect } from 'node:util';
import { Logger } from '@nestjs/common';
import { QueryFailedError } from 'typeorm';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { StorageUnavailableError } from '../errors/session.errors.js';
import { StatementWatch } from './statement-watch.js';

const lines: string[] = [];

beforeEach(() => {
  lines.length = 0;
  vi.spyOn(Logger.prototype, 'error').mockImplementation((message: string, cause: unknown) => {
    lines.push(`begins ${(cause as Error | undefined)?.message}`);
    expect(message).toMatch(/answered 503/);
  });
  vi.spyOn(Logger.prototype, 'log').mockImplementation((message: string) => {
    lines.push(/asked again\. The trouble lasted \d+ s/.test(message) ? 'ends' : message);
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

function databaseError(code: string): QueryFailedError {
  return new QueryFailedError('SELECT 1', [], Object.assign(new Error(code), { code }));
}

const watch = (timeout?: number) => new StatementWatch({ now: () => 0 }, timeout);

describe('a statement', () => {
  test.each(['40001', '40P01', 'ER_LOCK_DEADLOCK', 'SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT'])(
    'tries again after %s, which can pass',
    async (code) => {
      let calls = 0;
      const result = await watch().run('find', async () => {
        if (++calls < 3) throw databaseError(code);
        return 'done';
      });
      expect(result).toBe('done');
      expect(calls).toBe(3);
    },
  );

  test.each(['ECONNREFUSED', '57P01', '42P01', 'SQLITE_CORRUPT', 'ER_ACCESS_DENIED_ERROR'])(
    'does not try again after %s, and keeps the cause',
    async (code) => {
      let calls = 0;
      const cause = databaseError(code);
      const failed = watch().run('find', async () => {
        calls++;
        throw cause;
      });
      await expect(failed).rejects.toThrow(StorageUnavailableError);
      await expect(failed).rejects.toMatchObject({ code: 'storage_unavailable', cause });
      expect(calls).toBe(1);
    },
  );

  test('takes the values of the statement out of the cause, so that no log has them', async () => {
    const driverError = Object.assign(new Error('no'), {
      sql: "INSERT INTO k VALUES ('s3cret')",
      detail: 'Failing row contains (s3cret).',
      where: 'PL/pgSQL function audit(s3cret)',
      internalQuery: "SELECT 's3cret'",
    });
    const failed = watch().run('find', () =>
      Promise.reject(new QueryFailedError('INSERT INTO k VALUES (?)', ['s3cret'], driverError)),
    );
    const error: unknown = await failed.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('s3cret');
  });

  test('makes of whatever is thrown a storage error', async () => {
    const failed = watch().run('find', () => Promise.reject(undefined as unknown as Error));
    await expect(failed).rejects.toThrow(StorageUnavailableError);
  });
});

test('a statement without an answer fails in time, and is not tried again', async () => {
  let calls = 0;
  const failed = watch(20).run('find', () => {
    calls++;
    return new Promise<never>(() => undefined);
  });
  await expect(failed).rejects.toThrow(StorageUnavailableError);
  await expect(failed).rejects.toMatchObject({
    cause: { message: 'The database did not answer within 0.02 s.' },
  });
  expect(calls).toBe(1);
});

test('a lock that lasts is waited for until the time is over', async () => {
  const begun = performance.now();
  await expect(
    watch(100).run('find', () => Promise.reject(databaseError('SQLITE_BUSY'))),
  ).rejects.toMatchObject({
    cause: { message: 'SQLITE_BUSY' },
  });
  expect(performance.now() - begun).toBeGreaterThan(90);
});

test('a constraint that is violated is the caller’s business, and no trouble', async () => {
  const cause = databaseError('23505');
  await expect(watch().run('insert', () => Promise.reject(cause))).rejects.toBe(cause);
  expect(lines).toEqual([]);
});

/** What statements do one after the other, and what the log says of it. */
const stories: [string, [statement: string, code?: string][], string[]][] = [
  ['all works', [['find'], ['redeem']], []],
  [
    'fails again and again',
    [
      ['find', '42P01'],
      ['find', '42P01'],
      ['find', '42P01'],
    ],
    ['begins 42P01'],
  ],
  ['is over', [['find', '42P01'], ['find', '42P01'], ['find'], ['find']], ['begins 42P01', 'ends']],
  [
    'comes back',
    [['find', '42P01'], ['find'], ['find', '42P01'], ['find']],
    ['begins 42P01', 'ends', 'begins 42P01', 'ends'],
  ],
  [
    'a database that only reads',
    [
      ['redeem', '25006'],
      ['find'],
      ['insert', '25006'],
      ['find'],
      ['redeem', '25006'],
      ['find'],
      ['insert'],
      ['redeem'],
    ],
    ['begins 25006', 'ends'],
  ],
  [
    'a column that is missing',
    [['insert', '42703'], ['redeem'], ['insert', '42703'], ['find'], ['insert']],
    ['begins 42703', 'ends'],
  ],
  [
    'a server that restarts, and fails in several ways',
    [
      ['find', '57P01'],
      ['redeem', 'ECONNREFUSED'],
      ['find', '57P03'],
      ['insert', 'ECONNRESET'],
      ['find'],
      ['redeem'],
    ],
    ['begins 57P01', 'ends'],
  ],
  [
    'a node that has lost its cluster',
    [['find', 'NO_ANSWER'], ['find', 'ER_UNKNOWN_COM_ERROR'], ['find', 'ECONNREFUSED'], ['find']],
    ['begins NO_ANSWER', 'ends'],
  ],
  [
    'a full disk, while the server goes away',
    [
      ['insert', 'SQLITE_FULL'],
      ['find', 'PROTOCOL_CONNECTION_LOST'],
      ['find'],
      ['insert', 'SQLITE_FULL'],
      ['insert'],
    ],
    ['begins SQLITE_FULL', 'begins PROTOCOL_CONNECTION_LOST', 'ends', 'ends'],
  ],
];

test.each(stories)('the log of a database: %s', async (_story, steps, expected) => {
  const watched = watch();
  for (const [statement, code] of steps) {
    const run = watched.run(statement, async () => {
      await Promise.resolve();
      if (code !== undefined) throw databaseError(code);
    });
    const failure: unknown = await run.then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure instanceof StorageUnavailableError).toBe(code !== undefined);
  }
  expect(lines).toEqual(expected);
});
