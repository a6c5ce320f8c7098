import { HeadersSentError } from '../errors/session.errors.js';
import type { ActiveSession } from '../session/active-session.js';
import type { SessionLifecycle } from '../session/session-lifecycle.js';
import type { SessionManager } from '../session/session-manager.js';
import type { RevokeOptions, SessionInput } from '../session/session.types.js';
import type { AccessTokens } from '../tokens/access-tokens.js';
import type { RefreshTokens } from '../tokens/refresh-tokens.js';
import type { Clock } from '../util/clock.js';
import type { CsrfCheck } from './csrf-check.js';
import { deviceOf } from './device-of.js';
import { areHeadersSent, type HttpRequest, type HttpResponse } from './messages.js';
import type { LateResponses } from './late-responses.js';
import type { AuthenticateOptions } from './session-authenticator.js';
import type { SessionAuthority } from './session-authority.js';
import type { TokenTransport } from './transport/token-transport.js';

/** Signs clients in and out over HTTP. Both end the sessions that the request carries. */
export class SignInOut {
  /**
   * @param transport writes the tokens of a sign-in
   * @param transports read the tokens that a request may already carry
   */
  constructor(
    private readonly accessTokens: Pick<AccessTokens, 'verify'>,
    private readonly refreshTokens: Pick<RefreshTokens, 'authenticateEach'>,
    private readonly lifecycle: SessionLifecycle,
    private readonly manager: SessionManager,
    private readonly authority: SessionAuthority,
    private readonly transport: TokenTransport,
    private readonly transports: readonly TokenTransport[],
    private readonly csrf: CsrfCheck,
    private readonly responses: LateResponses,
    private readonly clock: Clock,
  ) {}

  /** Makes a session and gives the client its tokens. A session that the client already had ends (against fixation). */
  async signIn(
    request: HttpRequest,
    response: HttpResponse,
    input: SessionInput,
    { csrf = true }: AuthenticateOptions = {},
  ): Promise<ActiveSession> {
    if (areHeadersSent(response)) throw new HeadersSentError();
    // A form of another site could make its visitor the attacker's user.
    if (csrf && this.transport.isAmbient) this.csrf.checkOrigin(request);
    const now = this.clock.now();
    const device = { ...deviceOf(request), ...input?.device };
    const tokens = await this.lifecycle.issue(input, now, device);
    await this.endPresent(request, { reason: 'replaced', by: tokens.row.userId }, now);
    this.transport.writeSignIn(request, response, tokens, now);
    await this.csrf.giveToken(response, tokens.row.id, now);
    this.responses.release(response);
    return this.authority.sessionOf(tokens.accessToken, response, this.transport);
  }

  /**
   * Ends the sessions whose tokens a request carries, even if these tokens look old, and clears the client's tokens.
   *
   * @throws {@link CsrfError} | {@link KeysUnavailableError} | {@link StorageUnavailableError}
   */
  async signOut(
    request: HttpRequest,
    response: HttpResponse,
    { csrf = true }: AuthenticateOptions = {},
  ): Promise<void> {
    const isForgeable = this.transports.some((each) => each.isAmbient && hasTokens(request, each));
    if (csrf && isForgeable) this.csrf.checkOrigin(request);
    await this.endPresent(request, { reason: 'logout' }, this.clock.now());
    this.clear(response, request);
  }

  /** Clears the client's tokens. */
  clear(response: HttpResponse, request?: HttpRequest): void {
    for (const transport of this.transports) transport.clearAtSignOut(response, request);
    this.responses.release(response);
  }

  /**
   * Ends the sessions whose tokens a request carries. An expired access token, which opens nothing any more, ends its session
   * only if its user signs out: somebody may have planted it in the jar of a client that signs in.
   */
  private async endPresent(request: HttpRequest, why: RevokeOptions, now: number): Promise<void> {
    const ids = new Set<string>();
    for (const transport of this.transports) {
      for (const token of transport.readAccessTokens(request)) {
        const verification = await this.accessTokens.verify(token, now);
        if (verification.status === 'invalid') continue;
        const isGood = verification.status === 'valid' || why.reason === 'logout';
        if (isGood) ids.add(verification.accessToken.sessionId);
      }
    }
    if (ids.size > 0) await this.manager.revokeMany([...ids], why);
    const texts = this.transports.flatMap((each) => each.readRefreshTokens(request));
    const { authentic } = await this.refreshTokens.authenticateEach(texts, now);
    for (const { sessionId, sessionSecret } of authentic) {
      if (!ids.has(sessionId)) await this.manager.revokeWithSecret(sessionId, sessionSecret, why);
    }
  }
}

function hasTokens(request: HttpRequest, transport: TokenTransport): boolean {
  return transport.readAccessTokens(request).length > 0 || transport.readRefreshTokens(request).length > 0;
}
