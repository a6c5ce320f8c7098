import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { LookAgainError, type StaleRefreshToken } from '../../errors/session.errors.js';
import type { SignedAccessToken } from '../../protocol/access-token.js';
import type { TokenSet } from '../../session/session-lifecycle.js';
import { areHeadersSent, type HttpRequest, type HttpResponse, setResponseHeader } from '../messages.js';
import { keepPrivate } from '../private-responses.js';
import { trimSpaces } from './cookie-header.js';
import type { TokenReader, TokenTransport } from './token-transport.js';

/** Response header with the access token that a client without cookies is to use from now on. */
export const ACCESS_TOKEN_HEADER = 'access-token';

const NONE: ReadonlySet<string> = new Set();

/** Access tokens in the `Authorization: Bearer` header (RFC 6750, 2.1), for clients without cookies. */
export class BearerReader implements TokenReader {
  /** A page of another site cannot make a browser send this header. */
  readonly isAmbient = false;
  readonly isForImpersonation = false;
  readonly credential = { type: 'bearer' } as const;

  readAccessToken({ authorization }: IncomingHttpHeaders): string | undefined {
    if (authorization === undefined || !/^bearer /i.test(authorization)) return undefined;
    return trimSpaces(authorization.slice('bearer '.length));
  }

  readAccessTokens({ headers }: HttpRequest): string[] {
    const token = this.readAccessToken(headers);
    return token === undefined ? [] : [token];
  }
}

/** Reads bearer tokens, and writes new ones. It carries no refresh tokens: clients exchange them with `sessions.tokens`. */
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

  /** The server cannot remove tokens that the client stores itself. */
  clear(): void {}

  clearAtSignOut(): void {}

  withdraw(response: ServerResponse): void {
    response.removeHeader(ACCESS_TOKEN_HEADER);
  }
}
