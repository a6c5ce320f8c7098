import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto';
import { CompactSign, compactVerify, type CryptoKey, errors } from 'jose';
import type { AsymmetricKey, SigningKey, VerificationKey } from '../keys/signing-key.js';
import { encodedHeaderOf, headerOf } from './jws-header.js';

/*
 * JSON Web Signatures in compact serialization (RFC 7515, 7.1). `jose` makes and verifies the asymmetric ones. Node's
 * `createHmac` makes HMACs. `jose` is not used for them: it uses Web Cryptography, which sends each HMAC to another thread
 * and back. That takes ten times as long as the HMAC itself. `crypto.subtle` and `createHmac` both use OpenSSL.
 */

/** Signs the payload of an access token. @returns a promise only for asymmetric keys */
export function signJws(key: SigningKey, payload: string): string | Promise<string> {
  if (key.algorithm !== 'HS256') return signAsymmetrically(key, payload);
  const input = `${encodedHeaderOf(key)}.${Buffer.from(payload).toString('base64url')}`;
  return `${input}.${hmac(input, key.secret)}`;
}

/** @param typ tells what is signed from what else the key signs. @default that of access tokens */
export async function signAsymmetrically(
  key: AsymmetricKey & { readonly signKey: CryptoKey },
  payload: string,
  typ?: string,
): Promise<string> {
  return new CompactSign(Buffer.from(payload)).setProtectedHeader(headerOf(key, typ)).sign(key.signKey);
}

/**
 * Whether a key has signed this token with the algorithm of the key. The signature must have its canonical encoding. The
 * header is not read.
 *
 * @param token three parts, separated by dots
 * @returns a promise only for asymmetric keys
 */
export function isSignedWith(key: VerificationKey, token: string): boolean | Promise<boolean> {
  const dot = token.lastIndexOf('.');
  const signature = token.slice(dot + 1);
  return key.algorithm === 'HS256'
    ? isEqual(signature, hmac(token.slice(0, dot), key.secret))
    : isCanonical(signature) && isSignedAsymmetrically(key, token);
}

async function isSignedAsymmetrically(key: AsymmetricKey, token: string): Promise<boolean> {
  try {
    await compactVerify(token, key.verifyKey, { algorithms: [key.algorithm] });
    return true;
  } catch (error) {
    if (error instanceof errors.JOSEError) return false;
    throw error;
  }
}

/** HMAC-SHA-256 (RFC 7518, 3.2). */
function hmac(input: string, secret: KeyObject): string {
  return createHmac('sha256', secret).update(input).digest('base64url');
}

/** In constant time. */
function isEqual(signature: string, expected: string): boolean {
  const [a, b] = [Buffer.from(signature), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Whether base64url text is canonical. Node's decoder skips invalid characters and ignores unused bits. */
function isCanonical(encoded: string): boolean {
  return Buffer.from(encoded, 'base64url').toString('base64url') === encoded;
}
