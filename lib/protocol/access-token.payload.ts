import type { JWTPayload } from 'jose';
import { InvalidClaimsError } from '../errors/session.errors.js';
import type { SessionActor } from '../types/actor.js';
import type { JsonValue } from '../types/json.js';
import type { UserId } from '../types/register.js';
import { whyNotJson } from './json.js';
import { isSessionId, timeOfSessionId } from './session-id.js';
import type { AccessToken } from './access-token.js';

/**
 * Names that claims must not use: the registered claims of RFC 7519, and the claims of this module.
 *
 * - `sid`: the session id (as in OpenID Connect).
 * - `uid`: the user id, if it is a number. `sub` must be a string (RFC 7519, 4.1.2).
 * - `gen`: `[generation, issuedAt, preimage]`, only in unproven tokens.
 * - `claims`: the application's claims, if they are not an object.
 * - `act`: who acts as the user (RFC 8693, 4.1), with `sub`, `uid` and `sid` like those of the token.
 * - `auth_time`, `amr`: as in OpenID Connect. Without `auth_time`, the user proved who they are when the session was made.
 */
export const RESERVED_CLAIMS: readonly string[] = [
  'iss',
  'sub',
  'aud',
  'exp',
  'nbf',
  'iat',
  'jti',
  'sid',
  'uid',
  'gen',
  'claims',
  'act',
  'auth_time',
  'amr',
];

/**
 * The largest number of base64url characters that an unproven token has more than a proven one. They encode
 * `,"gen":[4294967295,281474976710655,"0123456789012345678901"]`.
 */
export const UNPROVEN_OVERHEAD = 84;

/** The part of an access token that describes its session. */
export type TokenSubject = Pick<AccessToken, 'sessionId' | 'userId' | 'claims' | 'unproven'> & {
  /** Nothing if that is when the session was made. */
  readonly authTime?: number | null;
  /** Nothing if the application does not say. */
  readonly amr?: readonly string[] | null;
  /** Nothing if the user acts. */
  readonly actor?: SessionActor | null | undefined;
};

/** @throws {@link InvalidClaimsError} when the claims are not JSON or use a reserved name */
export function checkClaims(claims: unknown): asserts claims is JsonValue {
  const why = whyNotJson(claims, 'claims');
  if (why !== undefined) throw new InvalidClaimsError(`Claims must be JSON: ${why}.`);
  if (!isRecord(claims as JsonValue)) return;
  const reserved = RESERVED_CLAIMS.find((name) => Object.hasOwn(claims as object, name));
  if (reserved !== undefined)
    throw new InvalidClaimsError(`The claim name "${reserved}" is reserved. Rename the claim.`);
}

/** Names the largest claim, for the error message that the claims are too large. */
export function describeLargestClaim(claims: JsonValue): string {
  if (!isRecord(claims)) return `The claims have ${Buffer.byteLength(JSON.stringify(claims))} bytes`;
  const sizes = Object.entries(claims).map(([name, value]) => ({
    name,
    size: Buffer.byteLength(JSON.stringify(value)),
  }));
  const largest = sizes.reduce((a, b) => (b.size > a.size ? b : a), { name: '', size: 0 });
  return `The largest claim is ${JSON.stringify(largest.name)} with ${largest.size} bytes`;
}

/** @param registered further claims of the token. JSON leaves out those that are undefined */
export function toPayload(
  { sessionId, userId, claims, authTime = null, amr, actor, unproven }: TokenSubject,
  registered: Pick<JWTPayload, 'iat' | 'exp' | 'iss' | 'aud'>,
): JWTPayload {
  const own = {
    ...subjectOf(userId, sessionId),
    act: actor ? subjectOf(actor.userId, actor.sessionId) : undefined,
    auth_time: authTime === null ? undefined : Math.floor(authTime / 1_000),
    amr: amr ?? undefined,
    gen: unproven && [unproven.generation, unproven.issuedAt, unproven.preimage],
    ...registered,
  };
  // The payload has no prototype, so that a claim may have the name __proto__. Object.assign is several times faster here
  // than spread syntax.
  const payload = { __proto__: null } as JWTPayload;
  return Object.assign(payload, isRecord(claims) ? claims : { claims }, own);
}

