import { andThen } from '../util/and-then.js';
import {
  type CsrfError,
  NoCredentialsError,
  SessionOverError,
  TokenTheftError,
  TryRefreshError,
} from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import { ActiveSession, type ClientLink } from '../session/active-session.js';
import type { AccessVerdict, SessionLifecycle } from '../session/session-lifecycle.js';
import type { SessionManager } from '../session/session-manager.js';
import type { SessionInput } from '../session/session.types.js';
import type { AccessToken, AccessTokenVerification, SignedAccessToken } from '../protocol/access-token.js';
import type { SessionFacts } from '../storage/session.store.js';
import type { AccessTokens } from '../tokens/access-tokens.js';
import type { RefreshTokens } from '../tokens/refresh-tokens.js';
import type { CsrfCheck } from './csrf-check.js';
import {
  areHeadersSent,
  type HttpRequest,
  type HttpResponse,
  requestHeader,
  setResponseHeader,
} from './exchange.js';
import { bearerToken } from './bearer-token.js';
import type { LateResponses } from './late-responses.js';
import { noCredentials, tryRefresh } from './refusals.js';
import type { RequestRefresher } from './request-refresher.js';
import type { AuthenticateOptions, SessionAuthenticator } from './session-authenticator.js';
import { NEW_ACCESS_TOKEN, type SessionTransport } from './session-transport.js';

/** What came of one access token of a request. */
type Outcome =
  | AccessVerdict
  | { readonly status: 'forged'; readonly error: CsrfError }
  | { readonly status: 'unusable' }
  /** There was no further token. */
  | { readonly status: 'none' };

type ActiveVerdict = Extract<AccessVerdict, { status: 'active' }>;

const NONE: Outcome = { status: 'none' };

/** Sessions over HTTP: finds the session of a request, refreshes it on the way, and keeps the client's cookies right. */
export class RequestAuthenticator implements SessionAuthenticator {
  constructor(
    private readonly accessTokens: Pick<AccessTokens, 'verify'>,
    private readonly refreshTokens: Pick<RefreshTokens, 'authenticate'>,
    private readonly lifecycle: SessionLifecycle,
    private readonly manager: SessionManager,
    private readonly refresher: RequestRefresher,
    private readonly transport: SessionTransport,
    private readonly csrf: CsrfCheck,
    private readonly responses: LateResponses,
    private readonly options: ResolvedOptions,
  ) {}

  /** Makes a session and gives the client its tokens; one that the client already had ends (no fixation). */
  async create(request: HttpRequest, response: HttpResponse, input: SessionInput): Promise<ActiveSession> {
    const now = Date.now();
    const device = { userAgent: requestHeader(request, 'user-agent'), ip: request.ip, ...input?.device };
    const tokens = await this.lifecycle.issue(input, now, device);
    await this.endPresent(request, now);
    await this.refresher.give(request, response, tokens, now);
    this.transport.clearMarker(request, response);
    this.responses.release(response);
    return this.activeSession(response, tokens.accessToken);
  }

  /**
   * Signs out: ends the sessions whose tokens a request carries, however old those look, and takes the cookies from the
   * client.
   *
   * @throws {@link CsrfError} | {@link KeysUnavailableError} | {@link StorageUnavailableError}
   */
  async signOut(
    request: HttpRequest,
    response: HttpResponse,
    options: AuthenticateOptions = {},
  ): Promise<void> {
    if (this.transport.hasTokens(request)) this.beginCsrfCheck(request, options);
    await this.endPresent(request, Date.now());
    this.clearCookies(response);
  }

  /**
   * The session of a request.
   *
   * @returns a promise only where there is something to wait for: not for a token that has been verified and proven before
   * @throws {@link NoCredentialsError} | {@link TryRefreshError} | {@link SessionOverError} | {@link TokenTheftError} |
   *   {@link LookAgainError} | {@link CsrfError} | {@link KeysUnavailableError} | {@link StorageUnavailableError}
   */
  authenticate(
    request: HttpRequest,
    response: HttpResponse,
    options: AuthenticateOptions = {},
  ): ActiveSession | Promise<ActiveSession> {
    const now = Date.now();
    // Looked up once: Express gives each request a prototype, so that V8 cannot remember where to find what.
    const { headers } = request;
    const bearer = bearerToken(headers.authorization);
    return bearer === undefined
      ? this.authenticateByCookies(request, headers.cookie, response, options, now)
      : this.authenticateByBearer(request, response, options, bearer, now);
  }

