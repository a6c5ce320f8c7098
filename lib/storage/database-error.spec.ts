import { inspect } from 'node:util';
import { QueryFailedError } from 'typeorm';
import { describe, expect, test } from 'vitest';
import { StorageUnavailableError } from '../errors/session.errors.js';
import { isUniqueViolation, storageErrors } from './database-error.js';

function databaseError(code: string): QueryFailedError {
  return new QueryFailedError('SELECT 1', [], Object.assign(new Error(code), { code }));
}

describe('storageErrors', () => {
  test.each(['40001', '40P01', 'ER_LOCK_DEADLOCK', 'SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT'])(
    'tries again after %s, which can pass',
    async (code) => {
      let calls = 0;
      const result = await storageErrors(async () => {
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
      const failed = storageErrors(async () => {
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
    const failed = storageErrors(() =>
      Promise.reject(new QueryFailedError('INSERT INTO k VALUES (?)', ['s3cret'], driverError)),
    );
    const error: unknown = await failed.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('s3cret');
  });

  test('makes of whatever is thrown a storage error', async () => {
    const failed = storageErrors(() => Promise.reject(undefined as unknown as Error));
    await expect(failed).rejects.toThrow(StorageUnavailableError);
  });
});

test.each([
  ['23505', true],
  ['ER_DUP_ENTRY', true],
  ['SQLITE_CONSTRAINT_UNIQUE', true],
  ['SQLITE_CONSTRAINT_PRIMARYKEY', true],
  ['SQLITE_CONSTRAINT_NOTNULL', false],
  ['23502', false],
])('%s breaks a unique constraint: %s', (code, expected) => {
  expect(isUniqueViolation(databaseError(code))).toBe(expected);
  expect(isUniqueViolation(Object.assign(new Error(code), { code }))).toBe(expected);
});

test.each([
  ['UNIQUE constraint failed: user_session_key.purpose, user_session_key.sequence', true],
  ['NOT NULL constraint failed: user_session_key.purpose', false],
])('"%s" of sql.js, which gives no code, breaks a unique constraint: %s', (message, expected) => {
  const driverError = new Error(message);
  expect(isUniqueViolation(driverError)).toBe(expected);
  expect(isUniqueViolation(new QueryFailedError('INSERT', [], driverError))).toBe(expected);
});

test.each([undefined, null, 'text', 5, {}, { code: 23_505 }])('%j breaks none', (error) => {
  expect(isUniqueViolation(error)).toBe(false);
});
