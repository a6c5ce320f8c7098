import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { LookAgainError, StaleRefreshToken } from '../../errors/session.errors.js';
import type { SignedAccessToken } from '../../protocol/access-token.js';
import type { TokenSet } from '../../session/session-lifecycle.js';
import type { HttpRequest, HttpResponse } from '../messages.js';

/** A place of requests where access tokens are. */
export interface TokenReader {
  /**
   * Whether browsers send what is there on their own, as they do with cookies. Then a page of another site can have requests
   * sent with it, and the CSRF check applies.
   */
  readonly isAmbient: boolean;
  /** The first access token, which is nearly always the only one. Called for every request. */
  readAccessToken(headers: IncomingHttpHeaders): string | undefined;
  /** All access tokens; several where the client holds duplicates. */
  readAccessTokens(request: HttpRequest): string[];
}

/** How tokens travel between client and server. Only transports know the names of headers and cookies. */
export interface TokenTransport extends TokenReader {
  /** Characters that an access token may have at the most. */
  readonly maxAccessTokenLength: number;
  /** All refresh tokens; several where the client holds duplicates. */
  readRefreshTokens(request: HttpRequest): string[];
  /** The token ids that the client names because it was told to look again. */
  readLookedAgain(request: HttpRequest): ReadonlySet<string>;
  /** Gives a client that signs in its tokens. It has nothing to look again for. */
  writeSignIn(request: HttpRequest, response: HttpResponse, tokens: TokenSet, now: number): void;
  /** Gives the client its tokens; a refresh token that is absent is one that it keeps. */
  writeTokens(request: HttpRequest, response: HttpResponse, tokens: TokenSet, now: number): void;
  /** Gives the client another access token. */
  writeAccessToken(
    response: HttpResponse,
    token: SignedAccessToken,
    sessionExpiresAt: number,
    now: number,
  ): void;
  /** Tells the client to look again, and which tokens to name if it comes back with them. */
  tellToLookAgain(
    request: HttpRequest,
    response: HttpResponse,
    stale: readonly [StaleRefreshToken, ...StaleRefreshToken[]],
  ): Promise<LookAgainError>;
  /** Takes all tokens from the client. */
  clear(response: HttpResponse): void;
  /** Takes tokens back from a response before its headers leave. What the application has written stays. */
  withdraw(response: ServerResponse): void;
}
