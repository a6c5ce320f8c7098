import type { AccessTokenVerification } from '../protocol/access-token.js';
import { AccessTokenVerifier } from '../tokens/access-token-verifier.js';
import { andThen } from '../util/and-then.js';
import { NoCredentialsError } from '../errors/session.errors.js';
import { bearerToken } from './bearer-token.js';
import { cookieValues } from './cookie-header.js';
import { CsrfCheck } from './csrf-check.js';
import type { HttpRequest, HttpResponse } from './exchange.js';
import { noCredentials, tryRefresh } from './refusals.js';
import type { AuthenticateOptions, SessionAuthenticator } from './session-authenticator.js';
import type { VerificationKeys } from '../keys/signing-key.js';
import { AuthenticatedSession } from '../session/authenticated-session.js';
import type { ResolvedVerifierOptions } from '../options/resolved-verifier-options.js';

/**
 * What a service without the database injects to verify access tokens. It does not know of revoked sessions; their tokens
 * are good until they expire.
 */
export class SessionVerifier implements SessionAuthenticator {
  private readonly tokens: AccessTokenVerifier;
  private readonly csrf: CsrfCheck;

  constructor(
    keys: VerificationKeys,
    private readonly options: ResolvedVerifierOptions,
  ) {
    this.tokens = new AccessTokenVerifier(keys, options.expected);
    this.csrf = new CsrfCheck({ isCsrfToken: () => false }, options.csrf);
  }

  /**
   * Verifies an access token.
   *
   * @throws {@link TryRefreshError} when it has expired or is not one that was issued for this service
   * @throws {@link KeysUnavailableError} when the public keys cannot be fetched
   */
  async verify(accessToken: string): Promise<AuthenticatedSession> {
    return sessionOf(await this.tokens.verify(accessToken, Date.now()));
  }

  /**
   * The session of a request, by its `Authorization: Bearer` header or its cookie. The guard does just this.
   *
   * @throws {@link NoCredentialsError} | {@link TryRefreshError} | {@link CsrfError} | {@link KeysUnavailableError}
   */
  authenticate(
    request: HttpRequest,
    _response: HttpResponse,
    { csrf = true }: AuthenticateOptions = {},
  ): AuthenticatedSession | Promise<AuthenticatedSession> {
    const now = Date.now();
    const bearer = bearerToken(request.headers.authorization);
    return bearer === undefined
      ? this.authenticateByCookies(request, csrf, now)
      : this.authenticateByBearer(request, csrf, bearer, now);
  }

  meansSignedOut(error: unknown): boolean {
    return error instanceof NoCredentialsError;
  }

  private authenticateByCookies(
    request: HttpRequest,
    csrf: boolean,
    now: number,
  ): AuthenticatedSession | Promise<AuthenticatedSession> {
    const [token, ...others] = cookieValues(request.headers.cookie, this.options.cookieName);
    if (token === undefined) throw noCredentials();
    if (csrf && this.csrf.concerns(request)) this.csrf.checkRequest(request);
    const first = this.tokens.verify(token, now);
    return others.length === 0 ? andThen(first, sessionOf) : this.firstValid(first, others, now);
  }

  /** No page of another site can make a browser send this header, so that there is no forgery to check for. */
  private authenticateByBearer(
    request: HttpRequest,
    csrf: boolean,
    token: string,
    now: number,
  ): AuthenticatedSession | Promise<AuthenticatedSession> {
    return andThen(this.tokens.verify(token, now), (verification) => {
      if (verification.status === 'valid') return sessionOf(verification);
      // The header may be for something else than this module.
      const hasCookie = cookieValues(request.headers.cookie, this.options.cookieName).length > 0;
      return hasCookie ? this.authenticateByCookies(request, csrf, now) : sessionOf(verification);
    });
  }

  /** A browser that holds the cookie for several domains or paths sends them all. */
  private async firstValid(
    first: AccessTokenVerification | Promise<AccessTokenVerification>,
    others: readonly string[],
    now: number,
  ): Promise<AuthenticatedSession> {
    let verification = await first;
    for (const token of others) {
      if (verification.status === 'valid') break;
      verification = await this.tokens.verify(token, now);
    }
    return sessionOf(verification);
  }
}

function sessionOf(verification: AccessTokenVerification): AuthenticatedSession {
  if (verification.status !== 'valid') throw tryRefresh();
  return new AuthenticatedSession(verification.accessToken);
}
