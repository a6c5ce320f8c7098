import { randomUUID } from 'node:crypto';

/** A UUID version 7 (RFC 9562, 5.7): 48 bits of time, which keep the primary-key index compact, and 74 random bits. */
export function newSessionId(now: number): string {
  const time = now.toString(16).padStart(12, '0');
  // A version 4 has its random bits in the same places, and Node takes them from a store instead of asking for each few.
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}

/** When a session id was made, in epoch milliseconds. */
export function timeOfSessionId(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** The usual spelling of a UUID that is given as 32 hexadecimal digits. */
export function uuidOfHex(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

const SESSION_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/**
 * Whether a text can be a session's id. Ids reach the module from URLs: databases refuse some characters with an error, and
 * some compare without regard to case.
 */
export function isSessionId(text: unknown): text is string {
  return typeof text === 'string' && SESSION_ID.test(text);
}
