import { randomUUID } from 'node:crypto';

/** A UUID version 7 (RFC 9562, 5.7): 48 bits of time and 74 random bits. The time keeps the primary-key index compact. */
export function newSessionId(now: number): string {
  // A UUID version 4 has its random bits in the same places. randomUUID() is fast because Node caches random bytes for it.
  return withTime(now, randomUUID().slice(15));
}

/** The smallest session id of a time. Ids that were made earlier are smaller. */
export function firstSessionId(time: number): string {
  return withTime(time, '000-8000-000000000000');
}

function withTime(time: number, rest: string): string {
  const hex = time.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7${rest}`;
}

/** When a session id was made, in epoch milliseconds. */
export function timeOfSessionId(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** Adds the hyphens to a UUID of 32 hexadecimal digits. */
export function uuidOfHex(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

const SESSION_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/**
 * Whether a text has the form of a session id. Ids may come from URLs, so they must be checked: databases throw an error for
 * some characters, and some databases ignore case when they compare.
 */
export function isSessionId(text: unknown): text is string {
  return typeof text === 'string' && SESSION_ID.test(text);
}
