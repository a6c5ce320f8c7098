import {
  NoCredentialsError,
  SessionOverError,
  TokenTheftError,
  TryRefreshError,
} from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { AccessToken } from '../protocol/access-token.js';
import { ActiveSession } from '../session/active-session.js';
import type { AccessVerdict, SessionLifecycle } from '../session/session-lifecycle.js';
import type { SessionManager } from '../session/session-manager.js';
import type { Clock } from '../util/clock.js';
import type { CsrfCheck } from './csrf-check.js';
import { areHeadersSent, type HttpRequest, type HttpResponse } from './messages.js';
import type { LateResponses } from './late-responses.js';
import { markPrivate } from './private-responses.js';
import type { RequestRefresher } from './request-refresher.js';
import { ForeignTokenError, NotExchangedError } from './refusals.js';
import { ResponseLink } from './response-link.js';
import type { ActiveVerdict, CsrfProgress, TokenAuthority } from './token-authority.js';
import type { TokenTransport } from './transport/token-transport.js';

/** Decides with the sessions in the database. */
export class SessionAuthority implements TokenAuthority<TokenTransport, ActiveSession> {
  /** Read for every request. */
  private readonly marksPrivate: boolean;

  constructor(
    private readonly lifecycle: SessionLifecycle,
    private readonly manager: SessionManager,
    private readonly refresher: RequestRefresher,
    private readonly csrf: CsrfCheck,
    private readonly responses: LateResponses,
    private readonly options: ResolvedOptions,
    private readonly clock: Clock,
  ) {
    this.marksPrivate = options.caches.private;
  }

  use(accessToken: AccessToken, now: number): AccessVerdict | Promise<AccessVerdict> {
    return this.lifecycle.use(accessToken, now);
  }

  accept(
    { accessToken, row, replacement }: ActiveVerdict,
    response: HttpResponse,
    transport: TokenTransport,
    now: number,
  ): ActiveSession {
    if (replacement) {
      transport.writeAccessToken(response, replacement, row!, now);
      this.responses.watch(response, accessToken.sessionId, now);
    }
    if (this.marksPrivate) markPrivate(response);
    return this.sessionOf(accessToken, response, transport);
  }

  /** The session of an access token that the client has, or gets with this response. */
  sessionOf(accessToken: AccessToken, response: HttpResponse, transport: TokenTransport): ActiveSession {
    const { lifecycle, csrf, responses, clock } = this;
    const link = new ResponseLink(lifecycle, csrf, responses, transport, response, clock);
    return new ActiveSession(accessToken, this.manager, link);
  }

  hasRefreshTokens(request: HttpRequest, transport: TokenTransport): boolean {
    return transport.readRefreshTokens(request).length > 0;
  }

  mayExchange(request: HttpRequest, response: HttpResponse, transport: TokenTransport): boolean {
    // If the headers have been sent, the new tokens would be lost.
    return (
      this.options.refresh === 'transparent' &&
      this.hasRefreshTokens(request, transport) &&
      !areHeadersSent(response)
    );
  }

  async exchange(
    request: HttpRequest,
    response: HttpResponse,
    transport: TokenTransport,
    csrf: CsrfProgress,
    now: number,
  ): Promise<ActiveSession> {
    const { accessToken } = await this.refresher.exchange(request, response, transport, csrf, now);
    return this.sessionOf(accessToken, response, transport);
  }

  clear(response: HttpResponse, transport: TokenTransport): void {
    transport.clear(response);
  }

  refuse(over: SessionOverError | undefined, transport: TokenTransport): SessionOverError | undefined {
    // In endpoint mode, only the refresh route gets the refresh token. So it decides whether a new sign-in has replaced the
    // session.
    return this.options.refresh === 'endpoint' && transport.isAmbient ? undefined : over;
  }

  /** In transparent mode the guard has tried to refresh: a request with an unusable access token is unauthenticated, too. */
  isUnauthenticated(error: unknown): boolean {
    return (
      error instanceof NoCredentialsError ||
      error instanceof SessionOverError ||
      error instanceof TokenTheftError ||
      error instanceof ForeignTokenError ||
      (error instanceof TryRefreshError &&
        !(error instanceof NotExchangedError) &&
        this.options.refresh === 'transparent')
    );
  }
}
