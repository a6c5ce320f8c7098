import { HeadersSentError, InvalidInputError } from '../errors/session.errors.js';
import type { SessionRow } from '../storage/session.store.js';
import type { ActiveSession } from '../session/active-session.js';
import type { SessionActor } from '../types/actor.js';
import type { RefreshToken } from '../protocol/refresh-token.codec.js';
import type { SessionCap } from '../session/session-cap.js';
import type { SessionLifecycle } from '../session/session-lifecycle.js';
import type { SessionManager } from '../session/session-manager.js';
import type { ImpersonationInput, RevokeOptions, SessionInput } from '../session/session.types.js';
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
import { listOf, type Transports } from './transport/transports.js';

/** Signs clients in and out over HTTP, also as other users. Sign-in and sign-out end the sessions that the request carries. */
export class SignInOut {
  /** The transports read the tokens that a request may already carry. */
  private readonly transports: readonly TokenTransport[];

  /** @param isByHeaders whether the headers of a request decide, and its cookies do not count */
  constructor(
    private readonly accessTokens: Pick<AccessTokens, 'verify'>,
    private readonly refreshTokens: Pick<RefreshTokens, 'authenticateEach'>,
    private readonly lifecycle: SessionLifecycle,
    private readonly cap: SessionCap,
    private readonly manager: SessionManager,
    private readonly authority: SessionAuthority,
    private readonly ways: Transports,
    private readonly isByHeaders: (request: HttpRequest) => boolean,
    private readonly csrf: CsrfCheck,
    private readonly responses: LateResponses,
    private readonly clock: Clock,
  ) {
    this.transports = listOf(ways);
  }

  /**
   * Makes a session and gives the client its tokens. A session that the client already had ends (against fixation).
   *
   * @param predecessor the session that goes on in the new one. Its tokens go the way that the present ones have come
   * @throws {@link SessionOverError} when that was revoked meanwhile
   * @throws {@link InvalidInputError} when a client with cookies asks for tokens in headers
   */
  async signIn(
    request: HttpRequest,
    response: HttpResponse,
    input: SessionInput,
    { csrf = true }: AuthenticateOptions = {},
    predecessor?: string,
  ): Promise<ActiveSession> {
    if (areHeadersSent(response)) throw new HeadersSentError();
    const transport = this.wayFor(request, predecessor);
    // A form of another site could make its visitor the attacker's user, or end the visitor's session.
    const isForgeable = transport.isAmbient || this.hasAmbientTokens(request);
    if (csrf && isForgeable) this.csrf.checkOrigin(request);
    // The handler may believe these cookies. A script, which cannot read them, would get tokens for them that it can read.
    if (isForgeable && !transport.isAmbient && predecessor === undefined) {
      throw new InvalidInputError(
        'The request asks for tokens in headers, and has tokens in cookies. Send it without cookies (credentials: "omit"), or sign out first.',
      );
    }
    const now = this.clock.now();
    const device = { ...deviceOf(request), ...input?.device };
    const present = await this.presentSessions(request, 'replaced', now);
    const insert = async (row: SessionRow) => this.cap.insert(row, present.ids);
    const tokens = await this.lifecycle.issue(input, now, insert, device, predecessor);
    await this.end(present, { reason: 'replaced', by: tokens.row.userId });
    if (predecessor !== undefined) await this.manager.revokeUnlessReplaced(tokens.row.id, predecessor);
    transport.writeSignIn(request, response, tokens, now);
    if (transport.isAmbient) {
      this.ways.impersonation?.clear(response, request);
      await this.csrf.giveToken(response, tokens.row.id, now);
    }
    this.responses.release(response);
    return this.authority.sessionOf(tokens.accessToken, response, transport);
  }

  /**
   * The transport of a new session's tokens. Those of a session that goes on never change their way: a script must not get what
   * was in a cookie that it cannot read.
   */
  private wayFor(request: HttpRequest, predecessor: string | undefined): TokenTransport {
    const { headers, cookies } = this.ways;
    if (!headers || !cookies) return (headers ?? cookies)!;
    const isInHeaders = predecessor === undefined ? headers.isAskedFor(request) : this.isByHeaders(request);
    return isInHeaders ? headers : cookies;
  }

  private hasAmbientTokens(request: HttpRequest): boolean {
    return this.transports.some((each) => each.isAmbient && hasTokens(request, each));
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
    if (csrf && this.hasAmbientTokens(request)) this.csrf.checkOrigin(request);
    const present = await this.presentSessions(request, 'logout', this.clock.now());
    await this.end(present, { reason: 'logout' });
    this.clear(response, request);
  }

