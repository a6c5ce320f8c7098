import type { Observable } from 'rxjs';
import { withRetryAfter } from '../http/challenge.js';
import { corsOptions, type SessionCorsOptions } from '../http/cors.js';
import type { CsrfCheck } from '../http/csrf-check.js';
import type { HttpRequest, HttpResponse } from '../http/messages.js';
import type { RequestAuthenticator } from '../http/request-authenticator.js';
import type { AuthenticateOptions } from '../http/session-authenticator.js';
import type { SignInOut } from '../http/sign-in-out.js';
import type { TokenTransport } from '../http/transport/token-transport.js';
import type { DroppedKeys, KeyRotation } from '../keys/key-ring.js';
import type { PublicKeys, SigningKeys } from '../keys/signing-keys.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type {
  PublishedRevocations,
  RevocationsAnswer,
  RevocationsRequest,
} from '../revocation/published-revocations.js';
import type { ActiveSession } from '../session/active-session.js';
import type { BulkRevocation } from '../session/bulk-revocation.js';
import type { SessionEvents } from '../session/session-events.js';
import type { SessionManager } from '../session/session-manager.js';
import type { SessionEvent } from '../session/session-event.js';
import type {
  ImpersonationInput,
  ListOptions,
  RevokeAllOptions,
  RevokeOptions,
  SessionChanges,
  SessionInfo,
  SessionInput,
  SessionPage,
} from '../session/session.types.js';
import type { OnlyMembersOf, SessionClaims, SessionData, Update, UserId } from '../types/register.js';
import { SessionTokens, type TokenParts } from './session-tokens.js';

/** The parts that a {@link SessionService} calls. */
export interface SessionParts extends TokenParts {
  readonly manager: SessionManager;
  readonly bulk: BulkRevocation;
  readonly authenticator: RequestAuthenticator<TokenTransport, ActiveSession>;
  readonly signInOut: SignInOut;
  readonly csrf: CsrfCheck;
  readonly signingKeys: SigningKeys;
  readonly published: PublishedRevocations;
  readonly events: SessionEvents;
  readonly options: ResolvedOptions;
}

/**
 * The service by which an application works with sessions.
 *
 * Every method that asks the database may throw {@link StorageUnavailableError}. Every method that makes or checks a token
 * may throw {@link KeysUnavailableError}. Neither error says anything about a session.
 *
 * @example
 * ```ts
 * await this.sessions.create(req, res, { userId: user.id, claims: { role: user.role } });
 * ```
 */
