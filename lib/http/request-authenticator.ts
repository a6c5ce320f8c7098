import {
  type CsrfError,
  NoCredentialsError,
  type SessionError,
  SessionOverError,
  TokenTheftError,
  TryRefreshError,
} from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { RefreshToken } from '../refresh-token/refresh-token.codec.js';
import type { RefreshTokens } from '../refresh-token/refresh-tokens.js';
import { ActiveSession } from '../session/active-session.js';
import type { SessionLifecycle, TokenSet } from '../session/session-lifecycle.js';
import type { SessionManager } from '../session/session-manager.js';
import type { SessionInput } from '../session/session.types.js';
import type { AccessToken } from '../access-token/access-tokens.js';
import type { CsrfCheck } from './csrf-check.js';
import {
  areHeadersSent,
  type HttpRequest,
  type HttpResponse,
  requestHeader,
  setResponseHeader,
} from './exchange.js';
import { ensureCookies } from './request-cookies.js';
import type { Credentials, SessionTransport } from './session-transport.js';

/** How a request is authenticated. */
export interface AuthenticateOptions {
  /** Whether unsafe methods are checked for cross-site forgery. @default true */
  csrf?: boolean;
}

/** Sessions over HTTP: finds the session of a request, refreshes it on the way, and keeps the client's cookies right. */
export class RequestAuthenticator {
  constructor(
    private readonly lifecycle: SessionLifecycle,
    private readonly manager: SessionManager,
    private readonly refreshTokens: RefreshTokens,
    private readonly transport: SessionTransport,
    private readonly csrf: CsrfCheck,
    private readonly options: ResolvedOptions,
  ) {}

  /** Makes a session and gives the client its tokens; one that the client already had ends (no fixation). */
  async create(request: HttpRequest, response: HttpResponse, input: SessionInput): Promise<ActiveSession> {
    const now = Date.now();
    const device = { userAgent: requestHeader(request, 'user-agent'), ip: request.ip, ...input?.device };
    const tokens = await this.lifecycle.issue({ ...input, device }, now);
    const credentials = this.transport.read(request);
    const replaced = await this.sessionsOf(credentials, now);
    if (replaced.length > 0) await this.manager.replace(replaced);
    return this.accept(request, response, tokens, now);
  }

  /**
   * The session of a request.
   *
   * @throws {@link NoCredentialsError} | {@link TryRefreshError} | {@link SessionOverError} | {@link TokenTheftError} |
   *   {@link CsrfError} | {@link KeysUnavailableError} | {@link StorageUnavailableError}
   */
  async authenticate(
    request: HttpRequest,
    response: HttpResponse,
    options: AuthenticateOptions = {},
  ): Promise<ActiveSession> {
    const now = Date.now();
    ensureCookies(request);
    const credentials = this.transport.read(request);
    const mayRefresh = this.options.refresh === 'transparent' && credentials.refreshTokens.length > 0;
    if (credentials.accessTokens.length === 0 && !mayRefresh) throw new NoCredentialsError();

    const checksCsrf = this.beginCsrfCheck(request, options);

    let over: SessionOverError | undefined;
    let forged: CsrfError | undefined;
    for (const token of credentials.accessTokens) {
      const verification = await this.lifecycle.verify(token, now);
      if (verification.status !== 'valid') continue;
      const mismatch = checksCsrf && this.csrf.checkSession(request, verification.accessToken.sessionId);
      if (mismatch) {
        forged = mismatch;
        continue;
      }
      const verdict = await this.lifecycle.use(verification.accessToken, now);
      if (verdict.status === 'active') {
        const { accessToken, row, replacement } = verdict;
        if (replacement) this.transport.writeAccessToken(response, replacement, row!.expiresAt, now);
        return this.activeSession(response, accessToken);
      }
      if (verdict.status === 'over') over = verdict.error;
    }

    if (mayRefresh) return this.exchange(request, response, credentials, checksCsrf, now);
    if (forged) throw forged;
    if (!over) throw new TryRefreshError();
    this.clearAfter(over, response, now);
    throw over;
  }

  /**
   * Refreshes the session of a request, whatever state its access token is in.
   *
   * @throws {@link NoCredentialsError} | {@link SessionOverError} | {@link TokenTheftError} | {@link CsrfError} |
   *   {@link KeysUnavailableError} | {@link StorageUnavailableError}
   */
  async refresh(
    request: HttpRequest,
    response: HttpResponse,
    options: AuthenticateOptions = {},
  ): Promise<ActiveSession> {
    const credentials = this.transport.read(request);
    if (credentials.refreshTokens.length === 0) throw new NoCredentialsError();
    const checksCsrf = this.beginCsrfCheck(request, options);
    return this.exchange(request, response, credentials, checksCsrf, Date.now());
  }

