import { andThen } from '../util/and-then.js';
import { deepFreeze } from '../util/deep-freeze.js';
import type { VerificationKey, VerificationKeys } from '../keys/signing-key.js';
import type { AccessToken, AccessTokenVerification } from '../protocol/access-token.js';
import { encodedHeaderOf, isTokenHeader, kidOf } from './jws-header.js';
import { isSignedWith } from './jws.js';
import { fromPayload } from '../protocol/access-token.payload.js';
import { type VerifiedToken, VerifiedTokens } from './verified-tokens.js';

/** What a token must contain in addition to the content of every token of this package. */
export interface AccessTokenExpectations {
  readonly issuer: string | undefined;
  readonly audience: string | undefined;
  /**
   * The longest lifetime of a token, in milliseconds. Tokens that were issued with a longer one expire after this time, because
   * revocations are remembered for this time only. @default what the token says
   */
  readonly ttl?: number;
  /** How far the clock of the issuing process may be ahead, in milliseconds. */
  readonly clockTolerance: number;
  /** The largest number of verified tokens in the cache. */
  readonly cacheSize: number;
}

/** In characters. No token that fits into a cookie or into a request header is longer. */
const MAX_LENGTH = 8_192;

const INVALID: AccessTokenVerification = { status: 'invalid' };

/**
 * Verifies access tokens. It is stricter than the standard: a JWT library accepts several encodings of the same token. This
 * class accepts only the encoding that this package writes.
 */
export class AccessTokenVerifier {
  private readonly verified: VerifiedTokens;
  /** The key of the last valid token. Most tokens have the same key; their headers need not be decoded. */
  private latestKey: VerificationKey | undefined;
  /** Verifications since the start. `cached` are those that needed no cryptography. */
  readonly counts = { valid: 0, expired: 0, invalid: 0, cached: 0 };

  constructor(
    private readonly keys: VerificationKeys,
    private readonly expected: AccessTokenExpectations,
    /** Is called when a token of ours has to wait for keys: what it would wait for after that can be read at the same time. */
    private readonly whileKeysAreRead: (now: number) => void = () => undefined,
  ) {
    this.verified = new VerifiedTokens(expected.cacheSize);
  }

  /**
   * Verifies signature, type, issuer, audience and times. Before the signature is verified, only `kid` is used, to find the
   * key. The algorithm is that of the key, not that of the header.
   *
   * @returns a promise only if something must be waited for. A token that was verified before needs no promise
   * @throws {@link KeysUnavailableError} | {@link StorageUnavailableError} when the token's key must be looked up and cannot
   *   be. This says nothing about the token
   */
  verify(token: string, now: number): AccessTokenVerification | Promise<AccessTokenVerification> {
    // A caller without types may pass anything.
    if (typeof token !== 'string') return this.refused();
    const known = this.verified.find(token);
    if (!known) return this.verifyAnew(token, now);
    this.counts.cached++;
    // The key is checked each time, so that the tokens of a dropped key are refused.
    return andThen(this.isInUse(known.key, now), (isInUse) => this.judge(known, isInUse, now));
  }

  /**
   * Whether a token has the form of this module's tokens. This proves nothing. It tells a token that is no longer good, such as
   * one of a dropped key, from a token that somebody else has issued.
   */
  hasForm(token: string): boolean {
    return this.readUnverified(token) !== undefined;
  }

  /** Whether a token with the form of this module's tokens says that somebody acts as its user. This proves nothing, either. */
  namesActor(token: string): boolean {
    return this.readUnverified(token)?.actor !== undefined;
  }

  private readUnverified(token: string): Omit<AccessToken, 'kid'> | undefined {
    const parts = partsOf(token);
    return parts && isTokenHeader(parts.header) ? this.read(parts.payload) : undefined;
  }

  private verifyAnew(token: string, now: number): AccessTokenVerification | Promise<AccessTokenVerification> {
    const parts = partsOf(token);
    if (!parts) return this.refused();
    const { header, payload } = parts;

    return andThen(this.keyNamedBy(header, now), (key) => {
      // This one comparison refuses other algorithms, "none", other types, critical extensions, and keys inside the token.
      if (!key || header !== encodedHeaderOf(key)) return this.refused();
      return andThen(isSignedWith(key, token), (isSigned) =>
        isSigned ? this.accept(token, payload, key, now) : this.refused(),
      );
    });
  }

  /** Accepts a token whose signature has been verified, if its content is right. */
  private accept(
    token: string,
    payload: string,
    key: VerificationKey,
    now: number,
  ): AccessTokenVerification | Promise<AccessTokenVerification> {
    const content = this.read(payload);
    if (!content) return this.refused();
    // The content is frozen, because requests with the same token share it.
    const accessToken = deepFreeze({ ...content, kid: key.kid });
    this.verified.add(token, key, accessToken);
    this.latestKey = key;
    return andThen(this.isInUse(key, now), (isInUse) => this.judge({ token, accessToken }, isInUse, now));
  }

  private isInUse(key: VerificationKey, now: number): boolean | Promise<boolean> {
    const isInUse = this.keys.isInUse(key, now);
    if (typeof isInUse !== 'boolean') this.whileKeysAreRead(now);
    return isInUse;
  }

  private latestKeyIfNamedBy(header: string): VerificationKey | undefined {
    const key = this.latestKey;
    const isNamed = key && header === encodedHeaderOf(key) && this.keys.find(key.kid) === key;
    return isNamed ? key : undefined;
  }

  private keyNamedBy(
    header: string,
    now: number,
  ): VerificationKey | undefined | Promise<VerificationKey | undefined> {
    const latest = this.latestKeyIfNamedBy(header);
    if (latest) return latest;
    const kid = kidOf(header);
    return kid === undefined ? undefined : (this.keys.find(kid) ?? this.keys.lookUp(kid, now));
  }

  /** Checks key and times of a token whose signature has been verified. */
  private judge(
    { token, accessToken }: Pick<VerifiedToken, 'token' | 'accessToken'>,
    isKeyInUse: boolean,
    now: number,
  ): AccessTokenVerification {
    if (isKeyInUse) {
      if (accessToken.issuedAt > now + this.expected.clockTolerance) return this.refused();
      // The expiry has no tolerance, because an expired token costs only a refresh, not a login.
      if (now < accessToken.expiresAt) {
        this.counts.valid++;
        return { status: 'valid', accessToken };
      }
    }
    this.verified.remove(token);
    if (!isKeyInUse) return this.refused();
    this.counts.expired++;
    return { status: 'expired', accessToken };
  }

  private refused(): AccessTokenVerification {
    this.counts.invalid++;
    return INVALID;
  }

  private read(encoded: string): Omit<AccessToken, 'kid'> | undefined {
    const payload = parse(encoded);
    // The payload, encoded again, must equal the text that was decoded. This refuses duplicate claims, numbers such as
    // 1e400, bytes that are not UTF-8, and every other encoding of the same content.
    if (Buffer.from(JSON.stringify(payload) ?? '').toString('base64url') !== encoded) return undefined;
    return fromPayload(payload, this.expected);
  }
}

/** The encoded parts of a token that is not too long, and has just three; otherwise `undefined`. */
function partsOf(token: string): { readonly header: string; readonly payload: string } | undefined {
  if (token.length > MAX_LENGTH) return undefined;
  const [header, payload, signature, ...rest] = token.split('.', 4);
  return header && payload && signature && rest.length === 0 ? { header, payload } : undefined;
}

function parse(encoded: string): unknown {
  try {
    return JSON.parse(Buffer.from(encoded, 'base64url').toString());
  } catch {
    return undefined;
  }
}
