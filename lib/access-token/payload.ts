import type { JWTPayload } from 'jose';
import { InvalidClaimsError } from '../errors/session.errors.js';
import { type JsonValue, whyNotJson } from '../session/json.js';
import type { AccessToken } from './access-tokens.js';

/**
 * Names that claims must not use: the registered ones of RFC 7519 and the module's own.
 *
 * - `sid`: the session id (as in OpenID Connect).
 * - `uid`: the user id where it is a number; `sub` has to be a string (RFC 7519, 4.1.2).
 * - `gen`: `[generation, issuedAt]`, only while the token is unproven.
 * - `claims`: the application's claims where they are not an object.
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
];

/** Base64url characters that an unproven token has more than a proven one, at the most: `,"gen":[4294967295,281474976710655]`. */
export const UNPROVEN_OVERHEAD = 48;

/** @throws {@link InvalidClaimsError} when they are not JSON or use a reserved name */
export function checkClaims(claims: unknown): asserts claims is JsonValue {
  const why = whyNotJson(claims, 'claims');
  if (why !== undefined) throw new InvalidClaimsError(`Claims must be JSON: ${why}.`);
  if (!isRecord(claims as JsonValue)) return;
  const reserved = RESERVED_CLAIMS.find((name) => Object.hasOwn(claims as object, name));
  if (reserved !== undefined)
    throw new InvalidClaimsError(`The claim name "${reserved}" is reserved. Rename the claim.`);
}

/** Names the largest of some claims, for the message that they are too large. */
export function describeLargestClaim(claims: JsonValue): string {
  if (!isRecord(claims)) return `The claims have ${Buffer.byteLength(JSON.stringify(claims))} bytes`;
  const sizes = Object.entries(claims).map(([name, value]) => ({
    name,
    size: Buffer.byteLength(JSON.stringify(value)),
  }));
  const largest = sizes.reduce((a, b) => (b.size > a.size ? b : a), { name: '', size: 0 });
  return `The largest claim is ${JSON.stringify(largest.name)} with ${largest.size} bytes`;
}

export function toPayload({
  sessionId,
  userId,
  claims,
  unproven,
}: Pick<AccessToken, 'sessionId' | 'userId' | 'claims' | 'unproven'>): JWTPayload {
  return {
    ...(isRecord(claims) ? claims : { claims }),
    sub: String(userId),
    sid: sessionId,
    ...(typeof userId === 'number' && { uid: userId }),
    ...(unproven && { gen: [unproven.generation, unproven.issuedAt] }),
  };
}

/** @returns what the token says, or `undefined` when a claim is not of the type that this package writes */
export function fromPayload(payload: JWTPayload): AccessToken | undefined {
  const {
    iss: _iss,
    aud: _aud,
    nbf: _nbf,
    jti: _jti,
    sub,
    sid,
    uid,
    gen,
    iat,
    exp,
    claims,
    ...rest
  } = payload;
  if (
    typeof sub !== 'string' ||
    typeof sid !== 'string' ||
    typeof iat !== 'number' ||
    typeof exp !== 'number'
  )
    return undefined;
  if (uid !== undefined && (typeof uid !== 'number' || String(uid) !== sub)) return undefined;
  let unproven: AccessToken['unproven'];
  if (gen !== undefined) {
    const [generation, issuedAt] = Array.isArray(gen) ? (gen as unknown[]) : [];
    if (typeof generation !== 'number' || typeof issuedAt !== 'number') return undefined;
    unproven = { generation, issuedAt };
  }
  return {
    sessionId: sid,
    userId: uid ?? sub,
    claims: (claims === undefined ? rest : claims) as JsonValue,
    issuedAt: iat * 1_000,
    expiresAt: exp * 1_000,
    unproven,
  };
}

function isRecord(value: JsonValue): value is { [key: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
