import { andThen } from '../util/and-then.js';
import { deepFreeze } from '../util/deep-freeze.js';
import type { VerificationKey, VerificationKeys } from '../keys/signing-key.js';
import type { AccessToken, AccessTokenVerification } from '../protocol/access-token.js';
import { encodedHeaderOf, kidOf } from './jws-header.js';
import { isSignedWith } from './jws.js';
import { fromPayload } from '../protocol/access-token.payload.js';
import { type VerifiedToken, VerifiedTokens } from './verified-tokens.js';

/** What a token must say beside what every token of this package says. */
export interface AccessTokenExpectations {
  readonly issuer: string | undefined;
  readonly audience: string | undefined;
  /**
   * The longest life of a token, in milliseconds. Tokens that were issued under a longer one count no longer than that: what is
   * remembered of revoked sessions covers this life. @default what the token says
   */
  readonly ttl?: number;
  /** How far ahead the clock of the process that issued a token may be, in milliseconds. */
  readonly clockTolerance: number;
  /** How many verified tokens are remembered. */
  readonly cacheSize: number;
}

/** Longer than any token that fits into a cookie, or that a server takes in a header. */
const MAX_LENGTH = 8_192;

const INVALID: AccessTokenVerification = { status: 'invalid' };

/**
 * Verifies access tokens. Stricter than the standard asks for: of all the spellings that mean the same to a JWT library,
 * just the one that this package writes is a token.
 */
export class AccessTokenVerifier {
  private readonly verified: VerifiedTokens;
  /** That of the last good token. Most others have it, too, and then their headers need not be read. */
  private latestKey: VerificationKey | undefined;

  constructor(
    private readonly keys: VerificationKeys,
    private readonly expected: AccessTokenExpectations,
  ) {
    this.verified = new VerifiedTokens(expected.cacheSize);
  }

  /**
   * Verifies signature, type, issuer, audience and times. Nothing in the token is believed before its signature has been
   * verified, but for `kid`, which finds the key; the algorithm is the key's own.
   *
   * @returns a promise only where there is something to wait for: not for a token that has been verified before
   * @throws {@link KeysUnavailableError} | {@link StorageUnavailableError} when the token's key had to be looked up and
   *   could not; that says nothing about the token
   */
  verify(token: string, now: number): AccessTokenVerification | Promise<AccessTokenVerification> {
    // Without types, or from JSON, it may be anything.
    if (typeof token !== 'string') return INVALID;
    const known = this.verified.find(token);
    if (!known) return this.verifyAnew(token, now);
    // Asked each time, so that a key that is dropped takes its tokens along.
    return andThen(this.keys.isInUse(known.key, now), (isInUse) => this.judge(known, isInUse, now));
  }

  private verifyAnew(token: string, now: number): AccessTokenVerification | Promise<AccessTokenVerification> {
    if (token.length > MAX_LENGTH) return INVALID;
    const [header, payload, signature, ...rest] = token.split('.', 4);
    if (!header || !payload || !signature || rest.length > 0) return INVALID;

    return andThen(this.keyNamedBy(header, now), (key) => {
      // One comparison refuses another algorithm, "none", another type, critical extensions, and keys that a token brings along.
      if (!key || header !== encodedHeaderOf(key)) return INVALID;
      return andThen(isSignedWith(key, token), (isSigned) =>
        isSigned ? this.accept(token, payload, key, now) : INVALID,
      );
    });
  }

  /** A token whose signature is right. */
  private accept(
    token: string,
    payload: string,
    key: VerificationKey,
    now: number,
  ): AccessTokenVerification | Promise<AccessTokenVerification> {
    const accessToken = this.read(payload);
    if (!accessToken) return INVALID;
    this.verified.add(token, key, accessToken);
    this.latestKey = key;
    return andThen(this.keys.isInUse(key, now), (isInUse) =>
      this.judge({ token, accessToken }, isInUse, now),
    );
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

  /** What the time says of a token whose signature is right. */
  private judge(
    { token, accessToken }: Pick<VerifiedToken, 'token' | 'accessToken'>,
    isKeyInUse: boolean,
    now: number,
  ): AccessTokenVerification {
    if (isKeyInUse) {
      if (accessToken.issuedAt > now + this.expected.clockTolerance) return INVALID;
      // Exact, whatever the tolerance: an expired token costs a refresh, not a login.
      if (now < accessToken.expiresAt) return { status: 'valid', accessToken };
    }
    this.verified.remove(token);
    return isKeyInUse ? { status: 'expired', accessToken } : INVALID;
  }

  private read(encoded: string): AccessToken | undefined {
    const payload = parse(encoded);
    // Written again it has to be what was read: that leaves no room for claims that stand there twice, for numbers like
    // 1e400, for bytes that are not UTF-8, nor for any second spelling of the same token.
    if (Buffer.from(JSON.stringify(payload) ?? '').toString('base64url') !== encoded) return undefined;
    // Requests with the same token share what it says.
    return deepFreeze(fromPayload(payload, this.expected));
  }
}

function parse(encoded: string): unknown {
  try {
    return JSON.parse(Buffer.from(encoded, 'base64url').toString());
  } catch {
    return undefined;
  }
}
