import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { LookAgainError, StaleRefreshToken } from '../../errors/session.errors.js';
import type { SignedAccessToken } from '../../protocol/access-token.js';
import type { SessionFacts } from '../../storage/session.store.js';
import type { TokenSet } from '../../session/session-lifecycle.js';
import type { HttpRequest, HttpResponse } from '../messages.js';

/** Where a request carries a token: in a cookie, whose name has its prefix, in `Authorization: Bearer`, or in another header. */
export type Credential =
  { readonly type: 'cookie' | 'header'; readonly name: string } | { readonly type: 'bearer' };

/** Reads access tokens from one place of a request. */
export interface TokenReader {
  /** For descriptions of the application. */
  readonly credential: Credential;
  /**
   * Whether browsers send these tokens on their own, as they do with cookies. Then a page of another site can make a browser
   * send them, and the CSRF check applies.
   */
  readonly isAmbient: boolean;
  /**
   * Whether it carries only tokens of users who act as others. If a request has such a token, nothing else in it counts, however
   * bad the token is.
   */
  readonly isForImpersonation: boolean;
  /** The first access token. It is nearly always the only one. Called for every request. */
  readAccessToken(headers: IncomingHttpHeaders): string | undefined;
  /** All access tokens. There are several if the client has duplicate cookies. */
  readAccessTokens(request: HttpRequest): string[];
  /**
   * Whether a request has something here, beside the access token, by which its client chooses this transport. Called for every
   * request without an access token here.
   */
  isMeant(headers: IncomingHttpHeaders): boolean;
}

/** For how long a client keeps its tokens. */
export type SessionLife = Pick<SessionFacts, 'expiresAt' | 'remember'>;

/** How tokens travel between client and server. Only transports know the names of headers and cookies. */
export interface TokenTransport extends TokenReader {
  /** The largest number of characters that an access token may have. */
  readonly maxAccessTokenLength: number;
  /** All refresh tokens. There are several if the client has duplicate cookies. */
  readRefreshTokens(request: HttpRequest): string[];
  /** The token ids for which the client has been told to look again. */
  readLookedAgain(request: HttpRequest): ReadonlySet<string>;
  /** Writes the tokens of a sign-in, and removes the marker. */
  writeSignIn(request: HttpRequest, response: HttpResponse, tokens: TokenSet, now: number): void;
  /** Writes the client's tokens. Without a refresh token in `tokens`, the client keeps the one that it has. */
  writeTokens(request: HttpRequest, response: HttpResponse, tokens: TokenSet, now: number): void;
  /** Writes another access token. */
  writeAccessToken(response: HttpResponse, token: SignedAccessToken, session: SessionLife, now: number): void;
  /** Tells the client to look again, and gives it the ids of the tokens that look old. */
  tellToLookAgain(
    request: HttpRequest,
    response: HttpResponse,
    stale: readonly [StaleRefreshToken, ...StaleRefreshToken[]],
  ): Promise<LookAgainError>;
  /**
   * Removes all tokens from the client.
   *
   * @param request if it is known, duplicates that it shows are removed as well
   */
  clear(response: HttpResponse, request?: HttpRequest): void;
  /** Removes all tokens from a client that signs out. */
  clearAtSignOut(response: HttpResponse, request?: HttpRequest): void;
  /** Removes tokens from a response before its headers leave. Headers of the application stay. */
  withdraw(response: ServerResponse): void;
}
