import { createSecretKey, type KeyObject } from 'node:crypto';
import { exportJWK, generateKeyPair, generateSecret, importJWK, type CryptoKey, type JWK } from 'jose';
import { KeysUnavailableError } from '../errors/session.errors.js';
import { whyWeak } from './weak-keys.js';

/** Signature algorithms of access tokens (RFC 7518, RFC 8037). */
export type SigningAlgorithm = 'HS256' | 'ES256' | 'EdDSA' | 'RS256';

interface Key {
  /** Names the key in a token's header (RFC 7515, 4.1.4). */
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  /** The public half, with which others verify. `undefined` for a symmetric key, which must stay secret. */
  readonly publicJwk: JWK | undefined;
}

/** A symmetric key. Whoever can verify with it can also sign. */
export interface SymmetricKey extends Key {
  readonly algorithm: 'HS256';
  readonly publicJwk: undefined;
  readonly secret: KeyObject;
}

export interface AsymmetricKey extends Key {
  readonly algorithm: Exclude<SigningAlgorithm, 'HS256'>;
  readonly publicJwk: JWK;
  readonly verifyKey: CryptoKey;
  /** `undefined` when only the public half is known. */
  readonly signKey: CryptoKey | undefined;
}

/** A key that verifies access tokens. */
export type VerificationKey = SymmetricKey | AsymmetricKey;

/** A key that signs and verifies access tokens. */
export type SigningKey = SymmetricKey | (AsymmetricKey & { readonly signKey: CryptoKey });

/**
 * The keys for verification. Junk tokens must be cheap: they cause {@link lookUp}, which loads at most once per cooldown.
 */
export interface VerificationKeys {
  /** The key of this name, if this process knows it. */
  find(kid: string): VerificationKey | undefined;
  /**
   * The key of a name that {@link find} did not know. This looks for new keys.
   *
   * @throws {@link KeysUnavailableError} | {@link StorageUnavailableError} when the keys cannot be loaded
   */
  lookUp(kid: string, now: number): Promise<VerificationKey | undefined>;
  /**
   * Whether a key that has verified a signature is still in use. Another process may have dropped it; this process learns of
   * that within an interval.
   *
   * @returns a promise only if something must be waited for
   */
  isInUse(key: VerificationKey, now: number): boolean | Promise<boolean>;
}

/** The same for connections, which outlive the tokens that they were opened with. */
export interface LastingKeys extends Pick<VerificationKeys, 'find'> {
  /**
   * Looks for keys that others have made or dropped, if that is due.
   *
   * @returns a promise only if something must be waited for
   */
  freshen(now: number): Promise<void> | undefined;
  /** When the next look is due, in epoch milliseconds. Earlier, {@link freshen} does nothing. */
  readonly dueAt: number;
  /** Whether a key is known to have been dropped before its last token had expired. */
  isDropped(kid: string): boolean;
}

/**
 * Gives the application's own keys as JSON Web Keys (RFC 7517). Each needs `kid` and `alg` (HS256, ES256, EdDSA or RS256).
 * The first key signs, so it must be private or symmetric. All keys verify. To rotate: put the new key last; when every
 * process has loaded it, move it to the front; remove the old key when its last token has expired.
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
 * Imports a JWK. The result is used many times, because an import is slow.
 *
 * @throws Error without `kid`, with an algorithm that is not supported, or with material that does not fit it or is weak
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
  const weakness = whyWeak(jwk);
  if (weakness !== undefined) throw new Error(`The signing key "${kid}" ${weakness}.`);
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
