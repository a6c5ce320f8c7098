import { deepFreeze } from '../util/deep-freeze.js';
import type { SigningKeys } from '../keys/signing-keys.js';
import type { AccessTokenVerification, SignedAccessToken } from '../protocol/access-token.js';
import { type AccessTokenExpectations, AccessTokenVerifier } from './access-token-verifier.js';
import { signJws } from './jws.js';
import { timeOfSessionId } from '../protocol/session-id.js';
import { type TokenSubject, toPayload } from '../protocol/access-token.payload.js';

/** Times in milliseconds. */
export interface AccessTokenSettings extends AccessTokenExpectations {
  readonly ttl: number;
}

/** Signs access tokens, and verifies them with the same keys. */
export class AccessTokens {
  private readonly verifier: AccessTokenVerifier;

  constructor(
    private readonly keys: SigningKeys,
    private readonly options: AccessTokenSettings,
    whileKeysAreRead?: (now: number) => void,
  ) {
    this.verifier = new AccessTokenVerifier(keys, options, whileKeysAreRead);
  }

  /** @param expiresAt epoch milliseconds. @default `now + ttl` */
  async sign(
    subject: TokenSubject,
    now: number,
    expiresAt = now + this.options.ttl,
  ): Promise<SignedAccessToken> {
    const { sessionId, userId, claims, authTime = null, amr, actor, unproven } = subject;
    const key = await this.keys.current(now);
    const { issuer, audience } = this.options;
    const issued = Math.floor(now / 1_000);
    const expiry = Math.floor(expiresAt / 1_000);
    const payload = toPayload(subject, { iat: issued, exp: expiry, iss: issuer, aud: audience });
    const token = await signJws(key, JSON.stringify(payload));
    return {
      token,
      sessionId,
      userId,
      claims: deepFreeze(claims),
      authTime: authTime === null ? timeOfSessionId(sessionId) : Math.floor(authTime / 1_000) * 1_000,
      amr: amr ?? [],
      actor: actor ? { userId: actor.userId, sessionId: actor.sessionId } : undefined,
      unproven,
      issuedAt: issued * 1_000,
      expiresAt: expiry * 1_000,
      kid: key.kid,
    };
  }

  /** See {@link AccessTokenVerifier.counts}. */
  get counts(): AccessTokenVerifier['counts'] {
    return this.verifier.counts;
  }

  /** See {@link AccessTokenVerifier.verify}. */
  verify(token: string, now: number): AccessTokenVerification | Promise<AccessTokenVerification> {
    return this.verifier.verify(token, now);
  }

  /** See {@link AccessTokenVerifier.hasForm}. */
  hasForm(token: string): boolean {
    return this.verifier.hasForm(token);
  }

  /** See {@link AccessTokenVerifier.namesActor}. */
  namesActor(token: string): boolean {
    return this.verifier.namesActor(token);
  }
}
