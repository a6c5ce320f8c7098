import { inspect } from 'node:util';
import { Logger } from '@nestjs/common';
import { QueryFailedError } from 'typeorm';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { StorageUnavailableError } from '../errors/session.errors.js';
import { StatementWatch, type WatchedStatement } from './statement-watch.js';

const lines: string[] = [];

beforeEach(() => {
  lines.length = 0;
  now = 0;
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

let now = 0;

const watch = (timeout?: number) => new StatementWatch({ now: () => now }, timeout);

/** A statement on the table of sessions, or, as `keys.insert`, on another one. */
function statement(name: string): WatchedStatement {
  const [first, second] = name.split('.');
  const entity = second === undefined ? 'SessionEntity' : first === 'keys' ? 'SessionKeyEntity' : 'Other';
  const verb = /find/.test(name) ? 'SELECT' : /insert/.test(name) ? 'INSERT' : 'UPDATE';
  return { name: `${entity}.${second ?? first}`, scope: `${verb} ${entity}` };
}

const FIND = statement('find');

describe('a statement', () => {
  test.each(['40001', '40P01', 'ER_LOCK_DEADLOCK', 'SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT'])(
    'tries again after %s, which can pass',
    async (code) => {
      let calls = 0;
      const result = await watch().run(FIND, async () => {
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
      const failed = watch().run(FIND, async () => {
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
    const failed = watch().run(FIND, () =>
      Promise.reject(new QueryFailedError('INSERT INTO k VALUES (?)', ['s3cret'], driverError)),
    );
    const error: unknown = await failed.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('s3cret');
  });

  test('makes of whatever is thrown a storage error', async () => {
    const failed = watch().run(FIND, () => Promise.reject(undefined as unknown as Error));
    await expect(failed).rejects.toThrow(StorageUnavailableError);
  });
});

test('a statement without an answer fails in time, and is not tried again', async () => {
  let calls = 0;
  const failed = watch(20).run(FIND, () => {
    calls++;
    return new Promise<never>(() => undefined);
  });
  await expect(failed).rejects.toThrow(StorageUnavailableError);
  await expect(failed).rejects.toMatchObject({
    cause: { message: expect.stringMatching(/^The database did not answer within 0\.02 s: /) as string },
  });
  expect(calls).toBe(1);
});

test('a lock that lasts is waited for until the time is over', async () => {
  const begun = performance.now();
  await expect(
    watch(100).run(FIND, () => Promise.reject(databaseError('SQLITE_BUSY'))),
  ).rejects.toMatchObject({
    cause: { message: 'SQLITE_BUSY' },
  });
  expect(performance.now() - begun).toBeGreaterThan(90);
});

test('a constraint that is violated is the caller’s business, and no trouble', async () => {
  const cause = databaseError('23505');
  await expect(watch().run(statement('insert'), () => Promise.reject(cause))).rejects.toBe(cause);
  expect(lines).toEqual([]);
});

/** What statements do one after the other, after how many seconds, and what the log says of it. */
const stories: [string, [statement: string, code?: string, wait?: number][], string[]][] = [
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
    [['find', '42P01'], ['find'], ['find', '42P01', 60], ['find']],
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
    'comes and goes',
    [
      ['find', '53300'],
      ['find'],
      ['find', '53300', 1],
      ['find'],
      ['find', '53300', 59],
      ['find', undefined, 59],
      ['find', undefined, 1],
      ['find', '53300', 61],
      ['find'],
    ],
    ['begins 53300', 'ends', 'begins 53300', 'ends', 'begins 53300', 'ends'],
  ],
  [
    'rights that are missing, of which each statement says something else',
    [
      ['find', 'ER_COLUMNACCESS_DENIED_ERROR'],
      ['redeem', 'ER_TABLEACCESS_DENIED_ERROR'],
      ['find'],
      ['redeem'],
    ],
    ['begins ER_COLUMNACCESS_DENIED_ERROR', 'ends'],
  ],
  [
    'a statement that fails and is never run again',
    [
      ['revokeMany', '25006'],
      ['redeem', undefined, 59],
      ['find', undefined, 1],
      ['redeem'],
      ['redeem', '25006', 1_000],
    ],
    ['begins 25006', 'ends', 'begins 25006'],
  ],
  [
    'the same without a connection, which any statement shows',
    [
      ['revokeMany', 'ECONNREFUSED'],
      ['find', undefined, 59],
      ['find', undefined, 1],
    ],
    ['begins ECONNREFUSED', 'ends'],
  ],
  [
    'a statement of the same name on another table',
    [['insert', '42501'], ['other.insert'], ['insert', '42501'], ['insert']],
    ['begins 42501', 'ends'],
  ],
  ['what the keys tell of themselves', [['keys.findAll', '42501'], ['keys.insert', '42501'], ['insert']], []],
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
  for (const [name, code, wait = 0] of steps) {
    now += wait * 1_000;
    const run = watched.run(statement(name), async () => {
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

test.each(['find', 'revokedSince'])('a recovery is told once, after "%s" has failed', async (name) => {
  let recoveries = 0;
  const watched = new StatementWatch({ now: () => 0 }, undefined, () => {
    recoveries++;
  });
  const works = async () => watched.run(statement('find'), async () => 'done');
  await works();
  expect(recoveries).toBe(0);
  for (let times = 0; times < 2; times++) {
    const fails = async () => Promise.reject(databaseError('57P01'));
    await watched.run(statement(name), fails).catch(() => undefined);
  }
  expect(recoveries).toBe(0);
  await works();
  await works();
  expect(recoveries).toBe(1);
});

/** A statement that waits until it is told how it ends. */
function pending(
  watched: StatementWatch,
  name: string,
): { works(): Promise<void>; fails(code: string): Promise<void> } {
  let settle!: (code?: string) => void;
  const result = new Promise<void>((resolve, reject) => {
    settle = (code) => (code === undefined ? resolve() : reject(databaseError(code)));
  });
  const run = watched.run(statement(name), () => result).catch(() => undefined);
  const end = async (code?: string) => {
    settle(code);
    await run;
  };
  return { works: () => end(), fails: end };
}

test('a statement that was under way when the trouble began does not end it', async () => {
  const watched = watch();
  const [early, other] = [pending(watched, 'find'), pending(watched, 'find')];
  await other.fails('57P01');
  await early.works();
  expect(lines).toEqual(['begins 57P01']);
  await pending(watched, 'find').works();
  expect(lines).toEqual(['begins 57P01', 'ends']);
});

test('a statement that was under way when the trouble ended does not begin it again', async () => {
  const watched = watch();
  const [early, other] = [pending(watched, 'find'), pending(watched, 'find')];
  await other.fails('57P01');
  await pending(watched, 'find').works();
  await early.fails('57P01');
  expect(lines).toEqual(['begins 57P01', 'ends']);
});
