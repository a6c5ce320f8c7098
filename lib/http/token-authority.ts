import type { CsrfError, SessionOverError } from '../errors/session.errors.js';
import type { AccessToken } from '../protocol/access-token.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';
import type { AccessVerdict } from '../session/session-lifecycle.js';
import type { HttpRequest, HttpResponse } from './messages.js';
import type { TokenReader } from './transport/token-transport.js';

/** The decision on an access token of a request. */
export type TokenUse = AccessVerdict | { readonly status: 'unusable' };

export type ActiveVerdict = Extract<AccessVerdict, { status: 'active' }>;

/** How far the CSRF check of a request has come. */
export interface CsrfProgress {
  /** Whether the session of each token must still be compared. */
  readonly comparesSession: boolean;
  /** The request has a valid access token, but may have been forged in the name of its session. */
  readonly forged?: CsrfError | undefined;
}

/** Decides on the tokens of a request, with the sessions in the database or with public keys alone. */
export interface TokenAuthority<TTransport extends TokenReader, TSession extends AuthenticatedSession> {
  /** Decides on a valid access token. @returns a promise only if something must be waited for */
  use(accessToken: AccessToken, now: number): AccessVerdict | Promise<AccessVerdict>;
  /** The session of an accepted access token. If the verdict has a replacement, the client gets it. */
  accept(verdict: ActiveVerdict, response: HttpResponse, transport: TTransport, now: number): TSession;
  /** Whether a request carries refresh tokens. */
  hasRefreshTokens(request: HttpRequest, transport: TTransport): boolean;
  /** Whether the refresh tokens of a request may be exchanged by a route other than the refresh route. */
  mayExchange(request: HttpRequest, response: HttpResponse, transport: TTransport): boolean;
  /** Exchanges a refresh token of a request, and gives the client the new ones. */
  exchange(
    request: HttpRequest,
    response: HttpResponse,
    transport: TTransport,
    csrf: CsrfProgress,
    now: number,
  ): Promise<TSession>;
  /** The error for a request whose session is known to be over. @returns `undefined` when the refresh route decides */
  refuse(over: SessionOverError | undefined, transport: TTransport): SessionOverError | undefined;
  /** Takes all tokens from the client. */
  clear(response: HttpResponse, transport: TTransport): void;
  /** See {@link SessionAuthenticator.isUnauthenticated}. */
  isUnauthenticated(error: unknown): boolean;
}
