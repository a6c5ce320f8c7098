import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto';
import type { RefreshTokenFacts } from './rotation.js';
import { uuidOfHex } from './session-id.js';

/** The content of a refresh token. */
export interface RefreshToken extends RefreshTokenFacts {
  /** Sequence number of the refresh key that authenticates it. */
  readonly keyId: number;
  readonly sessionId: string;
  /** Epoch milliseconds. */
  readonly issuedAt: number;
  /** 8 random bytes, hex. Identifies one sibling of a generation. */
  readonly tokenId: string;
  /** 16 random bytes. Made at sign-in; the same in all refresh tokens of the session. See `session-secret.ts`. */
  readonly sessionSecret: Buffer;
}

const VERSION = 1;
const AT = {
  keyId: 1,
  sessionId: 5,
  generation: 21,
  issuedAt: 25,
  tokenId: 31,
  secret: 39,
  mac: 55,
  end: 71,
};
const LENGTH = Math.ceil((AT.end * 4) / 3);

/**
 * `base64url( version 1 | keyId 4 | sessionId 16 | generation 4 | issuedAt 6 | tokenId 8 | sessionSecret 16 | mac 16 )`,
 * with sizes in bytes. Numbers are big-endian. The mac is HMAC-SHA-256 over all bytes before it, cut to 128 bits
 * (RFC 2104, 5).
 */
export function encodeRefreshToken(token: RefreshToken, key: KeyObject): string {
  const bytes = Buffer.alloc(AT.end);
  bytes.writeUInt8(VERSION, 0);
  bytes.writeUInt32BE(token.keyId, AT.keyId);
  bytes.write(token.sessionId.replaceAll('-', ''), AT.sessionId, 'hex');
  bytes.writeUInt32BE(token.generation, AT.generation);
  bytes.writeUIntBE(token.issuedAt, AT.issuedAt, 6);
  bytes.write(token.tokenId, AT.tokenId, 'hex');
  token.sessionSecret.copy(bytes, AT.secret);
  mac(bytes.subarray(0, AT.mac), key).copy(bytes, AT.mac);
  return bytes.toString('base64url');
}

/** A decoded refresh token that is not authenticated yet. Do not trust its content before {@link isAuthentic}. */
export interface ParsedRefreshToken extends RefreshToken {
  readonly bytes: Buffer;
}

/** @returns the decoded token, or `undefined` when length, alphabet or version is wrong */
export function parseRefreshToken(text: string): ParsedRefreshToken | undefined {
  // A caller without types may pass anything.
  if (typeof text !== 'string' || text.length !== LENGTH) return undefined;
  const bytes = Buffer.from(text, 'base64url');
  // Node's decoder skips invalid characters and ignores unused bits. Only the canonical encoding of a token is accepted.
  if (bytes.length !== AT.end || bytes[0] !== VERSION || bytes.toString('base64url') !== text)
    return undefined;
  const hex = bytes.toString('hex', AT.sessionId, AT.generation);
  return {
    bytes,
    keyId: bytes.readUInt32BE(AT.keyId),
    sessionId: uuidOfHex(hex),
    generation: bytes.readUInt32BE(AT.generation),
    issuedAt: bytes.readUIntBE(AT.issuedAt, 6),
    tokenId: bytes.toString('hex', AT.tokenId, AT.secret),
    sessionSecret: bytes.subarray(AT.secret, AT.mac),
  };
}

/** Whether the token was made with this key. Takes constant time. */
export function isAuthentic({ bytes }: ParsedRefreshToken, key: KeyObject): boolean {
  return timingSafeEqual(mac(bytes.subarray(0, AT.mac), key), bytes.subarray(AT.mac));
}

function mac(body: Buffer, key: KeyObject): Buffer {
  return createHmac('sha256', key)
    .update(body)
    .digest()
    .subarray(0, AT.end - AT.mac);
}
