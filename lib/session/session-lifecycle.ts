import { randomBytes } from 'node:crypto';
import { andThen } from '../and-then.js';
import type {
  AccessToken,
  AccessTokenVerification,
  SignedAccessToken,
  UnprovenToken,
} from '../access-token/access-token.js';
import type { AccessTokens } from '../access-token/access-tokens.js';
import { describeLargestClaim, UNPROVEN_OVERHEAD } from '../access-token/payload.js';
import { InvalidClaimsError, SessionOverError, TokenTheftError } from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { RefreshToken } from '../refresh-token/refresh-token.codec.js';
import { hashSessionSecret, proofOf } from '../refresh-token/session-secret.js';
import type { RefreshTokens } from '../refresh-token/refresh-tokens.js';
import type { RevocationChecker } from '../revocation/revocation-checker.js';
import { isWorthReplacing } from '../rotation/rotation.js';
import type { SessionRotator } from '../rotation/session-rotator.js';
import type { SessionFacts, SessionRow, SessionStore } from '../storage/session.store.js';
import type { JsonValue } from './json.js';
import type { SessionEvents } from './session-events.js';
import { newSessionId } from './session-id.js';
import { checkSessionInput } from './session-input.js';
import type { SessionInput } from './session.types.js';

/** The tokens that a client is to have from now on; `refreshToken` is absent where it keeps the one it has. */
export interface TokenSet {
  readonly row: SessionRow;
  readonly accessToken: SignedAccessToken;
  readonly refreshToken: string | undefined;
}

/** What became of an access token of ours. */
export type AccessVerdict =
  /**
   * `row` is there when the database was asked, `replacement` when the client is to get that token, a proven one, for
   * the one it used.
   */
  | {
      readonly status: 'active';
      readonly accessToken: AccessToken;
      readonly row?: SessionFacts;
      readonly replacement?: SignedAccessToken;
    }
  /** Of a generation that is over: the refresh token decides. */
  | { readonly status: 'stale' }
  | { readonly status: 'over'; readonly error: SessionOverError };

/** A session's life in terms of tokens, without HTTP: sign-in, use, refresh. */
export class SessionLifecycle {
  constructor(
    private readonly store: SessionStore,
    private readonly accessTokens: AccessTokens,
    private readonly refreshTokens: RefreshTokens,
    private readonly rotator: SessionRotator,
    private readonly revocation: RevocationChecker,
    private readonly events: SessionEvents,
    private readonly options: ResolvedOptions,
    /** Characters that an access token may have; the transport knows what it can carry. */
    private readonly maxTokenLength: number,
  ) {}

  /**
   * Makes a session and its tokens.
   *
   * @param device what the list of devices shows. @default what the input says
   * @throws {@link InvalidUserIdError} | {@link InvalidClaimsError} | {@link InvalidDataError}
   */
  async issue(input: SessionInput, now: number, device?: SessionInput['device']): Promise<TokenSet> {
    const checked = checkSessionInput(input, device);
    const sessionSecret = randomBytes(16);
    const row: SessionRow = {
      id: newSessionId(now),
      secretHash: hashSessionSecret(sessionSecret),
      version: 1,
      generation: 0,
      generationIssuedAt: now,
      redeemedBy: null,
      previousRedeemedBy: null,
      createdAt: now,
      lastSeenAt: now,
      expiresAt: now + this.options.refreshToken.ttl,
      revokedAt: null,
      ...checked,
    };
    const accessToken = await this.accessTokens.sign(subjectOf(row), now);
    this.checkSize(accessToken, row.claims);
    const refreshToken = await this.refreshTokens.make({
      sessionId: row.id,
      generation: 0,
      issuedAt: now,
      sessionSecret,
    });
    await this.store.insert(row);
    this.events.emit({ type: 'created', sessionId: row.id, userId: row.userId });
    return { row, accessToken, refreshToken };
  }

  /** Verifies an access token: whether it is one of ours, and whether it has expired. Asks no database. */
  verify(token: string, now: number): AccessTokenVerification | Promise<AccessTokenVerification> {
    return this.accessTokens.verify(token, now);
  }