/**
 * @param payload the payload of a token whose signature has been verified
 * @returns the content of the token, or `undefined` when a claim is missing, has a type or range that this package does not
 *   write, or differs from the expected value
 */
export function fromPayload(
  payload: unknown,
  expected: {
    readonly issuer: string | undefined;
    readonly audience: string | undefined;
    /** The longest life of a token, in milliseconds. */
    readonly ttl?: number;
  },
): Omit<AccessToken, 'kid'> | undefined {
  if (!isRecord(payload as JsonValue)) return undefined;
  const { iss, aud, nbf, jti, sub, sid, uid, act, gen, iat, exp, auth_time, amr, claims, ...rest } =
    payload as JWTPayload;
  if (expected.issuer !== undefined && iss !== expected.issuer) return undefined;
  if (expected.audience !== undefined && aud !== expected.audience) return undefined;
  if (nbf !== undefined || jti !== undefined) return undefined;
  const userId = toUserId(sub, uid);
  if (userId === undefined || !isSessionId(sid)) return undefined;
  if (!isTime(iat) || !isTime(exp) || exp < iat) return undefined;
  if (auth_time !== undefined && !isTime(auth_time)) return undefined;
  if (amr !== undefined && !isListOfTexts(amr)) return undefined;
  const unproven = gen === undefined ? undefined : fromGen(gen);
  if (unproven === null) return undefined;
  const actor = act === undefined ? undefined : fromAct(act);
  // An impersonation is never refreshed, so its tokens have no generation.
  if (actor === null || (actor && (unproven || actor.sessionId === sid))) return undefined;
  return {
    sessionId: sid,
    userId,
    claims: (claims === undefined ? rest : claims) as JsonValue,
    issuedAt: iat * 1_000,
    expiresAt: Math.min(exp, iat + (expected.ttl ?? Number.POSITIVE_INFINITY) / 1_000) * 1_000,
    authTime: auth_time === undefined ? timeOfSessionId(sid) : auth_time * 1_000,
    amr: amr ?? [],
    actor,
    unproven,
  };
}

function subjectOf(userId: UserId, sessionId: string) {
  return { sub: String(userId), sid: sessionId, uid: typeof userId === 'number' ? userId : undefined };
}

/** @returns `undefined` when the claims do not have the form that {@link toPayload} writes */
function toUserId(sub: unknown, uid: unknown): UserId | undefined {
  if (typeof sub !== 'string' || sub === '') return undefined;
  if (uid === undefined) return sub;
  return typeof uid === 'number' && Number.isSafeInteger(uid) && String(uid) === sub ? uid : undefined;
}

/** @returns null when the claim does not have the form that {@link toPayload} writes */
function fromAct(act: unknown): SessionActor | null {
  if (!isRecord(act as JsonValue)) return null;
  const { sub, sid, uid, ...others } = act as Record<string, unknown>;
  const userId = toUserId(sub, uid);
  if (userId === undefined || !isSessionId(sid) || Object.keys(others).length > 0) return null;
  return { userId, sessionId: sid };
}

/** @returns null when the claim does not have the form that {@link toPayload} writes */
function fromGen(gen: unknown): AccessToken['unproven'] | null {
  if (!Array.isArray(gen) || gen.length !== 3) return null;
  const [generation, issuedAt, preimage] = gen as unknown[];
  if (!isCount(generation) || !isCount(issuedAt) || typeof preimage !== 'string') return null;
  return { generation, issuedAt, preimage };
}

function isListOfTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}

/** Whether a value is a time in epoch seconds that can also be written exactly in milliseconds. */
function isTime(value: unknown): value is number {
  return isCount(value) && Number.isSafeInteger(value * 1_000);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isRecord(value: JsonValue): value is { [key: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
