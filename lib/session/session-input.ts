import { checkClaims } from '../protocol/access-token.payload.js';
import { InvalidDataError, InvalidInputError, InvalidUserIdError } from '../errors/session.errors.js';
import { parseDuration } from '../options/duration.js';
import { toAsciiJson } from '../storage/columns.js';
import type { JsonValue } from '../types/json.js';
import { whyNotJson } from '../protocol/json.js';
import type { ImpersonationInput, SessionInput } from './session.types.js';
import type { UserId } from '../types/register.js';

/** The size of the `user_id` column, in characters of ASCII JSON. */
const MAX_USER_ID = 255;
/**
 * The size of a `text` column on MySQL and MariaDB. The limit is the same on all databases, so that sessions can move from
 * one database to another.
 */
const MAX_TEXT = 65_535;
/**
 * The longest label, in UTF-16 code units, as `maxlength` of HTML counts. As ASCII JSON, it then fits into its column: six
 * characters each, and two quotes.
 */
const MAX_LABEL = 64;

/** A checked {@link SessionInput}, ready to be stored. */
export interface CheckedSessionInput {
  readonly userId: UserId;
  readonly claims: JsonValue;
  readonly data: JsonValue;
  readonly label: string | null;
  /** See the columns. Times in milliseconds. */
  readonly idleTtl: number | null;
  readonly absoluteTtl: number | null;
  readonly remember: number;
  readonly authTime: number | null;
  readonly amr: readonly string[] | null;
}

const KNOWN: ReadonlySet<string> = new Set([
  'userId',
  'claims',
  'data',
  'device',
  'ttl',
  'absoluteTtl',
  'remember',
  'authenticatedAt',
  'amr',
]);
const KNOWN_OF_DEVICE: ReadonlySet<string> = new Set(['userAgent', 'ip', 'label']);

/**
 * @param longest the longest life of a session, in milliseconds
 * @param now epoch milliseconds
 * @throws {@link InvalidUserIdError} | {@link InvalidClaimsError} | {@link InvalidDataError} | {@link InvalidInputError}
 */
export function checkSessionInput(input: SessionInput, longest: number, now: number): CheckedSessionInput {
  const userId = checkUserId(input?.userId);
  checkNames(input, KNOWN);
  const { device } = input;
  if (device !== undefined) checkDevice(device);
  return {
    userId,
    label: device?.label === undefined ? null : checkLabel(device.label),
    idleTtl: lifetime('ttl', input.ttl, longest),
    absoluteTtl: lifetime('absoluteTtl', input.absoluteTtl, longest),
    remember: flag('remember', input.remember, true),
    authTime: pastTime('authenticatedAt', input.authenticatedAt, now),
    amr: methods(input.amr),
    claims: input.claims === undefined ? {} : normaliseClaims(input.claims),
    data: input.data === undefined ? {} : normaliseData(input.data),
  };
}

function checkDevice(device: object): void {
  checkNames(device, KNOWN_OF_DEVICE, 'device.');
  const { userAgent, ip } = device as Record<string, unknown>;
  for (const [name, value] of Object.entries({ userAgent, ip })) {
    if (value === undefined || value === null || typeof value === 'string') continue;
    throw new InvalidInputError(`"device.${name}" must be a text, or null.`);
  }
}

/**
 * The name of a device, as a user has typed it.
 *
 * @throws {@link InvalidInputError}
 */
export function checkLabel(label: unknown): string | null {
  if (label === null) return null;
  if (typeof label !== 'string' || label.trim() === '') {
    throw new InvalidInputError('A label must be a text that is not blank, or null for none.');
  }
  if (label.length > MAX_LABEL)
    throw new InvalidInputError(`A label must have at most ${MAX_LABEL} characters.`);
  // Also the separators of lines and paragraphs: a label is one line, in lists and in logs.
  if (/[\p{Cc}\p{Zl}\p{Zp}]/u.test(label)) {
    throw new InvalidInputError('A label must not have line breaks or other control characters.');
  }
  return label;
}

/** A checked {@link ImpersonationInput}. */
export interface CheckedImpersonationInput extends Pick<CheckedSessionInput, 'userId' | 'claims' | 'data'> {
  /** In milliseconds. */
  readonly life: number;
  readonly reason: string | undefined;
}

const KNOWN_OF_IMPERSONATION: ReadonlySet<string> = new Set([
  'userId',
  'claims',
  'data',
  'device',
  'ttl',
  'reason',
]);

/** In characters of ASCII JSON. */
const MAX_REASON = 255;

/**
 * @param longest the longest life of an impersonation, in milliseconds
 * @throws {@link InvalidUserIdError} | {@link InvalidClaimsError} | {@link InvalidDataError} | {@link InvalidInputError}
 */
