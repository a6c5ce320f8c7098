import { CsrfError, SessionOverError, TryRefreshError } from '../errors/session.errors.js';
import type { SignedAccessToken } from '../protocol/access-token.js';
import type { SessionCap } from '../session/session-cap.js';
import type { SessionManager } from '../session/session-manager.js';
import type { SessionLifecycle, TokenSet } from '../session/session-lifecycle.js';
import { toInfo } from '../session/session-info.js';
import type {
  DeviceInput,
  ImpersonatedSession,
  ImpersonationInput,
  IssuedSession,
  IssuedToken,
  RefreshedSession,
  SessionInput,
} from '../session/session.types.js';
import { VerifiedSession } from '../session/verified-session.js';
import type { AccessTokens } from '../tokens/access-tokens.js';
import type { RefreshTokens } from '../tokens/refresh-tokens.js';
import type { Clock } from '../util/clock.js';

const NONE: ReadonlySet<string> = new Set();

/** The parts that {@link SessionTokens} calls. */
export interface TokenParts {
  readonly accessTokens: AccessTokens;
  readonly refreshTokens: RefreshTokens;
  readonly lifecycle: SessionLifecycle;
  readonly cap: SessionCap;
  readonly manager: SessionManager;
  readonly clock: Clock;
}

/** Issues, verifies and refreshes tokens without HTTP, for clients that do not use cookies: `sessions.tokens`. */
export class SessionTokens {
  readonly #parts: TokenParts;

  constructor(parts: TokenParts) {
    this.#parts = parts;
  }

  /**
   * Makes a session and returns its tokens.
   *
   * @throws {@link InvalidUserIdError} | {@link InvalidClaimsError} | {@link InvalidDataError} | {@link InvalidInputError} |
   *   {@link TooManySessionsError}
   */
  async issue(input: SessionInput): Promise<IssuedSession> {
    const now = this.#parts.clock.now();
    const tokens = await this.#parts.lifecycle.issue(input, now, (row) => this.#parts.cap.insert(row, NONE));
    const refreshed = await this.#toRefreshed(tokens, now);
    return { ...refreshed, refreshToken: refreshed.refreshToken! };
  }

  /**
   * Makes a session in which one user acts as another one, and returns its access token. There is no refresh token. It ends
   * when its time is over, when it is revoked, and with the actor's session. The application decides who may do that.
   *
   * @param actorSessionId the id of the actor's session
   * @throws {@link SessionNotFoundError} when the actor's session is over
   * @throws {@link ImpersonationRefusedError} when the actor's session is such a session itself
   * @throws {@link InvalidUserIdError} | {@link InvalidClaimsError} | {@link InvalidDataError} | {@link InvalidInputError}
   */
  async impersonate(actorSessionId: string, input: ImpersonationInput): Promise<ImpersonatedSession> {
    const { lifecycle, cap, manager, clock } = this.#parts;
    const actor = await manager.getRow(actorSessionId);
    const now = clock.now();
    const tokens = await lifecycle.impersonate(actor, input, now, async (row) => cap.exempt(row));
    const { session, accessToken, csrfToken } = await this.#toRefreshed(tokens, now);
    return { session, accessToken, csrfToken };
  }

  /**
   * Verifies an access token. On the first use of a token from a refresh, after the reuse window, the result has a
   * `newAccessToken` that replaces it.
   *
   * @param options.csrfToken the CSRF token of the request. If this member is there, it must be the session's
   * @throws {@link TryRefreshError} when it has expired, or this module has not made it
   * @throws {@link CsrfError} when `csrfToken` is there, and is not the session's
   * @throws {@link SessionOverError} when its session is known to be over, and when an impersonation has expired
   */
  async verify(accessToken: string, options: { csrfToken?: string } = {}): Promise<VerifiedSession> {
    const now = this.#parts.clock.now();
    const verification = await this.#parts.accessTokens.verify(accessToken, now);
    // The client must not go on as the actor, by the actor's refresh token.
    if (verification.status === 'expired' && verification.accessToken.actor)
      throw new SessionOverError({ reason: 'expired', impersonation: true });
    if (verification.status !== 'valid') throw new TryRefreshError();
    this.#checkCsrfToken(verification.accessToken.sessionId, options);
    const verdict = await this.#parts.lifecycle.use(verification.accessToken, now);
    if (verdict.status === 'over') throw verdict.error;
    if (verdict.status === 'stale') throw new TryRefreshError();
    return new VerifiedSession(verdict.accessToken, verdict.replacement && toIssued(verdict.replacement));
  }

  /**
   * Exchanges a refresh token.
   *
   * @param options.lookedAgain the `tokenId` of the {@link LookAgainError} that answered the client's previous call. If it
   *   is the id of this token, the client has looked again and has no newer token
   * @param options.device the client, for the events `stale` and `theft`
   * @throws {@link LookAgainError} when the token looks old, or its session is over, and the client has not looked again
   * @throws {@link SessionOverError} when this module has not made the token, or its session is over
   * @throws {@link TokenTheftError} when another party has used the token; the session is already revoked
   */
  async refresh(
    refreshToken: string,
    options: { lookedAgain?: string; device?: DeviceInput } = {},
  ): Promise<RefreshedSession> {
    const now = this.#parts.clock.now();
    const token = await this.#parts.refreshTokens.authenticate(refreshToken, now);
    const hasLookedAgain = options?.lookedAgain === token.tokenId;
    const client = () => options?.device;
    return this.#toRefreshed(await this.#parts.lifecycle.refresh(token, now, hasLookedAgain, client), now);
  }

  #checkCsrfToken(sessionId: string, options: { csrfToken?: string } | null): void {
    // A request without the token gives undefined: that is not the same as not to ask for it.
    if (!options || !('csrfToken' in options)) return;
    const { csrfToken } = options;
    if (typeof csrfToken === 'string' && this.#parts.refreshTokens.isCsrfToken(csrfToken, sessionId)) return;
    throw new CsrfError('The CSRF token is not this session’s.');
  }

  async #toRefreshed({ row, accessToken, refreshToken }: TokenSet, now: number): Promise<RefreshedSession> {
    return {
      session: toInfo(row),
      accessToken: toIssued(accessToken),
      refreshToken:
        refreshToken === undefined ? undefined : { token: refreshToken, expiresAt: new Date(row.expiresAt) },
      csrfToken: await this.#parts.refreshTokens.csrfToken(row.id, now),
    };
  }
}

function toIssued({ token, expiresAt }: SignedAccessToken): IssuedToken {
  return { token, expiresAt: new Date(expiresAt) };
}
