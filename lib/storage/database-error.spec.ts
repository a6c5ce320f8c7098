import { QueryFailedError } from 'typeorm';
import { expect, test } from 'vitest';
import { isUniqueViolation } from './database-error.js';

function databaseError(code: string): QueryFailedError {
  return new QueryFailedError('SELECT 1', [], Object.assign(new Error(code), { code }));
}

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
