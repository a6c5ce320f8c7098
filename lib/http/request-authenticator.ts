import {
  type CsrfError,
  HeadersSentError,
  ImpersonationRefusedError,
  InsufficientAuthenticationError,
  SessionOverError,
} from '../errors/session.errors.js';
import type { AccessTokenVerification } from '../protocol/access-token.js';
import { AuthenticatedSession } from '../session/authenticated-session.js';
import { andThen } from '../util/and-then.js';
import type { Clock } from '../util/clock.js';
import type { CsrfCheck } from './csrf-check.js';
import type { LostSecureCookies } from './lost-secure-cookies.js';
import { areHeadersSent, type HttpRequest, type HttpResponse } from './messages.js';
import type { MissingRefreshCookie } from './missing-refresh-cookie.js';
import { foreignToken, noCredentials, notExchanged, tryRefresh } from './refusals.js';
import type {
  AuthenticateOptions,
  ConnectionRegistry,
  ResponseFollower,
  SessionAuthenticator,
} from './session-authenticator.js';
import type { TokenAuthority, TokenUse } from './token-authority.js';
import type { TokenReader } from './transport/token-transport.js';

/** The result for one access token of a request. */
type Outcome = TokenUse | { readonly status: 'forged'; readonly error: CsrfError };

const UNUSABLE = { status: 'unusable' } as const;

/** The attempt to find the session with one transport. */
interface Attempt<TTransport> {
  readonly transport: TTransport;
  /** Whether the CSRF check must still compare the session. */
  readonly checksCsrf: boolean;
  /** The result for the transport's first access token. */
  readonly first: Outcome | Promise<Outcome>;
}

/**
 * Finds the session of a request. It tries the access tokens of each transport, in the order of the transports, and then
 * exchanges a refresh token.
 *
 * A request may have tokens in headers and in cookies. One rule says which of them count: if a header has a token of this
 * module's form, the headers alone; otherwise the cookies, with their CSRF check.
 */
export class RequestAuthenticator<
  TTransport extends TokenReader,
  TSession extends AuthenticatedSession,
