import { createSecretKey, type KeyObject } from 'node:crypto';
import { exportJWK, generateKeyPair, generateSecret, importJWK, type CryptoKey, type JWK } from 'jose';
import { KeysUnavailableError } from '../errors/session.errors.js';

/** Signature algorithms of access tokens (RFC 7518, RFC 8037). */
export type SigningAlgorithm = 'HS256' | 'ES256' | 'EdDSA' | 'RS256';

interface Key {
  /** Names the key in a token's header (RFC 7515, 4.1.4). */
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  /** What others verify with; absent for a symmetric key, which is not to be shown. */
  readonly publicJwk: JWK | undefined;
}

/** Whoever can verify with it can sign, too. */
export interface SymmetricKey extends Key {
  readonly algorithm: 'HS256';
  readonly publicJwk: undefined;
  readonly secret: KeyObject;
}

export interface AsymmetricKey extends Key {
  readonly algorithm: Exclude<SigningAlgorithm, 'HS256'>;
  readonly publicJwk: JWK;
  readonly verifyKey: CryptoKey;
  /** Absent when only the public half is known. */
  readonly signKey: CryptoKey | undefined;
}

/** A key that access tokens are verified with. */
export type VerificationKey = SymmetricKey | AsymmetricKey;

/** A key that access tokens are signed with, too. */
export type SigningKey = SymmetricKey | (AsymmetricKey & { readonly signKey: CryptoKey });

/** The keys for verification. Junk must be cheap: what it provokes is {@link lookUp}, and that asks once per cooldown. */
export interface VerificationKeys {
  /** The key of this name, if this process knows it. */
  find(kid: string): VerificationKey | undefined;
  /**
   * The key of a name that {@link find} did not know, after looking for new ones.
   *
   * @throws {@link KeysUnavailableError} | {@link StorageUnavailableError} when that could not be done
   */
  lookUp(kid: string, now: number): Promise<VerificationKey | undefined>;
  /**
   * Whether a key that has verified a signature still may: it can have been dropped elsewhere, which this process learns
   * within an interval.
   *
   * @returns a promise only where there is something to wait for
   */
  isInUse(key: VerificationKey, now: number): boolean | Promise<boolean>;
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
 * Imports a JWK once, into keys that are used without importing them again.
 *
 * @throws Error without `kid`, with an algorithm that is not supported, or with material that does not fit it
 */
export async function importKey(jwk: JWK): Promise<VerificationKey> {
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
    return { kid, algorithm: alg, publicJwk: undefined, secret: createSecretKey(bytes) };
  }
  if (alg === 'RS256' && Buffer.from(String(jwk.n), 'base64url').length < 256) {
    // RFC 7518, 3.3
    throw new Error(`The signing key "${kid}" is shorter than 2,048 bits.`);
  }
  const { kty, crv, x, y, n, e } = jwk;
  const publicParts = { kty, crv, x, y, n, e };
  const verifyKey = (await importJWK(publicParts, alg)) as CryptoKey;
  const signKey = jwk.d === undefined ? undefined : ((await importJWK(jwk, alg)) as CryptoKey);
  const publicJwk = withoutUndefined({ ...publicParts, kid, alg, use: 'sig' });
  return { kid, algorithm: alg, verifyKey, publicJwk, signKey };
}

/** @throws {@link KeysUnavailableError} when it has only its public half */
export function asSigningKey(key: VerificationKey): SigningKey {
  if (canSign(key)) return key;
  throw new KeysUnavailableError(`The signing key "${key.kid}" has no private part.`);
}

function canSign(key: VerificationKey): key is SigningKey {
  return key.algorithm === 'HS256' || key.signKey !== undefined;
}

/** The public halves of those keys that have one, as a JSON Web Key Set lists them (RFC 7517, 5). */
export function publicJwks(keys: readonly VerificationKey[]): JWK[] {
  return keys.flatMap(({ publicJwk }) => publicJwk ?? []);
}

function isAlgorithm(alg: unknown): alg is SigningAlgorithm {
  return typeof alg === 'string' && ALGORITHMS.includes(alg);
}

function withoutUndefined(jwk: JWK): JWK {
  return Object.fromEntries(Object.entries(jwk).filter(([, value]) => value !== undefined));
}
