import { checkClaims } from '../protocol/access-token.payload.js';
import { InvalidDataError, InvalidUserIdError } from '../errors/session.errors.js';
import { toAsciiJson } from '../storage/columns.js';
import type { JsonValue } from '../types/json.js';
import { whyNotJson } from '../protocol/json.js';
import type { SessionInput } from './session.types.js';
import type { Device } from '../types/device.js';
import type { UserId } from '../types/register.js';

/** The size of the `user_id` column, in characters of ASCII JSON. */
const MAX_USER_ID = 255;
/**
 * The size of a `text` column on MySQL and MariaDB. The limit is the same on all databases, so that sessions can move from
 * one database to another.
 */
const MAX_TEXT = 65_535;
const MAX_USER_AGENT = 255;
const MAX_IP = 64;

/** A checked {@link SessionInput}, ready to be stored. */
export interface CheckedSessionInput {
  readonly userId: UserId;
  readonly claims: JsonValue;
  readonly data: JsonValue;
  readonly userAgent: string | null;
  readonly ip: string | null;
}

export function checkSessionInput(
  input: SessionInput,
  device: SessionInput['device'] = input?.device,
): CheckedSessionInput {
  return {
    userId: checkUserId(input?.userId),
    claims: input.claims === undefined ? {} : normaliseClaims(input.claims),
    data: input.data === undefined ? {} : normaliseData(input.data),
    ...toDevice(device),
  };
}

/** A client as it is stored, and told of in events. */
export function toDevice(device: SessionInput['device']): Device {
  return { userAgent: printable(device?.userAgent, MAX_USER_AGENT), ip: printable(device?.ip, MAX_IP) };
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

/** Replaces every character that is not printable ASCII by `?`, because a column may have any character set. */
function printable(text: string | undefined, maxLength: number): string | null {
  return text === undefined ? null : text.slice(0, maxLength).replace(/[^\x20-\x7e]/g, '?');
}
