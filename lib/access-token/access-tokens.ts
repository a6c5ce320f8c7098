import { errors, jwtVerify, SignJWT } from 'jose';
import type { SigningKeys } from '../keys/signing-keys.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { Unproven } from '../rotation/rotation.js';
import type { JsonValue } from '../session/json.js';
import { fromPayload, toPayload } from './payload.js';

/** What an access token says. Times are epoch milliseconds, exact to the second. */
export interface AccessToken {
  readonly sessionId: string;
  readonly userId: string | number;
  readonly claims: JsonValue;
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Present until the token's generation has been proven. */
  readonly unproven: Unproven | undefined;
}

/** An access token with its text for the client. */
export interface SignedAccessToken extends AccessToken {
  readonly token: string;
}

export type AccessTokenVerification =
  | { readonly status: 'valid'; readonly accessToken: AccessToken }
  /** Ours in every respect, but expired. */
  | { readonly status: 'expired'; readonly accessToken: AccessToken }
  | { readonly status: 'invalid' };

const TYPE = 'at+jwt'; // RFC 9068, 2.1
const INVALID: AccessTokenVerification = { status: 'invalid' };

/** The one place that signs and verifies access tokens. */
export class AccessTokens {
  constructor(
    private readonly keys: SigningKeys,
    private readonly options: ResolvedOptions['accessToken'],
  ) {}

  /** @param expiresAt epoch milliseconds; defaults to the configured life from now */
  async sign(
    subject: Pick<AccessToken, 'sessionId' | 'userId' | 'claims' | 'unproven'>,
    now: number,
    expiresAt = now + this.options.ttl,
  ): Promise<SignedAccessToken> {
    const { sessionId, userId, claims, unproven } = subject;
    const key = await this.keys.current(now);
    const issued = Math.floor(now / 1_000);
    const expiry = Math.floor(expiresAt / 1_000);
    const jwt = new SignJWT(toPayload(subject))
      .setProtectedHeader({ alg: key.algorithm, kid: key.kid, typ: TYPE })
      .setIssuedAt(issued)
      .setExpirationTime(expiry);
    if (this.options.issuer !== undefined) jwt.setIssuer(this.options.issuer);
    if (this.options.audience !== undefined) jwt.setAudience(this.options.audience);
    const token = await jwt.sign(key.signKey);
    return {
      token,
      sessionId,
      userId,
      claims,
      unproven,
      issuedAt: issued * 1_000,
      expiresAt: expiry * 1_000,
    };
  }

  /**
   * Verifies signature, type, issuer, audience and times. The algorithm is the key's own, whatever the header says.
   *
   * @throws {@link KeysUnavailableError} | {@link StorageUnavailableError} when the token's key had to be looked up and
   *   could not; that says nothing about the token
   */
  async verify(token: string, now: number): Promise<AccessTokenVerification> {
    try {
      const { payload } = await jwtVerify(
        token,
        async ({ kid, alg }) => {
          const key = kid === undefined ? undefined : await this.keys.forVerification(kid, now);
          if (!key || key.algorithm !== alg) throw new errors.JWKSNoMatchingKey();
          return key.verifyKey;
        },
        {
          typ: TYPE,
          currentDate: new Date(now),
          requiredClaims: ['sub', 'sid', 'iat', 'exp'],
          ...(this.options.issuer !== undefined && { issuer: this.options.issuer }),
          ...(this.options.audience !== undefined && { audience: this.options.audience }),
        },
      );
      const accessToken = fromPayload(payload);
      return accessToken ? { status: 'valid', accessToken } : INVALID;
    } catch (error) {
      if (error instanceof errors.JWTExpired) {
        const accessToken = fromPayload(error.payload);
        return accessToken ? { status: 'expired', accessToken } : INVALID;
      }
      if (error instanceof errors.JOSEError) return INVALID;
      throw error;
    }
  }
}