export function checkImpersonationInput(
  input: ImpersonationInput,
  longest: number,
): CheckedImpersonationInput {
  const userId = checkUserId(input?.userId);
  checkNames(input, KNOWN_OF_IMPERSONATION);
  if (input.device !== undefined) checkDevice(input.device);
  const { reason } = input;
  if (reason !== undefined && (typeof reason !== 'string' || toAsciiJson(reason).length > MAX_REASON)) {
    throw new InvalidInputError(
      `"reason" must be a text of at most ${MAX_REASON - 2} characters; one that is not ASCII counts as six.`,
    );
  }
  return {
    userId,
    life:
      lifetime('ttl', input.ttl, longest, 'than impersonations may last by the option accessToken.ttl') ??
      longest,
    reason,
    claims: input.claims === undefined ? {} : normaliseClaims(input.claims),
    data: input.data === undefined ? {} : normaliseData(input.data),
  };
}

/** @throws {@link InvalidInputError} for a member that is not known */
export function checkNames(input: object, known: ReadonlySet<string>, prefix = ''): void {
  if (typeof input !== 'object' || input === null)
    throw new InvalidInputError(`${prefix.slice(0, -1)} must be an object.`);
  for (const name of Object.keys(input)) {
    if (known.has(name)) continue;
    throw new InvalidInputError(`"${prefix}${name}" is not known. Known here: ${[...known].join(', ')}.`);
  }
}

function lifetime(
  name: string,
  value: unknown,
  longest: number,
  limit = 'than sessions may live by the option refreshToken.absoluteTtl',
): number | null {
  if (value === undefined) return null;
  const milliseconds = parseDuration(value);
  if (milliseconds === undefined || milliseconds < 1_000) {
    throw new InvalidInputError(
      `"${name}" must be at least one second: a number of seconds, or a text such as "12h".`,
    );
  }
  if (milliseconds > longest) {
    throw new InvalidInputError(`"${name}" is longer ${limit}, which is ${longest / 1_000} s.`);
  }
  return milliseconds;
}

/** How far the clock of an identity provider may be ahead, in milliseconds. */
const CLOCK_TOLERANCE = 5 * 60_000;

function pastTime(name: string, value: unknown, now: number): number | null {
  if (value === undefined) return null;
  const time = value instanceof Date ? value.getTime() : Number.NaN;
  if (!Number.isSafeInteger(time) || time < 0 || time > now + CLOCK_TOLERANCE) {
    throw new InvalidInputError(`"${name}" must be a Date that is not in the future.`);
  }
  return Math.min(time, now);
}

/** The size of the `amr` column. */
const MAX_AMR = 255;

function methods(value: unknown): readonly string[] | null {
  if (value === undefined) return null;
  const isList =
    Array.isArray(value) && value.every((each) => typeof each === 'string' && /^[\x21-\x7e]+$/.test(each));
  if (!isList || JSON.stringify(value).length > MAX_AMR) {
    throw new InvalidInputError(`"amr" must be a list of short names, such as "pwd" and "otp" (RFC 8176).`);
  }
  return [...(value as string[])];
}

function flag(name: string, value: unknown, fallback: boolean): number {
  if (value !== undefined && typeof value !== 'boolean')
    throw new InvalidInputError(`"${name}" must be true or false.`);
  return (value ?? fallback) ? 1 : 0;
}

/** @throws {@link InvalidUserIdError} */
export function checkUserId(userId: unknown): UserId {
  if (typeof userId === 'number') {
    if (!Number.isSafeInteger(userId))
      throw new InvalidUserIdError('A numeric user id must be a safe integer.');
    return userId === 0 ? 0 : userId; // −0 is stored as 0
  }
  if (typeof userId !== 'string' || userId === '') {
    throw new InvalidUserIdError('A user id must be a non-empty string or a safe integer.');
  }
  if (toAsciiJson(userId).length > MAX_USER_ID) {
    throw new InvalidUserIdError(
      `A user id must have at most ${MAX_USER_ID - 2} characters; one that is not ASCII counts as six.`,
    );
  }
  return userId;
}

/** @throws {@link InvalidClaimsError} */
export function normaliseClaims(claims: unknown): JsonValue {
  checkClaims(claims);
  return copy(claims);
}

/** @throws {@link InvalidDataError} */
export function normaliseData(data: unknown): JsonValue {
  const why = whyNotJson(data, 'data');
  if (why !== undefined) throw new InvalidDataError(`Session data must be JSON: ${why}.`);
  const size = toAsciiJson(data).length;
  if (size > MAX_TEXT) {
    throw new InvalidDataError(
      `Session data has ${size} bytes as ASCII JSON; at most ${MAX_TEXT} can be stored. Keep large things in a table of their own.`,
    );
  }
  return copy(data as JsonValue);
}

/** The value as a later read gives it. The caller cannot change it any more. */
function copy(value: JsonValue): JsonValue {
  return JSON.parse(JSON.stringify(value)) as JsonValue;
}
