import { exportJWK, generateKeyPair, generateSecret, importJWK, type CryptoKey, type JWK } from 'jose';
import type { SigningAlgorithm } from '../options/session-module.options.js';

/** A key of access tokens, ready for use. */
export interface SigningKey {
  /** Names the key in a token's header (RFC 7515, 4.1.4). */
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  readonly verifyKey: CryptoKey;
  /** Absent when only the public half is known: tokens are verified with it, none is signed. */
  readonly signKey: CryptoKey | undefined;
}

/**
 * Gives the application's own keys as JSON Web Keys (RFC 7517). Each needs `kid` and `alg` (HS256, ES256, EdDSA or
 * RS256); the first, which must be private or symmetric, signs, and all verify: put a new key last, let every process
 * see it, then move it to the front, and take the old one away when its last token has expired.
 */
export type SigningKeySource = () => Promise<readonly JWK[]> | readonly JWK[];

const ALGORITHMS: readonly string[] = ['HS256', 'ES256', 'EdDSA', 'RS256'] satisfies SigningAlgorithm[];

/** Makes new key material for an algorithm, as a private or symmetric JWK. */
export async function generateJwk(algorithm: SigningAlgorithm): Promise<JWK> {
  const key =
    algorithm === 'HS256'
      ? await generateSecret(algorithm, { extractable: true })
      : (await generateKeyPair(algorithm, { extractable: true })).privateKey;
  return exportJWK(key);
}

/**
 * Imports a JWK once, into keys that `jose` uses without importing them again.
 *
 * @throws Error without `kid`, with an algorithm that is not supported, or with material that does not fit it
 */
export async function importSigningKey(jwk: JWK): Promise<SigningKey> {
  const { kid, alg } = jwk;
  if (typeof kid !== 'string' || kid === '') throw new Error('A signing key has no "kid".');
  if (!isAlgorithm(alg)) {
    throw new Error(`The signing key "${kid}" has no supported "alg". Supported: ${ALGORITHMS.join(', ')}.`);
  }
  if (alg === 'HS256') {
    if (jwk.kty !== 'oct' || typeof jwk.k !== 'string')
      throw new Error(`The signing key "${kid}" is not symmetric.`);
    const bytes = Buffer.from(jwk.k, 'base64url');
    // RFC 7518, 3.2: a key at least as long as the hash
    if (bytes.length < 32) throw new Error(`The signing key "${kid}" is shorter than 256 bits.`);
    const hmac = { name: 'HMAC', hash: 'SHA-256' };
    const key = await crypto.subtle.importKey('raw', bytes, hmac, false, ['sign', 'verify']);
    return { kid, algorithm: alg, verifyKey: key, signKey: key };
  }
  if (alg === 'RS256' && Buffer.from(String(jwk.n), 'base64url').length < 256) {
    // RFC 7518, 3.3
    throw new Error(`The signing key "${kid}" is shorter than 2,048 bits.`);
  }
  const verifyKey = (await importJWK(publicJwk(jwk), alg)) as CryptoKey;
  const signKey = jwk.d === undefined ? undefined : ((await importJWK(jwk, alg)) as CryptoKey);
  return { kid, algorithm: alg, verifyKey, signKey };
}

function isAlgorithm(alg: unknown): alg is SigningAlgorithm {
  return typeof alg === 'string' && ALGORITHMS.includes(alg);
}

function publicJwk({ kty, crv, x, y, n, e }: JWK): JWK {
  return { kty, crv, x, y, n, e };
}