  /**
   * Refreshes the session of a request, whatever state its access token is in.
   *
   * @throws {@link NoCredentialsError} | {@link SessionOverError} | {@link TokenTheftError} | {@link LookAgainError} |
   *   {@link CsrfError} | {@link KeysUnavailableError} | {@link StorageUnavailableError}
   */
  async refresh(
    request: HttpRequest,
    response: HttpResponse,
    options: AuthenticateOptions = {},
  ): Promise<ActiveSession> {
    if (this.transport.readRefreshTokens(request).length === 0) throw noCredentials();
    const checksCsrf = this.beginCsrfCheck(request, options);
    return this.exchange(request, response, checksCsrf, Date.now());
  }

  /** Checks what the request alone tells; @returns whether the session's part of the check is still to come */
  private beginCsrfCheck(request: HttpRequest, { csrf = true }: AuthenticateOptions): boolean {
    const isConcerned = csrf && this.csrf.concerns(request);
    if (isConcerned) this.csrf.checkRequest(request);
    return isConcerned;
  }

  /** Without a refresh route, an unusable access token says so, too. */
  meansSignedOut(error: unknown): boolean {
    return (
      error instanceof NoCredentialsError ||
      error instanceof SessionOverError ||
      error instanceof TokenTheftError ||
      (error instanceof TryRefreshError && this.options.refreshPath === undefined)
    );
  }

  /** Takes the session's cookies from the client. */
  clearCookies(response: HttpResponse): void {
    this.transport.clear(response);
    this.responses.release(response);
  }

  private authenticateByCookies(
    request: HttpRequest,
    cookieHeader: string | undefined,
    response: HttpResponse,
    options: AuthenticateOptions,
    now: number,
  ): ActiveSession | Promise<ActiveSession> {
    const token = this.transport.readAccessToken(cookieHeader);
    if (token === undefined && !this.mayExchange(request)) throw noCredentials();
    const checksCsrf = this.beginCsrfCheck(request, options);
    const first = token === undefined ? NONE : this.tryToken(request, token, checksCsrf, now);
    if (!(first instanceof Promise) && first.status === 'active' && !first.replacement) {
      return this.activeSession(response, first.accessToken);
    }
    return this.authenticateInTurn(request, response, first, checksCsrf, now);
  }

  /** @param first what came of the first access token */
  private async authenticateInTurn(
    request: HttpRequest,
    response: HttpResponse,
    first: Outcome | Promise<Outcome>,
    checksCsrf: boolean,
    now: number,
  ): Promise<ActiveSession> {
    const others = this.transport.readAccessTokens(request).slice(1);
    let over: SessionOverError | undefined;
    let forged: CsrfError | undefined;
    for (
      let outcome = await first;
      outcome.status !== 'none';
      outcome = await this.tryNext(request, others, checksCsrf, now)
    ) {
      if (outcome.status === 'active') {
        const { accessToken, row, replacement } = outcome;
        if (replacement) {
          this.transport.writeAccessToken(response, replacement, row!.expiresAt, now);
          this.responses.watch(response, accessToken.sessionId, now);
        }
        return this.activeSession(response, accessToken);
      }
      if (outcome.status === 'over') over = outcome.error;
      if (outcome.status === 'forged') forged = outcome.error;
    }
    if (this.mayExchange(request)) return this.exchange(request, response, checksCsrf, now);
    if (forged) throw forged;
    // In endpoint mode, the refresh route sees the refresh token, and knows whether another session has taken this one's place.
    throw over && this.options.refresh === 'transparent' ? over : tryRefresh();
  }

  /** No page of another site can make a browser send this header, so that there is no forgery to check for. */
  private authenticateByBearer(
    request: HttpRequest,
    response: HttpResponse,
    options: AuthenticateOptions,
    token: string,
    now: number,
  ): ActiveSession | Promise<ActiveSession> {
    const outcome = this.tryToken(request, token, false, now);
    if (!(outcome instanceof Promise) && outcome.status === 'active') {
      return this.acceptBearer(response, outcome);
    }
    return Promise.resolve(outcome).then((settled) => {
      if (settled.status === 'active') return this.acceptBearer(response, settled);
      // The header may be for something else than this module.
      const hasCookies = this.transport.readAccessTokens(request).length > 0 || this.mayExchange(request);
      if (hasCookies) {
        return this.authenticateByCookies(request, request.headers.cookie, response, options, now);
      }
      throw settled.status === 'over' ? settled.error : tryRefresh();
    });
  }

