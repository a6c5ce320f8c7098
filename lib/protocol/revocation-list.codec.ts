import { createHash } from 'node:crypto';
import type { RevocationReason } from '../errors/session.errors.js';
import type { UserId } from '../types/register.js';
import { isSessionId, uuidOfHex } from './session-id.js';

/**
 * The content of a list of revocations, which an issuer signs for services without the database. It has nothing secret: session
 * ids, and digests of user ids.
 */
export interface RevocationList {
  /** The issuer, as in its access tokens. */
  readonly issuer: string | undefined;
  /** What the request said, so that an earlier answer cannot take the place of this one. */
  readonly nonce: string;
  /** For how long the issuer has not heard of new revocations itself, in milliseconds. */
  readonly age: number;
  /** For how long a revocation matters, in milliseconds: its last access token can be accepted for that long. */
  readonly keep: number;
  /** What to ask with next time, for what is new then. */
  readonly cursor: string;
  /** The cursor that was asked with, if the list has only what is new since; otherwise it has everything. */
  readonly since: string | undefined;
  readonly sessions: readonly ListedSession[];
  readonly notBefores: readonly ListedNotBefore[];
}

export interface ListedSession {
  readonly id: string;
  readonly reason: RevocationReason;
}

/** All sessions of a user, or of everybody, that were made until some time are over. */
export interface ListedNotBefore {
  /** See {@link digestOfUser}; `undefined` for everybody. */
  readonly user: string | undefined;
  /** Epoch milliseconds. */
  readonly notBefore: number;
  readonly except: string | undefined;
  readonly reason: RevocationReason;
}

/** 16 bytes of SHA-256, base64url. Whoever has a token can find its user, and nobody can read a name from it. */
export function digestOfUser(userId: UserId): string {
  return createHash('sha256').update(JSON.stringify(userId)).digest().subarray(0, 16).toString('base64url');
}

/** @returns JSON */
export function encodeRevocationList({ sessions, notBefores, issuer, ...list }: RevocationList): string {
  // Grouped by reason, and in 16 bytes each, because there may be many.
  const groups = new Map<string, string[]>();
  for (const { id, reason } of sessions) {
    const group = groups.get(reason) ?? [];
    group.push(id.replaceAll('-', ''));
    groups.set(reason, group);
  }
  const byReason = Object.fromEntries(
    Array.from(groups, ([reason, ids]) => [reason, Buffer.from(ids.join(''), 'hex').toString('base64url')]),
  );
  const before = notBefores.map(({ user, notBefore, except, reason }) => [
    user ?? null,
    notBefore,
    except ?? null,
    reason,
  ]);
  return JSON.stringify({ iss: issuer, ...list, sessions: byReason, before });
}

/** @returns `undefined` when the text is not what {@link encodeRevocationList} writes */
export function decodeRevocationList(text: string): RevocationList | undefined {
  const value = parse(text);
  if (!isRecord(value) || !isRecord(value['sessions']) || !Array.isArray(value['before'])) return undefined;
  const { iss, nonce, age, keep, cursor, since } = value;
  if (typeof nonce !== 'string' || typeof cursor !== 'string' || !isCount(age) || !isCount(keep))
    return undefined;
  if (!isOptionalText(iss) || !isOptionalText(since)) return undefined;
  const sessions = Object.entries(value['sessions']).flatMap(([reason, ids]) => toSessions(reason, ids));
  const notBefores = value['before'].map(toNotBefore);
  if (!areAllThere(sessions) || !areAllThere(notBefores)) return undefined;
  return { issuer: iss, nonce, age, keep, cursor, since, sessions, notBefores };
}

function toSessions(reason: string, ids: unknown): (ListedSession | undefined)[] {
  if (typeof ids !== 'string') return [undefined];
  const hex = Buffer.from(ids, 'base64url').toString('hex');
  if (hex.length % 32 !== 0) return [undefined];
  return Array.from({ length: hex.length / 32 }, (_, n) => {
    const id = uuidOfHex(hex.slice(32 * n, 32 * n + 32));
    return isSessionId(id) ? { id, reason } : undefined;
  });
}

function toNotBefore(value: unknown): ListedNotBefore | undefined {
  if (!Array.isArray(value)) return undefined;
  const [user, notBefore, except, reason] = value as unknown[];
  if (user !== null && typeof user !== 'string') return undefined;
  if (except !== null && !isSessionId(except)) return undefined;
  if (!isCount(notBefore) || typeof reason !== 'string') return undefined;
  return { user: user ?? undefined, notBefore, except: except ?? undefined, reason };
}

function areAllThere<T>(values: readonly (T | undefined)[]): values is readonly T[] {
  return !values.includes(undefined);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isOptionalText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string';
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