export class SessionService {
  /** Issues, verifies and refreshes tokens without HTTP, for clients that do not use cookies. */
  readonly tokens: SessionTokens;
  readonly #parts: SessionParts;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.tokens = new SessionTokens(parts);
  }

  /**
   * The events of sessions in this process, each of one session: sign-in, refresh, revocation, stale tokens, theft; and of rotated
   * keys and refused requests, of no session. An event is delivered after it has been committed. An observer that fails is logged, and harms nobody.
   */
  get events(): Observable<SessionEvent> {
    return this.#parts.events.stream;
  }

  // ---- over HTTP ------------------------------------------------------------------------------------------------

  /**
   * Signs a user in: makes a session and sets its cookies. If the request carries a session, that session ends. A request with
   * the header `session-transport: header` and without cookies of the module gets tokens in headers instead; see the option
   * `transport`.
   *
   * @param request of Express or Fastify
   * @param response of Express or Fastify (with `@Res({ passthrough: true })`)
   * @param options.csrf whether an unsafe request is checked for coming from another origin. Say `false` where that is right:
   *   an identity provider posts its answer (`response_mode=form_post`). @default true
   * @throws {@link InvalidUserIdError} | {@link InvalidClaimsError} | {@link InvalidDataError} | {@link InvalidInputError} |
   *   {@link TooManySessionsError} | {@link CsrfError} |
   *   {@link HeadersSentError}. {@link InvalidInputError} also when a client with cookies asks for tokens in headers
   */
  async create(
    request: HttpRequest,
    response: HttpResponse,
    input: SessionInput,
    options?: AuthenticateOptions,
  ): Promise<ActiveSession> {
    const { signInOut } = this.#parts;
    return withRetryAfter(response, async () => signInOut.signIn(request, response, input, options));
  }

  /**
   * Makes a new session in the place of the request's: the user has just proved again who they are, or their privileges
   * change. It has the user, claims, data, label and lifetimes of the one before, which ends. Its tokens go the way that those
   * of the request have come: in cookies, or in headers. Requests under way with the old tokens go on with the new ones.
   *
   * @param changes what differs from the session before. `authenticatedAt` is now, unless it is given: say
   *   `session.authenticatedAt` if the user has proved nothing, and only privileges change
   * @throws {@link ImpersonationRefusedError} when somebody acts as the user
   * @throws {@link NoCredentialsError} and the other errors of {@link authenticate} and {@link create}; {@link SessionOverError}
   *   also if the session is revoked in the middle of it
   * @example
   * ```ts
   * await this.sessions.reauthenticate(req, res, { amr: ['pwd', 'otp'] });
   * ```
   */
  async reauthenticate(
    request: HttpRequest,
    response: HttpResponse,
    changes: SessionChanges = {},
    options?: AuthenticateOptions,
  ): Promise<ActiveSession> {
    const { authenticator, manager, signInOut } = this.#parts;
    return withRetryAfter(response, async () => {
      const { id } = await authenticator.authenticate(request, response, { ...options, impersonated: false });
      const input = await manager.withAuthentic(id, () => manager.inputForNext(id, changes));
      return signInOut.signIn(request, response, input, options, id);
    });
  }

  /**
   * Lets the user of the request act as another user: makes a session of that user, whose `actor` is the user of the request. The
   * application decides who may do that, and as whom: call it on a guarded route, with `@RequireFresh`.
   *
   * The client keeps its own session. The impersonation has a cookie of its own, beside which no other counts. It ends when its
   * time is over, when it is revoked, and with the actor's session, and is never refreshed. From then on, requests are refused
   * with `session_over` and `impersonation: true`, until {@link endImpersonation} is called or somebody signs in or out: nothing
   * that was begun as another user is done as the actor.
   *
   * @throws {@link ImpersonationRefusedError} when the user of the request acts as another one already
   * @throws {@link InvalidInputError} when the tokens of the request are in headers: use `sessions.tokens.impersonate()`
   * @throws {@link InvalidUserIdError} | {@link InvalidClaimsError} | {@link InvalidDataError} | {@link InvalidInputError} |
   *   {@link HeadersSentError}, and the errors of {@link authenticate}
   * @example
   * ```ts
   * await this.sessions.impersonate(req, res, { userId: user.id, claims: { role: user.role }, reason: 'case 4711' });
   * ```
   */
  async impersonate(
    request: HttpRequest,
    response: HttpResponse,
    input: ImpersonationInput,
    options?: AuthenticateOptions,
  ): Promise<ActiveSession> {
    const { authenticator, signInOut } = this.#parts;
    return withRetryAfter(response, async () => {
      const actor = await authenticator.authenticate(request, response, { ...options, impersonated: false });
      return signInOut.impersonate(request, response, actor, input);
    });
  }

  /**
   * Ends the impersonation of a client, and clears its cookie: with the next request, the actor is themselves again. The route
   * must not have the guard, which refuses an impersonation that is over.
   *
   * @returns whether the request had the cookie of an impersonation
   * @throws {@link CsrfError}
   */
  async endImpersonation(
    request: HttpRequest,
    response: HttpResponse,
    options?: AuthenticateOptions,
  ): Promise<boolean> {
    const { signInOut } = this.#parts;
    return withRetryAfter(response, async () => signInOut.endImpersonation(request, response, options));
  }

  /**
   * Refuses an unsafe request, or an upgrade to a WebSocket, that comes from a page of another origin. Guard, `create()`,
   * `refresh()` and `signOut()` do so by themselves.
   *
   * @throws {@link CsrfError}
   */
  checkOrigin(request: HttpRequest): void {
    this.#parts.csrf.checkOrigin(request);
  }

  /**
   * The session of a request. Refreshes it if that is due. The guard calls this method.
   *
   * @throws {@link NoCredentialsError} | {@link TryRefreshError} | {@link SessionOverError} | {@link TokenTheftError} |
   *   {@link LookAgainError} | {@link CsrfError}
   */
  async authenticate(
    request: HttpRequest,
    response: HttpResponse,
    options?: AuthenticateOptions,
  ): Promise<ActiveSession> {
    const { authenticator } = this.#parts;
    return withRetryAfter(response, async () => authenticator.authenticate(request, response, options));
  }

  /**
   * Refreshes the session of a request, whether or not its access token is still valid. The ready-made refresh route calls
   * this method.
   *
   * @throws {@link NoCredentialsError} | {@link SessionOverError} | {@link TokenTheftError} | {@link LookAgainError} |
   *   {@link CsrfError} | {@link HeadersSentError}
   */
  async refresh(
    request: HttpRequest,
    response: HttpResponse,
    options?: AuthenticateOptions,
  ): Promise<ActiveSession> {
    const { authenticator } = this.#parts;
    return withRetryAfter(response, async () => authenticator.refresh(request, response, options));
  }

  /**
   * Signs out: ends the sessions whose tokens the request carries, even if these tokens look old, and clears the client's
   * cookies. An impersonation ends together with the actor's own session. The route needs no guard, because this is no error if nobody is signed in. In endpoint mode, only requests to
   * the refresh route carry the refresh token; all others carry only the access token.
   *
   * If the headers of the response have been sent, the sessions end all the same, but the client keeps its cookies.
   *
   * @throws {@link CsrfError}
   */
  async signOut(request: HttpRequest, response: HttpResponse, options?: AuthenticateOptions): Promise<void> {
    const { signInOut } = this.#parts;
    await withRetryAfter(response, async () => signInOut.signOut(request, response, options));
  }

  /** Clears the client's cookies. Does not end the session. Has no effect if the headers of the response have been sent. */
  clearCookies(response: HttpResponse): void {
    this.#parts.signInOut.clear(response);
  }

  /**
   * Options for `app.enableCors()`: the trusted origins, with credentials, the CSRF header, and the headers with tokens.
   *
   * @param allowedHeaders other request headers that clients send
   */
  corsOptions(allowedHeaders: readonly string[] = []): SessionCorsOptions {
    return corsOptions(this.#parts.options, allowedHeaders);
  }

  // ---- sessions ---------------------------------------------------------------------------------------------------

  /**
   * Revokes a session.
   *
   * @param options why, and by whom; for the event, and the reason also for the client
   * @returns whether there was such a live session
   * @throws {@link InvalidReasonError}
   */
  async revoke(id: string, options?: RevokeOptions): Promise<boolean> {
    return this.#parts.manager.revoke(id, options);
  }

  /**
   * Revokes several sessions.
   *
   * @param options why, and by whom; for the events, and the reason also for the clients
   * @returns how many of them were live
   * @throws {@link InvalidReasonError}
   */
  async revokeMany(ids: readonly string[], options?: RevokeOptions): Promise<number> {
    return this.#parts.manager.revokeMany(ids, options);
  }

  /**
   * Revokes all sessions of a user that were made until now, however many there are, and also that of a sign-in that is under
   * way in another process: such a `create()` throws {@link SessionOverError}. Other processes hear of it by one small entry of
   * the feed.
   *
   * @param options.except id of a session that is not revoked, usually the session of the request
   * @param options.reason why; clients see it, too. @default 'revoked'
   * @param options.by who revokes, for the events. @default nobody is named
   * @returns how many sessions were live until this call
   * @throws {@link InvalidReasonError} | {@link InvalidUserIdError}. After a {@link StorageUnavailableError}, call it again: some
   *   sessions may have ended, or all
   */
  async revokeAllForUser(userId: UserId, options?: RevokeOptions & { except?: string }): Promise<number> {
    return this.#parts.bulk.revokeAllForUser(userId, options);
  }

  /**
   * Revokes the sessions of everybody, or those that were made before some time: after a breach, or when a backup has been
   * restored, in which sessions are live that were revoked since. It takes effect with the first write. After that, this call
   * ends the rows in batches, which takes minutes for millions of sessions. If the process dies meanwhile, the clean-up of
   * another one goes on. There is one event for all: `all_revoked`.
   *
   * @param options.before sessions that were made before this time are revoked. @default now: all of them
   * @param options.reason why; clients see it, too. @default 'revoked'
   * @param options.by who revokes, for the event. @default nobody is named
   * @returns how many sessions were live until this call
   * @throws {@link InvalidReasonError} | {@link InvalidInputError} when `before` is no time, or in the future
   */
  async revokeAll(options?: RevokeAllOptions): Promise<number> {
    return this.#parts.bulk.revokeAll(options);
  }

  /** A live session, or null. */
  async find(id: string): Promise<SessionInfo | null> {
    return this.#parts.manager.find(id);
  }

  /**
   * The live sessions of a user, newest first, in pages: a user may have any number, and each has claims and data. If there
   * are more, `next` is the `after` of the next page. A sign-in or a sign-out in between moves no other session to another
   * page.
   *
   * @throws {@link InvalidUserIdError} | {@link InvalidInputError}
   * @example
   * ```ts
   * const { sessions, next } = await this.sessions.findAllForUser(session.userId, { current: session.id });
   * ```
   */
  async findAllForUser(userId: UserId, options: ListOptions = {}): Promise<SessionPage> {
    return this.#parts.manager.findAllForUser(userId, options);
  }

  /**
   * Gives the device of a session a name, as its user knows it: `'Ann’s phone'`. Any characters but control characters come
   * back as they were. Check before that the session is the user's own.
   *
   * @param label at most 64 characters, as `maxlength` of HTML counts them; null for none
   * @throws {@link SessionNotFoundError} | {@link InvalidInputError}
   */
  async rename(id: string, label: string | null): Promise<void> {
    await this.#parts.manager.rename(id, label);
  }

  /**
   * Replaces a session's data by a value, or by the result of a function of the present data. With a function, no update
   * that another request makes at the same time is lost.
   *
   * @throws {@link SessionNotFoundError} | {@link InvalidDataError}
   */
  async updateData<TNext extends Update<SessionData>>(
    id: string,
    next: TNext & OnlyMembersOf<SessionData, TNext>,
  ): Promise<void> {
    await this.#parts.manager.updateData(id, next);
  }

  /**
   * Replaces a session's claims by a value, or by the result of a function of the present claims. The client's access token
   * has the new claims after the next refresh. `ActiveSession.updateClaims` gives the client a new access token at once.
   *
   * @throws {@link SessionNotFoundError} | {@link InvalidClaimsError}
   */
  async updateClaims<TNext extends Update<SessionClaims>>(
    id: string,
    next: TNext & OnlyMembersOf<SessionClaims, TNext>,
  ): Promise<void> {
    await this.#parts.manager.updateClaims(id, next);
  }

  /**
   * Removes rows of sessions that are over, in batches. Many processes may do this at once. The module also does this on a
   * schedule.
   *
   * @returns how many rows this call removed
   */
  async removeExpired(): Promise<number> {
    return this.#parts.manager.removeExpired();
  }

  // ---- signing keys -----------------------------------------------------------------------------------------------

  /**
   * Makes the next key sign access tokens at once, without waiting for `signingKeys.rotation`. With `drop`, it also drops a
   * leaked key: within `revocationInterval`, every process refuses all tokens that the key has signed. Clients then refresh,
   * and nobody has to sign in again.
   *
   * The next key has already been published and takes over from a dropped key. It may have leaked as well if somebody has
   * read the memory of a process, or the database and the `secret`. Then drop `'all'`.
   *
   * @param options.drop the key that signs now, all keys, or the key with this `kid`. @default no key is dropped
   * @throws {@link SigningKeyNotFoundError} when there is no key with this `kid`
   * @throws {@link InvalidOptionError} when the application provides the keys itself (`signingKeys.source`)
   */
  async rotateSigningKeys(options: { drop?: DroppedKeys } = {}): Promise<KeyRotation> {
    return this.#parts.signingKeys.rotate(this.#parts.clock.now(), options.drop);
  }

  /**
   * The public halves of the signing keys, as the route at `jwksPath` lists them. They cannot sign. An HS256 key has no
   * public half, so it is not listed.
   */
  async publicKeys(): Promise<PublicKeys> {
    return this.#parts.signingKeys.publicKeys(this.#parts.clock.now());
  }

  /**
   * The revocations, signed, as the route at `revocationsPath` gives them.
   *
   * @param request what the service asks with. All of it may be junk
   * @returns the list, or `undefined` if the service has everything already (304); and the `ETag` to answer with
   */
  async revocationList(request: RevocationsRequest): Promise<RevocationsAnswer> {
    return this.#parts.published.answer(request);
  }
}