  private acceptBearer(response: HttpResponse, { accessToken, replacement }: ActiveVerdict): ActiveSession {
    const give = ({ token, sessionId }: SignedAccessToken, refreshedAt?: number) => {
      if (areHeadersSent(response)) return;
      setResponseHeader(response, NEW_ACCESS_TOKEN, token);
      this.responses.watch(response, sessionId, refreshedAt);
    };
    if (replacement) give(replacement, Date.now());
    return new ActiveSession(accessToken, this.manager, {
      replace: async (row, present) => {
        const reissued = await this.lifecycle.reissue(row, present, Date.now());
        give(reissued);
        return reissued;
      },
      clear: () => undefined,
    });
  }

  /** Takes the first of the tokens from the list and tries it. */
  private tryNext(
    request: HttpRequest,
    accessTokens: string[],
    checksCsrf: boolean,
    now: number,
  ): Outcome | Promise<Outcome> {
    const token = accessTokens.shift();
    return token === undefined ? NONE : this.tryToken(request, token, checksCsrf, now);
  }

  private tryToken(
    request: HttpRequest,
    token: string,
    checksCsrf: boolean,
    now: number,
  ): Outcome | Promise<Outcome> {
    const verification = this.accessTokens.verify(token, now);
    return andThen(verification, (settled) => this.tryVerified(request, settled, checksCsrf, now));
  }

  private tryVerified(
    request: HttpRequest,
    verification: AccessTokenVerification,
    checksCsrf: boolean,
    now: number,
  ): Outcome | Promise<Outcome> {
    if (verification.status !== 'valid') return { status: 'unusable' };
    const { accessToken } = verification;
    const mismatch = checksCsrf ? this.csrf.checkSession(request, accessToken.sessionId) : undefined;
    return mismatch ? { status: 'forged', error: mismatch } : this.lifecycle.use(accessToken, now);
  }

  /** Whether the guard may exchange a refresh token that the request carries. */
  private mayExchange(request: HttpRequest): boolean {
    return this.options.refresh === 'transparent' && this.transport.readRefreshTokens(request).length > 0;
  }

  private async exchange(
    request: HttpRequest,
    response: HttpResponse,
    checksCsrf: boolean,
    now: number,
  ): Promise<ActiveSession> {
    const { accessToken } = await this.refresher.exchange(request, response, checksCsrf, now);
    return this.activeSession(response, accessToken);
  }

  private activeSession(response: HttpResponse, accessToken: AccessToken): ActiveSession {
    const { lifecycle, transport, responses } = this;
    return new ActiveSession(
      accessToken,
      this.manager,
      new CookieLink(lifecycle, transport, responses, response),
    );
  }

  /** Ends the sessions whose tokens, expired ones included, a request's cookies have. */
  private async endPresent(request: HttpRequest, now: number): Promise<void> {
    const ids = new Set<string>();
    for (const token of this.transport.readAccessTokens(request)) {
      const verification = await this.accessTokens.verify(token, now);
      if (verification.status !== 'invalid') ids.add(verification.accessToken.sessionId);
    }
    if (ids.size > 0) await this.manager.replace([...ids]);
    for (const text of this.transport.readRefreshTokens(request)) {
      try {
        const { sessionId, sessionSecret } = await this.refreshTokens.authenticate(text, now);
        if (!ids.has(sessionId)) await this.manager.replaceWithSecret(sessionId, sessionSecret);
      } catch (error) {
        if (!(error instanceof SessionOverError)) throw error;
      }
    }
  }
}

/** The client that a request with cookies came from. */
class CookieLink implements ClientLink {
  constructor(
    private readonly lifecycle: SessionLifecycle,
    private readonly transport: SessionTransport,
    private readonly responses: LateResponses,
    private readonly response: HttpResponse,
  ) {}

  async replace(row: SessionFacts, present: AccessToken): Promise<AccessToken> {
    const now = Date.now();
    const reissued = await this.lifecycle.reissue(row, present, now);
    if (!areHeadersSent(this.response)) {
      this.transport.writeAccessToken(this.response, reissued, row.expiresAt, now);
      this.responses.watch(this.response, row.id);
    }
    return reissued;
  }

  clear(): void {
    if (areHeadersSent(this.response)) return;
    this.transport.clear(this.response);
    this.responses.release(this.response);
  }
}