  /**
   * Accepts a valid access token, unless its session is over; on the first use of an unproven one, proves its generation.
   *
   * @returns a promise only where there is something to wait for
   */
  use(accessToken: AccessToken, now: number): AccessVerdict | Promise<AccessVerdict> {
    if (accessToken.unproven) return this.prove(accessToken, now);
    const endedAt = this.revocation.endedAt(accessToken.sessionId, now);
    return andThen(endedAt, (settled) => verdictOf(accessToken, settled));
  }

  /**
   * Authenticates a refresh token, without exchanging it.
   *
   * @throws {@link SessionOverError} when it is not one of ours
   */
  async authenticate(refreshToken: string, now: number): Promise<RefreshToken> {
    return this.refreshTokens.authenticate(refreshToken, now);
  }

  /**
   * Exchanges an authentic refresh token.
   *
   * @throws {@link SessionOverError} | {@link TokenTheftError}
   */
  async refresh(token: RefreshToken, now: number): Promise<TokenSet> {
    const { sessionId, sessionSecret } = token;
    try {
      const proof = proofOf(sessionSecret);
      const { row, generation, keptFrom } = await this.rotator.refresh(token, proof, now);
      const unproven = { generation, issuedAt: keptFrom ?? now, proof };
      const accessToken = await this.accessTokens.sign(subjectOf(row, unproven), now);
      if (keptFrom !== undefined) return { row, accessToken, refreshToken: undefined };
      const refreshToken = await this.refreshTokens.make({
        sessionId,
        generation,
        issuedAt: now,
        sessionSecret,
      });
      this.events.emit({ type: 'refreshed', sessionId, userId: row.userId });
      return { row, accessToken, refreshToken };
    } catch (error) {
      if (error instanceof TokenTheftError) {
        this.revocation.revoked([error.sessionId], now);
        this.events.emit({ type: 'theft', sessionId: error.sessionId, userId: error.userId });
      }
      throw error;
    }
  }

  /**
   * An access token with new claims, for a client whose present one is proven or has just been. It expires when that
   * does, so that updating claims prolongs nothing, but not before all messages now in flight have arrived.
   */
  async reissue(row: SessionFacts, present: AccessToken, now: number): Promise<SignedAccessToken> {
    const expiresAt = Math.max(present.expiresAt, now + 2 * this.options.reuseWindow);
    const { unproven } = present;
    return this.accessTokens.sign(subjectOf(row, unproven), now, expiresAt);
  }

  /** @throws {@link InvalidClaimsError} when an access token with these claims would not fit into a cookie */
  async checkClaimsFit(row: SessionFacts, claims: JsonValue, now: number): Promise<void> {
    this.checkSize(await this.accessTokens.sign({ ...subjectOf(row), claims }, now), claims);
  }

  private async prove(accessToken: AccessToken, now: number): Promise<AccessVerdict> {
    try {
      const row = await this.rotator.use(accessToken, now);
      if (!row) return { status: 'stale' };
      if (!isWorthReplacing(accessToken.expiresAt, now, this.options.reuseWindow)) {
        return { status: 'active', accessToken, row };
      }
      const replacement = await this.accessTokens.sign(subjectOf(row), now, accessToken.expiresAt);
      return { status: 'active', accessToken: replacement, row, replacement };
    } catch (error) {
      if (error instanceof SessionOverError) return { status: 'over', error };
      throw error;
    }
  }

  private checkSize({ token }: SignedAccessToken, claims: JsonValue): void {
    const excess = token.length + UNPROVEN_OVERHEAD - this.maxTokenLength;
    if (excess <= 0) return;
    throw new InvalidClaimsError(
      `With these claims the access token would be ${excess} bytes too long for a cookie. ${describeLargestClaim(claims)}. Keep it in the session's data instead.`,
    );
  }
}

function verdictOf(accessToken: AccessToken, endedAt: number | undefined): AccessVerdict {
  return endedAt === undefined
    ? { status: 'active', accessToken }
    : { status: 'over', error: new SessionOverError({ endedAt }) };
}

function subjectOf(row: SessionFacts, unproven?: UnprovenToken) {
  return { sessionId: row.id, userId: row.userId, claims: row.claims, unproven };
}
