import { setTimeout as delay } from 'node:timers/promises';
import { StorageUnavailableError } from '../errors/session.errors.js';

/** Error codes of a violated unique constraint: PostgreSQL, MySQL/MariaDB, SQLite. */
const UNIQUE_VIOLATION = new Set([
  '23505',
  'ER_DUP_ENTRY',
  'SQLITE_CONSTRAINT_UNIQUE',
  'SQLITE_CONSTRAINT_PRIMARYKEY',
]);

/** Error codes after which a new try may succeed: serialization failure, deadlock, changed snapshot, locked file. */
const TRANSIENT = new Set([
  '40001',
  '40P01',
  'ER_LOCK_DEADLOCK',
  'ER_CHECKREAD',
  'SQLITE_BUSY',
  'SQLITE_BUSY_RECOVERY',
  'SQLITE_BUSY_SNAPSHOT',
  'SQLITE_LOCKED',
]);

/** Waits between attempts grow to 40 ms, and take about five seconds in total. Then the request is answered with 503. */
const ATTEMPTS = 160;
const LONGEST_WAIT = 40;
/** About half a minute. At start no request waits, and the process ends if the last attempt fails. */
const ATTEMPTS_AT_START = 1_000;

export function isUniqueViolation(error: unknown): boolean {
  const { message } = (error ?? {}) as { message?: unknown };
  // Errors of sql.js have SQLite's message, but no code.
  return hasCode(error, UNIQUE_VIOLATION) || String(message).startsWith('UNIQUE constraint failed');
}

/**
 * Runs a database operation of one statement. After a transient error it tries again. Any other error becomes a
 * {@link StorageUnavailableError}, so that no caller mistakes a database failure for a session that is over.
 */
export async function storageErrors<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await retryTransient(operation);
  } catch (error) {
    throw new StorageUnavailableError('The session database did not answer as it should.', {
      cause: withoutValues(error),
    });
  }
}

/** Runs an operation again as long as it fails with a transient error. */
export async function retryTransient<T>(
  operation: () => T | Promise<T>,
  attempts: number = ATTEMPTS,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await operation();
    } catch (error) {
      if (attempt >= attempts || !hasCode(error, TRANSIENT)) throw error;
      await delay(Math.min(LONGEST_WAIT, 2 ** attempt) * (0.5 + Math.random() / 2));
    }
  }
}

/** The same with more attempts, for operations that must succeed before a process can start. */
export async function retryAtStart<T>(operation: () => T | Promise<T>): Promise<T> {
  return retryTransient(operation, ATTEMPTS_AT_START);
}

/** Members of errors that quote values of the statement or of the row: of TypeORM, mysql2 and PostgreSQL. */
const WITH_VALUES = ['parameters', 'sql', 'detail', 'where', 'internalQuery'] as const;

/**
 * Removes the values of the statement and of the row from an error. They contain hashes, claims and key material, which
 * must not be logged.
 */
function withoutValues(error: unknown): unknown {
  const { driverError } = (error ?? {}) as { driverError?: unknown };
  for (const each of [error, driverError]) {
    if (typeof each !== 'object' || each === null) continue;
    for (const name of WITH_VALUES) {
      if (name in each) (each as Record<string, unknown>)[name] = undefined;
    }
  }
  return error;
}

function hasCode(error: unknown, codes: ReadonlySet<string>): boolean {
  const { code, driverError } = (error ?? {}) as { code?: unknown; driverError?: { code?: unknown } };
  return [code, driverError?.code].some((each) => typeof each === 'string' && codes.has(each));
}
