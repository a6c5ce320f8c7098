import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { LookAgainError, type StaleRefreshToken } from '../../errors/session.errors.js';
import type { SignedAccessToken } from '../../protocol/access-token.js';
import type { TokenSet } from '../../session/session-lifecycle.js';
import { areHeadersSent, type HttpRequest, type HttpResponse, setResponseHeader } from '../messages.js';
import { keepPrivate } from '../private-responses.js';
import type { TokenReader, TokenTransport } from './token-transport.js';

/** Response header with the access token that a client without cookies is to use from now on. */
export const ACCESS_TOKEN_HEADER = 'access-token';

const NONE: ReadonlySet<string> = new Set();

/** Access tokens in the `Authorization: Bearer` header (RFC 6750, 2.1), by which clients without cookies authenticate. */
export class BearerReader implements TokenReader {
  /** No page of another site can make a browser send this header. */
  readonly isAmbient = false;

  readAccessToken({ authorization }: IncomingHttpHeaders): string | undefined {
    if (authorization === undefined || !/^bearer /i.test(authorization)) return undefined;
    return authorization.slice('bearer '.length).trim();
  }

  readAccessTokens({ headers }: HttpRequest): string[] {
    const token = this.readAccessToken(headers);
    return token === undefined ? [] : [token];
  }
}

/** The same, with answers to it. Refresh tokens do not travel this way; clients exchange them by `sessions.tokens`. */
export class BearerTransport extends BearerReader implements TokenTransport {
  readonly maxAccessTokenLength = Number.POSITIVE_INFINITY;

  readRefreshTokens(): string[] {
    return [];
  }

  readLookedAgain(): ReadonlySet<string> {
    return NONE;
  }

  writeSignIn(request: HttpRequest, response: HttpResponse, tokens: TokenSet): void {
    this.writeTokens(request, response, tokens);
  }

  writeTokens(_request: HttpRequest, response: HttpResponse, { accessToken }: TokenSet): void {
    this.writeAccessToken(response, accessToken);
  }

  writeAccessToken(response: HttpResponse, { token }: SignedAccessToken): void {
    if (areHeadersSent(response)) return;
    setResponseHeader(response, ACCESS_TOKEN_HEADER, token);
    keepPrivate(response);
  }

  async tellToLookAgain(
    _request: HttpRequest,
    _response: HttpResponse,
    [newest]: readonly [StaleRefreshToken, ...StaleRefreshToken[]],
  ): Promise<LookAgainError> {
    return new LookAgainError(newest);
  }

  /** What the client has, it alone can forget. */
  clear(): void {}

  withdraw(response: ServerResponse): void {
    response.removeHeader(ACCESS_TOKEN_HEADER);
  }
}
