import { setTimeout as delay } from 'node:timers/promises';

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

/** Waits between attempts grow to this, in milliseconds. */
const LONGEST_WAIT = 40;
/** At start no request waits, and the process ends if the last attempt fails. */
const LONGEST_AT_START = 30_000;

/**
 * Codes that say that the server is not there, or is about to stop or to start: of Node, PostgreSQL, MySQL, mysql2, this file.
 * A node of Galera that has lost the others says that it does not know the command (`ER_UNKNOWN_COM_ERROR`).
 */
const UNREACHABLE =
  /^(E[A-Z]+|08...|57P..|53300|PROTOCOL_.*|POOL_.*|ER_(SERVER_SHUTDOWN|CON_COUNT_ERROR|NEW_ABORTING_CONNECTION|UNKNOWN_COM_ERROR)|NO_ANSWER)$/;

/** Codes that say that the server lets this user, or this database, not be used now: PostgreSQL, MySQL/MariaDB. */
const REFUSED =
  /^(28...|3D000|55000|ER_(ACCESS_DENIED_ERROR|ACCOUNT_HAS_BEEN_LOCKED|BAD_DB_ERROR|USER_LIMIT_REACHED|TOO_MANY_USER_CONNECTIONS))$/;

/** Codes that one cause gives in turn, by what the statement does: rights that are missing, a database that only reads. */
const ALIKE: readonly (readonly [kind: string, codes: RegExp])[] = [
  ['forbidden', /^(42501|ER_(TABLE|COLUMN|DB)ACCESS_DENIED_ERROR|ER_SPECIFIC_ACCESS_DENIED_ERROR)$/],
  [
    'read-only',
    /^(25006|SQLITE_READONLY.*|ER_(OPTION_PREVENTS_STATEMENT|CANT_EXECUTE_IN_READ_ONLY_TRANSACTION|READ_ONLY_MODE))$/,
  ],
];

const UNREACHABLE_KIND = 'unreachable';

export function isUniqueViolation(error: unknown): boolean {
  const { message } = (error ?? {}) as { message?: unknown };
  // Errors of sql.js have SQLite's message, but no code.
  return hasCode(error, UNIQUE_VIOLATION) || String(message).startsWith('UNIQUE constraint failed');
}

/**
 * Runs an operation again that has failed, as long as the error is transient, and time is left.
 *
 * @param until by a monotonic clock, in milliseconds
 * @param failure the error of the first try
 */
export async function retryTransient<T>(
  operation: () => T | Promise<T>,
  until: number,
  failure: unknown,
): Promise<T> {
  let error = failure;
  for (let attempt = 1; ; attempt++) {
    // The first try may have taken all the time: SQLite's driver blocks this process while it waits for a lock of this process.
    const isOver = attempt > 1 && performance.now() >= until;
    if (isOver || !hasCode(error, TRANSIENT)) throw error;
    await delay(Math.min(LONGEST_WAIT, 2 ** attempt) * (0.5 + Math.random() / 2));
    try {
      return await operation();
    } catch (reason) {
      error = reason;
    }
  }
}

/** The same for operations that must succeed before a process can start. */
export async function retryAtStart<T>(operation: () => T | Promise<T>): Promise<T> {
  const until = performance.now() + LONGEST_AT_START;
  try {
    return await operation();
  } catch (error) {
    return retryTransient(operation, until, error);
  }
}

/** Members of errors that quote values of the statement or of the row: of TypeORM, mysql2 and PostgreSQL. */
const WITH_VALUES = ['parameters', 'sql', 'detail', 'where', 'internalQuery'] as const;

/**
 * What is told of a failed statement: of what kind the cause is. While the server goes away and comes back, each statement
 * fails in another way, and all of them are one kind.
 */
export function kindOfFailure(error: unknown): string {
  const { code, driverError } = (error ?? {}) as { code?: unknown; driverError?: { code?: unknown } };
  const known = [code, driverError?.code].find((each) => typeof each === 'string');
  if (known === undefined || UNREACHABLE.test(known)) return UNREACHABLE_KIND;
  return ALIKE.find(([, codes]) => codes.test(known))?.[0] ?? known;
}

/** Whether a cause of this kind is about the way to the database, so that it stops every statement that needs a new connection. */
export function isOfConnection(kind: string): boolean {
  return kind === UNREACHABLE_KIND || REFUSED.test(kind);
}

/**
 * Removes the values of the statement and of the row from an error. They contain hashes, claims and key material, which
 * must not be logged.
 */
export function withoutValues(error: unknown): unknown {
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