> implements SessionAuthenticator {
  /** Sessions of requests that had to be checked for forgery, and were not, because a handler said so. */
  private readonly unchecked = new WeakSet<AuthenticatedSession>();

  constructor(
    readonly module: string,
    private readonly tokens: {
      verify(token: string, now: number): AccessTokenVerification | Promise<AccessTokenVerification>;
      hasForm(token: string): boolean;
      namesActor(token: string): boolean;
    },
    private readonly transports: readonly TTransport[],
    private readonly csrf: CsrfCheck,
    private readonly authority: TokenAuthority<TTransport, TSession>,
    private readonly clock: Clock,
    readonly connections: ConnectionRegistry,
    private readonly responses: ResponseFollower,
    private readonly missingRefreshCookie?: MissingRefreshCookie,
    private readonly lostCookies?: LostSecureCookies,
  ) {}

  /**
   * The session of a request.
   *
   * @returns a promise only if something must be waited for. A proven token that was verified before needs no promise
   * @throws {@link NoCredentialsError} | {@link TryRefreshError} | {@link SessionOverError} | {@link TokenTheftError} |
   *   {@link LookAgainError} | {@link CsrfError} | {@link KeysUnavailableError} | {@link StorageUnavailableError}
   */
  authenticate(
    request: HttpRequest,
    response: HttpResponse,
    options: AuthenticateOptions = {},
  ): TSession | Promise<TSession> {
    const now = this.clock.now();
    // Property look-ups on Express's requests are slow, because Express changes the prototype of each. So this is done once.
    const { headers } = request;
    for (const transport of this.transports) {
      const token = transport.readAccessToken(headers);
      if (token === undefined) {
        if (transport.isMeant(headers))
          return this.authenticateInTurn(request, response, options, undefined, now);
        continue;
      }
      const checksCsrf = this.beginCsrfCheck(request, transport, options);
      const first = this.tryToken(request, transport, token, checksCsrf, now);
      if (!(first instanceof Promise) && first.status === 'active' && !first.replacement) {
        const session = this.authority.accept(first, response, transport, now);
        return this.allow(session, request, response, transport, options, now);
      }
      return this.authenticateInTurn(request, response, options, { transport, checksCsrf, first }, now);
    }
    if (!this.transports.some((transport) => this.authority.mayExchange(request, response, transport))) {
      this.lostCookies?.refused(request, now);
      throw noCredentials();
    }
    return this.authenticateInTurn(request, response, options, undefined, now);
  }

  /**
   * Refreshes the session of a request, whether or not its access token is still valid.
   *
   * @throws {@link NoCredentialsError} | {@link SessionOverError} | {@link TokenTheftError} | {@link LookAgainError} |
   *   {@link CsrfError} | {@link ImpersonationRefusedError} | {@link HeadersSentError} | {@link KeysUnavailableError} |
   *   {@link StorageUnavailableError}
   */
  async refresh(
    request: HttpRequest,
    response: HttpResponse,
    options: AuthenticateOptions = {},
  ): Promise<TSession> {
    await this.refuseImpersonation(request);
    const transport = this.transportsOf(request).find((each) =>
      this.authority.hasRefreshTokens(request, each),
    );
    if (!transport) {
      await this.clearLeftovers(request, response);
      this.lostCookies?.refused(request, this.clock.now());
      throw noCredentials();
    }
    if (areHeadersSent(response)) throw new HeadersSentError();
    // A page that has lost its CSRF token gets it here, and so cannot show it.
    if (transport.isAmbient && options.csrf !== false) this.csrf.checkOrigin(request);
    return this.authority.exchange(
      request,
      response,
      transport,
      { comparesSession: false },
      this.clock.now(),
    );
  }

  /**
   * Nobody who acts as another user is refreshed. Nor are they answered as themselves, by the refresh token that they have, too.
   */
  private async refuseImpersonation(request: HttpRequest): Promise<void> {
    const now = this.clock.now();
    for (const transport of this.transportsOf(request)) {
      if (transport.isAmbient && !transport.isForImpersonation) continue;
      for (const token of transport.readAccessTokens(request)) {
        const outcome = await this.tryToken(request, transport, token, false, now);
        if (outcome.status === 'over' && outcome.error.impersonation) throw outcome.error;
        if (outcome.status === 'active' && outcome.accessToken.actor) throw new ImpersonationRefusedError();
      }
    }
  }

  /** Takes access tokens that are no longer good from a client that has no refresh token. It could never get rid of them. */
  private async clearLeftovers(request: HttpRequest, response: HttpResponse): Promise<void> {
    for (const transport of this.transportsOf(request)) {
      const tokens = transport.readAccessTokens(request);
      const now = this.clock.now();
      const verified = await Promise.all(tokens.map(async (token) => this.tokens.verify(token, now)));
      const isOurs = verified.some(({ status }) => status !== 'invalid');
      if (transport.isAmbient && isOurs) this.missingRefreshCookie?.notice(request);
      const areLeftovers = verified.length > 0 && verified.every(({ status }) => status !== 'valid');
      if (areLeftovers) this.authority.clear(response, transport);
    }
  }

  readmit(
    session: AuthenticatedSession,
    options: AuthenticateOptions = {},
  ): AuthenticatedSession | Promise<AuthenticatedSession> {
    const now = this.clock.now();
    // What its generation had to prove, it has proved at the handshake.
    const token = { ...AuthenticatedSession.accessTokenOf(session), unproven: undefined };
    return andThen(this.authority.use(token, now), (verdict) => {
      if (verdict.status === 'over') throw verdict.error;
      checkRules(session, options, now);
      return session;
    });
  }

  recheck(session: AuthenticatedSession, request: HttpRequest, options: AuthenticateOptions = {}): void {
    if (options.csrf !== false && this.unchecked.has(session)) {
      this.csrf.checkRequest(request);
      const mismatch = this.csrf.checkSession(request, session.id);
      if (mismatch) throw this.csrf.refusal(request, mismatch);
      this.unchecked.delete(session);
    }
    checkRules(session, options, this.clock.now());
  }

  isUnauthenticated(error: unknown): boolean {
    return this.authority.isUnauthenticated(error);
  }

  /** Whether the headers of a request decide, and its cookies do not count. */
  isByHeaders(request: HttpRequest): boolean {
    return this.transports.some(
      (each) =>
        !each.isAmbient &&
        (each.isMeant(request.headers) ||
          each.readAccessTokens(request).some((token) => this.tokens.hasForm(token))),
    );
  }

  /** The transports whose tokens count. */
  private transportsOf(request: HttpRequest): readonly TTransport[] {
    return this.isByHeaders(request)
      ? this.transports.filter(({ isAmbient }) => !isAmbient)
      : this.transports;
  }

  /**
   * Does the part of the CSRF check that needs only the request.
   *
   * @returns whether the part that needs the session must still be done
   */
  private beginCsrfCheck(
    request: HttpRequest,
    { isAmbient }: TTransport,
    { csrf = true }: AuthenticateOptions,
  ): boolean {
    const isConcerned = isAmbient && csrf && this.csrf.concerns(request);
    if (isConcerned) this.csrf.checkRequest(request);
    return isConcerned;
  }

  /**
   * Tries one transport after the other. If the tokens of one are not valid, the next one is tried: an `Authorization` header
   * that is not meant for this module does not keep the cookies from counting.
   *
   * @param begun the attempt that `authenticate` has started
   */
  private async authenticateInTurn(
    request: HttpRequest,
    response: HttpResponse,
    options: AuthenticateOptions,
    begun: Attempt<TTransport> | undefined,
    now: number,
  ): Promise<TSession> {
    let refusal: Error | undefined;
    const transports = this.transportsOf(request);
    const start = begun ? transports.indexOf(begun.transport) : 0;
    for (const transport of transports.slice(start)) {
      const attempt =
        transport === begun?.transport
          ? begun
          : this.beginAttempt(request, response, transport, options, now);
      if (!attempt) continue;
      const result = await this.finishAttempt(request, response, attempt, options, now);
      if (result instanceof Error) refusal = result;
      else return this.allow(result, request, response, transport, options, now);
    }
    throw refusal ?? noCredentials();
  }

  /** @returns `undefined` when the request has no token of this transport */
  private beginAttempt(
    request: HttpRequest,
    response: HttpResponse,
    transport: TTransport,
    options: AuthenticateOptions,
    now: number,
  ): Attempt<TTransport> | undefined {
    const { headers } = request;
    const token = transport.readAccessToken(headers);
    const isMeant = transport.isMeant(headers) || this.authority.mayExchange(request, response, transport);
    if (token === undefined && !isMeant) return undefined;
    const checksCsrf = this.beginCsrfCheck(request, transport, options);
    const first: Attempt<TTransport>['first'] =
      token === undefined ? UNUSABLE : this.tryToken(request, transport, token, checksCsrf, now);
    return { transport, checksCsrf, first };
  }

  /** @returns the session, or why there is none */
  private async finishAttempt(
    request: HttpRequest,
    response: HttpResponse,
    { transport, checksCsrf, first }: Attempt<TTransport>,
    { refresh: exchanges }: AuthenticateOptions,
    now: number,
  ): Promise<TSession | Error> {
    // A browser that has the cookie for several domains or paths sends all of them.
    const others = transport.readAccessTokens(request).slice(1);
    let over: SessionOverError | undefined;
    let forged: CsrfError | undefined;
    for (let outcome = await first; ;) {
      if (outcome.status === 'active') return this.authority.accept(outcome, response, transport, now);
      if (outcome.status === 'over') over = outcome.error;
      if (outcome.status === 'forged') forged = outcome.error;
      const token = others.shift();
      if (token === undefined) break;
      outcome = await this.tryToken(request, transport, token, checksCsrf, now);
    }
    // Who has acted as another user must not go on as themselves, by other tokens of the request, without knowing it.
    if (over?.impersonation) throw over;
    if (forged && transport.isForImpersonation) throw this.csrf.refusal(request, forged);
    const mayExchange = this.authority.mayExchange(request, response, transport);
    if (mayExchange && exchanges !== false)
      return this.authority.exchange(
        request,
        response,
        transport,
        { comparesSession: checksCsrf, forged },
        now,
      );
    if (forged) return this.csrf.refusal(request, forged);
    // As in endpoint mode: the refresh token decides whether the session is over.
    if (mayExchange) return notExchanged();
    const isForeign = !transport.isAmbient && !this.isByHeaders(request);
    return this.authority.refuse(over, transport) ?? (isForeign ? foreignToken() : tryRefresh());
  }

  private tryToken(
    request: HttpRequest,
    transport: TTransport,
    token: string,
    checksCsrf: boolean,
    now: number,
  ): Outcome | Promise<Outcome> {
    const verification = this.tokens.verify(token, now);
    // Without andThen(): its closure would be made for every request.
    return verification instanceof Promise
      ? verification.then((settled) => this.tryVerified(request, transport, token, settled, checksCsrf, now))
      : this.tryVerified(request, transport, token, verification, checksCsrf, now);
  }

  private tryVerified(
    request: HttpRequest,
    transport: TTransport,
    token: string,
    verification: AccessTokenVerification,
    checksCsrf: boolean,
    now: number,
  ): Outcome | Promise<Outcome> {
    if (verification.status !== 'valid') return this.judgeUnusable(transport, token, verification);
    const { accessToken } = verification;
    // Somebody has put a token of another kind into the cookie.
    if (transport.isForImpersonation && !accessToken.actor) return UNUSABLE;
    const mismatch = checksCsrf ? this.csrf.checkSession(request, accessToken.sessionId) : undefined;
    return mismatch ? { status: 'forged', error: mismatch } : this.authority.use(accessToken, now);
  }

  /**
   * A token of an impersonation that is not good any more says so. In its own cookie, and in a header, it need not be authentic:
   * the key of an old one may be gone, and the actor's refresh token beside it must not count. In another cookie, somebody else
   * may have set it.
   */
  private judgeUnusable(
    { isAmbient, isForImpersonation }: TTransport,
    token: string,
    verification: Exclude<AccessTokenVerification, { status: 'valid' }>,
  ): Outcome {
    if (verification.status === 'expired') {
      const { actor, expiresAt } = verification.accessToken;
      if (!actor) return UNUSABLE;
      const end = { endedAt: expiresAt, reason: 'expired' };
      return { status: 'over', error: new SessionOverError({ ...end, impersonation: true }) };
    }
    if ((isAmbient && !isForImpersonation) || !this.tokens.namesActor(token)) return UNUSABLE;
    return { status: 'over', error: new SessionOverError({ impersonation: true }) };
  }

  private allow(
    session: TSession,
    request: HttpRequest,
    response: HttpResponse,
    { isAmbient }: TTransport,
    options: AuthenticateOptions,
    now: number,
  ): TSession {
    if (options.csrf === false && isAmbient && this.csrf.concerns(request)) this.unchecked.add(session);
    checkRules(session, options, now);
    this.responses.follow(response, session);
    return session;
  }
}

/**
 * @throws {@link InsufficientAuthenticationError} when the user proved who they are too long ago
 * @throws {@link ImpersonationRefusedError} when somebody acts as the user, who has proved nothing
 */
export function checkRules(
  session: AuthenticatedSession,
  { maxAge, impersonated }: AuthenticateOptions,
  now: number,
): void {
  if ((impersonated === false || maxAge !== undefined) && session.actor)
    throw new ImpersonationRefusedError();
  if (maxAge !== undefined && now - session.authenticatedAt.getTime() > maxAge) {
    throw new InsufficientAuthenticationError(Math.floor(maxAge / 1_000));
  }
}
