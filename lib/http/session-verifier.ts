import type { ModuleState } from '../diagnostics/channels.js';
import type { Vitals } from '../diagnostics/vitals.js';
import type { RemoteKeys } from '../keys/remote-keys.js';
import type { ResolvedVerifierOptions } from '../options/resolved-verifier-options.js';
import type { RemoteRevocations } from '../revocation/remote-revocations.js';
import { AuthenticatedSession } from '../session/authenticated-session.js';
import { verdictOf } from '../session/session-lifecycle.js';
import { VerifiedSession } from '../session/verified-session.js';
import { AccessTokenVerifier } from '../tokens/access-token-verifier.js';
import { NoCredentialsError, SessionOverError } from '../errors/session.errors.js';
import { andThen } from '../util/and-then.js';
import { SYSTEM_CLOCK } from '../util/clock.js';
import { type AuthenticationFacts, credentialsOf } from './authentication-facts.js';
import { CsrfCheck } from './csrf-check.js';
import type { HttpRequest, HttpResponse } from './messages.js';
import { markPrivate } from './private-responses.js';
import { ForeignTokenError, noCredentials, tryRefresh } from './refusals.js';
import { RequestAuthenticator } from './request-authenticator.js';
import type {
  AuthenticateOptions,
  ConnectionRegistry,
  ResponseFollower,
  SessionAuthenticator,
} from './session-authenticator.js';
import type { TokenAuthority } from './token-authority.js';
import { AccessCookie } from './transport/access-cookie.js';
import { BearerReader } from './transport/bearer-reader.js';
import type { TokenReader } from './transport/token-transport.js';

/** Without the database, every valid token is accepted that is not known to be revoked, and no token can be exchanged. */
const anyValidToken = (
  marksPrivate: boolean,
  revocations: RemoteRevocations | undefined,
): TokenAuthority<TokenReader, AuthenticatedSession> => ({
  use: (accessToken, now) =>
    revocations
      ? andThen(revocations.endOf(accessToken, now), (end) => verdictOf(accessToken, end))
      : { status: 'active', accessToken },
  accept: ({ accessToken }, response) => {
    if (marksPrivate) markPrivate(response);
    return new AuthenticatedSession(accessToken);
  },
  hasRefreshTokens: () => false,
  mayExchange: () => false,
  exchange: () => Promise.reject(noCredentials()),
  refuse: (over) => over,
  clear: () => undefined,
  isUnauthenticated: (error) =>
    error instanceof NoCredentialsError ||
    error instanceof SessionOverError ||
    error instanceof ForeignTokenError,
});

/** In the order in which they are looked at. */
function readersOf({ transport, impersonationName, cookieName }: ResolvedVerifierOptions): TokenReader[] {
  const cookies = [new AccessCookie(impersonationName, true), new AccessCookie(cookieName)];
  if (transport === 'cookie') return cookies;
  return transport === 'header' ? [new BearerReader()] : [new BearerReader(), ...cookies];
}

/**
 * Verifies access tokens in a service without the database. Without the option `revocations`, it does not know which sessions
 * are revoked: it accepts their access tokens until they expire.
 */
export class SessionVerifier implements SessionAuthenticator {
  readonly #keys: RemoteKeys;
  readonly #tokens: AccessTokenVerifier;
  readonly #revocations: RemoteRevocations | undefined;
  readonly #authenticator: RequestAuthenticator<TokenReader, AuthenticatedSession>;
  readonly #facts: AuthenticationFacts;
  readonly #vitals: Vitals;

  constructor(
    readonly module: string,
    keys: RemoteKeys,
    options: ResolvedVerifierOptions,
    readonly connections: ConnectionRegistry,
    responses: ResponseFollower,
    revocations?: RemoteRevocations,
  ) {
    this.#revocations = revocations;
    this.#keys = keys;
    this.#tokens = new AccessTokenVerifier(keys, options.expected, (now) => {
      void revocations?.freshen(now);
    });
    this.#vitals = {
      state: () => this.state(),
      ask: undefined,
      freshen: async () => {
        const now = SYSTEM_CLOCK.now();
        await Promise.all([keys.freshen(now), revocations?.freshen(now)]);
      },
      // Where tokens are accepted even then, the service does its work.
      maxFeedLag:
        options.revocations?.whenStale === 'refuse'
          ? options.revocations.maxStaleness
          : Number.POSITIVE_INFINITY,
    };
    const readers = readersOf(options);
    this.#facts = {
      module,
      credentials: credentialsOf(readers),
      refreshCredentials: [],
      csrf: options.csrf,
      refreshes: false,
      looksAgain: false,
      hasOwnKeys: false,
      unavailable: [
        'keys_unavailable',
        ...(options.revocations?.whenStale === 'refuse' ? (['revocations_unavailable'] as const) : []),
      ],
    };
    this.#authenticator = new RequestAuthenticator(
      module,
      this.#tokens,
      readers,
      new CsrfCheck(undefined, options.csrf),
      anyValidToken(options.marksPrivate, revocations),
      SYSTEM_CLOCK,
      connections,
      responses,
    );
  }

  /**
   * Verifies an access token.
   *
   * @throws {@link TryRefreshError} when it has expired, or was not issued for this service
   * @throws {@link SessionOverError} when its session is known to be over, or when it has expired, and somebody acted as another
   *   user by it
   * @throws {@link KeysUnavailableError} when the public keys cannot be fetched
   * @throws {@link RevocationsUnavailableError}
   */
  async verify(accessToken: string): Promise<VerifiedSession> {
    const now = SYSTEM_CLOCK.now();
    const verification = await this.#tokens.verify(accessToken, now);
    if (verification.status === 'expired' && verification.accessToken.actor) {
      throw new SessionOverError({ reason: 'expired', impersonation: true });
    }
    if (verification.status !== 'valid') throw tryRefresh();
    const end = await this.#revocations?.endOf(verification.accessToken, now);
    const verdict = verdictOf(verification.accessToken, end);
    if (verdict.status === 'over') throw verdict.error;
    return new VerifiedSession(verification.accessToken);
  }

  /**
   * The session of a request, by its `Authorization: Bearer` header or its cookie, as `transport` says. The guard calls this
   * method.
   *
   * @throws {@link NoCredentialsError} | {@link TryRefreshError} | {@link SessionOverError} (after an impersonation) |
   *   {@link CsrfError} | {@link KeysUnavailableError}
   */
  authenticate(
    request: HttpRequest,
    response: HttpResponse,
    options?: AuthenticateOptions,
  ): AuthenticatedSession | Promise<AuthenticatedSession> {
    return this.#authenticator.authenticate(request, response, options);
  }

  readmit(
    session: AuthenticatedSession,
    options?: AuthenticateOptions,
  ): AuthenticatedSession | Promise<AuthenticatedSession> {
    return this.#authenticator.readmit(session, options);
  }

  recheck(session: AuthenticatedSession, request: HttpRequest, options?: AuthenticateOptions): void {
    this.#authenticator.recheck(session, request, options);
  }

  /** @internal */
  state(): ModuleState {
    const { module } = this;
    return {
      module,
      verifications: { ...this.#tokens.counts },
      feed: this.#revocations?.state(),
      keys: [this.#keys.state()],
    };
  }

  /** @internal */
  facts(): AuthenticationFacts {
    return this.#facts;
  }

  /** @internal */
  get vitals(): Vitals {
    return this.#vitals;
  }

  isUnauthenticated(error: unknown): boolean {
    return this.#authenticator.isUnauthenticated(error);
  }
}