  /** Checks what the request alone tells; @returns whether the session's part of the check is still to come */
  private beginCsrfCheck(request: HttpRequest, { csrf = true }: AuthenticateOptions): boolean {
    const isConcerned = csrf && this.csrf.concerns(request);
    if (isConcerned) this.csrf.checkRequest(request);
    return isConcerned;
  }

  /** Takes the session's cookies from the client. */
  clearCookies(response: HttpResponse): void {
    this.transport.clear(response);
  }

  private async exchange(
    request: HttpRequest,
    response: HttpResponse,
    credentials: Credentials,
    checksCsrf: boolean,
    now: number,
  ): Promise<ActiveSession> {
    let failure: SessionOverError | undefined;
    let forged: CsrfError | undefined;
    const ours: RefreshToken[] = [];
    for (const text of credentials.refreshTokens) {
      try {
        ours.push(await this.lifecycle.authenticate(text, now));
      } catch (error) {
        if (!(error instanceof SessionOverError)) throw error;
        failure = error;
      }
    }
    for (const token of newestOfEachSession(ours)) {
      const mismatch = checksCsrf && this.csrf.checkSession(request, token.sessionId);
      if (mismatch) {
        forged = mismatch;
        continue;
      }
      try {
        const tokens = await this.lifecycle.refresh(token, now);
        return await this.accept(request, response, tokens, now);
      } catch (error) {
        if (error instanceof TokenTheftError) this.transport.clear(response);
        if (!(error instanceof SessionOverError)) throw error;
        failure = error;
      }
    }
    if (forged) throw forged;
    this.clearAfter(failure!, response, now);
    throw failure!;
  }

  private async accept(
    request: HttpRequest,
    response: HttpResponse,
    tokens: TokenSet,
    now: number,
  ): Promise<ActiveSession> {
    this.transport.clearFormerDomains(request, response);
    this.transport.writeTokens(response, tokens, now);
    if (this.options.csrf.mode === 'token') {
      const token = await this.refreshTokens.csrfToken(tokens.row.id, now);
      setResponseHeader(response, this.options.csrf.header, token);
    }
    return this.activeSession(response, tokens.accessToken);
  }

  private activeSession(response: HttpResponse, accessToken: AccessToken): ActiveSession {
    return new ActiveSession(accessToken, this.manager, {
      replace: async (row, present) => {
        const now = Date.now();
        const reissued = await this.lifecycle.reissue(row, present, now);
        if (!areHeadersSent(response))
          this.transport.writeAccessToken(response, reissued, row.expiresAt, now);
        return reissued;
      },
      clear: () => {
        if (!areHeadersSent(response)) this.transport.clear(response);
      },
    });
  }

  /**
   * Clears the cookies of a session that is over. Right after it ended they are left alone: this request may have been
   * overtaken by a new sign-in, whose cookies would be lost. The client's next request with the old ones clears them.
   */
  private clearAfter(over: SessionOverError, response: HttpResponse, now: number): void {
    const isRecent = over.endedAt !== undefined && now - over.endedAt < this.options.reuseWindow;
    if (over.final && !isRecent) this.transport.clear(response);
  }

  /** Ids of the sessions whose tokens, expired ones included, a request carries. */
  private async sessionsOf({ accessTokens, refreshTokens }: Credentials, now: number): Promise<string[]> {
    const ids = new Set<string>();
    for (const token of accessTokens) {
      const verification = await this.lifecycle.verify(token, now);
      if (verification.status !== 'invalid') ids.add(verification.accessToken.sessionId);
    }
    for (const text of refreshTokens) {
      try {
        ids.add((await this.lifecycle.authenticate(text, now)).sessionId);
      } catch (error) {
        if (!(error instanceof SessionOverError)) throw error;
      }
    }
    return [...ids];
  }
}

/** Where a client holds duplicates of the refresh cookie, an older token of the same session is a leftover, not a theft. */
function newestOfEachSession(tokens: readonly RefreshToken[]): RefreshToken[] {
  const seen = new Set<string>();
  return tokens
    .toSorted((a, b) => b.issuedAt - a.issuedAt)
    .filter(({ sessionId }) => !seen.has(sessionId) && seen.add(sessionId));
}

/** Whether an error says that nobody is signed in, as opposed to: that could not be found out, or must not be ignored. */
export function meansSignedOut(error: unknown): error is SessionError {
  return (
    error instanceof NoCredentialsError ||
    error instanceof SessionOverError ||
    error instanceof TokenTheftError
  );
}