  /**
   * Makes a session of another user, beside the actor's, which goes on.
   *
   * @param actor the session of the request
   * @throws {@link SessionNotFoundError} when the actor's session is over
   * @throws {@link InvalidInputError} when the actor's tokens are in headers: the client would send these on, and act as itself
   */
  async impersonate(
    request: HttpRequest,
    response: HttpResponse,
    actor: ActiveSession,
    input: ImpersonationInput,
  ): Promise<ActiveSession> {
    if (areHeadersSent(response)) throw new HeadersSentError();
    const { impersonation } = this.ways;
    if (!impersonation || this.isByHeaders(request)) {
      throw new InvalidInputError(
        'The tokens of the request are in headers, and the impersonation would be in a cookie. Use sessions.tokens.impersonate().',
      );
    }
    const now = this.clock.now();
    const by = await this.manager.withAuthentic(actor.id, () => this.manager.getRow(actor.id));
    const device = { ...deviceOf(request), ...input?.device };
    const tokens = await this.lifecycle.impersonate(
      by,
      input,
      now,
      async (row) => this.cap.exempt(row),
      device,
    );
    impersonation.writeTokens(request, response, tokens, now);
    await this.csrf.giveToken(response, tokens.row.id, now);
    return this.authority.sessionOf(tokens.accessToken, response, impersonation);
  }

  /**
   * Ends the impersonation whose token a request carries, even if it is over. The actor's own cookies count again.
   *
   * @returns whether there was one
   * @throws {@link CsrfError}
   */
  async endImpersonation(
    request: HttpRequest,
    response: HttpResponse,
    { csrf = true }: AuthenticateOptions = {},
  ): Promise<boolean> {
    const { impersonation } = this.ways;
    const tokens = impersonation?.readAccessTokens(request) ?? [];
    if (!impersonation || tokens.length === 0) return false;
    if (csrf) this.csrf.checkOrigin(request);
    const now = this.clock.now();
    const ids: string[] = [];
    let actor: SessionActor | undefined;
    for (const token of tokens) {
      const verification = await this.accessTokens.verify(token, now);
      if (verification.status === 'invalid' || !verification.accessToken.actor) continue;
      ids.push(verification.accessToken.sessionId);
      actor = verification.accessToken.actor;
    }
    if (ids.length > 0) await this.manager.revokeAuthentic(ids, { reason: 'logout' });
    impersonation.clear(response, request);
    // The page needs that of the actor's session now.
    if (actor) await this.csrf.giveToken(response, actor.sessionId, now);
    return true;
  }

  /** Clears the client's tokens. */
  clear(response: HttpResponse, request?: HttpRequest): void {
    for (const transport of this.transports) transport.clearAtSignOut(response, request);
    this.responses.release(response);
  }

  /**
   * The sessions whose tokens a request carries. An expired access token, which opens nothing any more, counts only if its user
   * signs out: somebody may have planted it in the jar of a client that signs in.
   */
  private async presentSessions(
    request: HttpRequest,
    reason: 'logout' | 'replaced',
    now: number,
  ): Promise<PresentSessions> {
    const ids = new Set<string>();
    for (const transport of this.transports) {
      for (const token of transport.readAccessTokens(request)) {
        const verification = await this.accessTokens.verify(token, now);
        if (verification.status === 'invalid') continue;
        const isGood = verification.status === 'valid' || reason === 'logout';
        if (isGood) ids.add(verification.accessToken.sessionId);
      }
    }
    const proven = [...ids];
    const texts = this.transports.flatMap((each) => each.readRefreshTokens(request));
    const { authentic } = await this.refreshTokens.authenticateEach(texts, now);
    const others = authentic.filter(({ sessionId }) => !ids.has(sessionId));
    for (const { sessionId } of others) ids.add(sessionId);
    return { ids, proven, others };
  }

  private async end({ proven, others }: PresentSessions, why: RevokeOptions): Promise<void> {
    if (proven.length > 0) await this.manager.revokeAuthentic(proven, why);
    for (const { sessionId, sessionSecret } of others) {
      await this.manager.revokeWithSecret(sessionId, sessionSecret, why);
    }
  }
}

/** The sessions whose tokens a request carries. */
interface PresentSessions {
  readonly ids: ReadonlySet<string>;
  /** Ids of access tokens, which prove themselves. */
  readonly proven: readonly string[];
  /** Refresh tokens of other sessions. Only the database can tell whether their secret is right. */
  readonly others: readonly RefreshToken[];
}

function hasTokens(request: HttpRequest, transport: TokenTransport): boolean {
  return transport.readAccessTokens(request).length > 0 || transport.readRefreshTokens(request).length > 0;
}
