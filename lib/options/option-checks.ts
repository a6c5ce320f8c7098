import { InvalidOptionError } from '../errors/session.errors.js';
import { parseDuration } from './duration.js';

/** Checks of single options. All throw {@link InvalidOptionError}. Its message says what is wrong and what is right. */

/** A name of a cookie or a header: a token of RFC 9110. */
export const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
// oxlint-disable-next-line no-control-regex -- the expression excludes control characters
export const COOKIE_PATH = /^\/[^\x00-\x1f\x7f;]*$/;

/**
 * Refuses unknown names, such as misspelt options.
 *
 * @param known the names in each group. The group `''` has the names of the options themselves
 * @param elsewhere gives the message for an option that belongs in another place
 */
export function checkNames(
  input: object,
  known: Readonly<Record<string, readonly string[]>>,
  elsewhere: (name: string) => string | undefined = () => undefined,
): void {
  for (const [group, names] of Object.entries(known)) {
    const value: unknown = group === '' ? input : (input as Record<string, unknown>)[group];
    if (value === undefined || (group === 'cleanup' && value === false)) continue;
    const path = group === '' ? '' : `${group}.`;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      fail(group || 'options', 'must be an object.');
    }
    for (const name of Object.keys(value)) {
      if (names.includes(name)) continue;
      const message = group === '' ? elsewhere(name) : undefined;
      fail(path + name, message ?? `is not known. Known here: ${names.join(', ')}.`);
    }
  }
}

export function duration(option: string, value: unknown, fallback: number, min: number): number {
  if (value === undefined) return fallback;
  const ms = parseDuration(value);
  if (ms === undefined) {
    fail(
      option,
      `${show(value)} is not a duration. Give seconds, or a string such as "500ms", "10s", "15m", "24h", "30d".`,
    );
  }
  if (ms < min) fail(option, `must be at least ${min} ms.`);
  return ms;
}

const CLOCK_TOLERANCE = 120_000;
const LONGEST_CLOCK_TOLERANCE = 300_000;

export function clockTolerance(option: string, value: unknown): number {
  const tolerance = duration(option, value, CLOCK_TOLERANCE, 0);
  if (tolerance > LONGEST_CLOCK_TOLERANCE) {
    fail(option, 'must be at most five minutes. Clocks that are further apart must be set right.');
  }
  return tolerance;
}

export function wholeNumber(
  option: string,
  value: unknown,
  fallback: number,
  min: number,
  max: number,
): number {
  if (value === undefined) return fallback;
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    fail(option, `must be a whole number from ${min.toLocaleString('en')} to ${max.toLocaleString('en')}.`);
  }
  return value as number;
}

/** A share: a number from 0 to `max`. */
export function share(option: string, value: unknown, fallback: number, max: number): number {
  if (value === undefined) return fallback;
  if (typeof value !== 'number' || !(value >= 0 && value <= max)) {
    fail(option, `must be a number from 0 to ${max}, such as ${fallback}.`);
  }
  return value;
}

export function oneOf<T extends string>(option: string, value: unknown, known: readonly T[], fallback: T): T {
  if (value === undefined) return fallback;
  const found = known.find((each) => each === value);
  return found ?? fail(option, `${show(value)} is not known. Known: ${known.join(', ')}.`);
}

export function text(option: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value === '') fail(option, 'must be a non-empty string.');
  return value;
}

export function flag(option: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  // A string from the environment, such as "false", would be truthy. It is refused, because its meaning is not clear.
  if (typeof value !== 'boolean') fail(option, 'must be true or false.');
  return value;
}

export function list(option: string, value: unknown): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.some((each) => typeof each !== 'string'))
    fail(option, 'must be a list of strings.');
  return [...(value as string[])];
}

/** Joins segments to one path, with one leading and no trailing slash. */
export function joinPath(...segments: string[]): string {
  return `/${segments
    .flatMap((segment) => segment.split('/'))
    .filter(Boolean)
    .join('/')}`;
}

/** A value as text for a message. JSON would write NaN and Infinity as null, and throw an error for a bigint. */
function show(value: unknown): string {
  return typeof value === 'number' || typeof value === 'bigint' ? String(value) : JSON.stringify(value);
}

export function fail(option: string, message: string): never {
  throw new InvalidOptionError(option, message);
}
