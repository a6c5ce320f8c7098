import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { InvalidInputError, LookAgainError, type StaleRefreshToken } from '../../errors/session.errors.js';
import type { ResolvedOptions } from '../../options/resolved-options.js';
import type { SignedAccessToken } from '../../protocol/access-token.js';
import type { TokenSet } from '../../session/session-lifecycle.js';
import { withoutStackTrace } from '../../util/without-stack-trace.js';
import {
  areHeadersSent,
  type HttpRequest,
  type HttpResponse,
  requestHeader,
  setResponseHeader,
} from '../messages.js';
import { clearCache, keepPrivate } from '../private-responses.js';
import { BearerReader } from './bearer-reader.js';
import { trimSpaces } from './cookie-header.js';
import type { TokenTransport } from './token-transport.js';

/** nginx and Node take 8,192 bytes for a line of a request's header. */
const MAX_LINE = 8_192;

/**
 * Tokens in headers, for clients that keep them themselves. The access token comes in `Authorization: Bearer`. The refresh
 * token comes, and new tokens leave, in headers whose names the application may choose.
 */
export class HeaderTransport extends BearerReader implements TokenTransport {
  readonly maxAccessTokenLength = MAX_LINE - 'authorization: Bearer \r\n'.length;
  /** Read for every request. */
  private readonly refreshName: string;

  constructor(private readonly options: Pick<ResolvedOptions, 'headers' | 'rotation' | 'caches'>) {
    super();
    this.refreshName = options.headers.refresh;
  }

  /** Nobody but a client of this module sends a refresh token in this header. */
  override isMeant(headers: IncomingHttpHeaders): boolean {
    const value = headers[this.refreshName];
    return value !== undefined && value !== '';
  }

  /**
   * Whether a request asks for a sign-in with tokens in headers. A page of another site cannot ask without a preflight.
   *
   * @throws {@link InvalidInputError} when it asks for something unknown
   */
  isAskedFor(request: HttpRequest): boolean {
    const name = this.options.headers.transport;
    const asked = requestHeader(request, name);
    if (asked === undefined || asked === 'cookie') return false;
    if (asked === 'header') return true;
    throw new InvalidInputError(`The header "${name}" is neither "header" nor "cookie".`);
  }

  readRefreshTokens(request: HttpRequest): string[] {
    return valuesOf(request, this.refreshName);
  }

  readLookedAgain(request: HttpRequest): ReadonlySet<string> {
    return new Set(valuesOf(request, this.options.headers.lookAgain));
  }

  writeSignIn(request: HttpRequest, response: HttpResponse, tokens: TokenSet): void {
    this.writeTokens(request, response, tokens);
  }

  writeTokens(_request: HttpRequest, response: HttpResponse, { accessToken, refreshToken }: TokenSet): void {
    if (refreshToken !== undefined) this.write(response, this.refreshName, refreshToken);
    this.writeAccessToken(response, accessToken);
  }

  writeAccessToken(response: HttpResponse, { token }: SignedAccessToken): void {
    this.write(response, this.options.headers.access, token);
  }

  /**
   * Never a redirect: browsers keep headers when they follow one, so a page would come back with the same token and convict
   * itself. A client repeats the request with what its storage has then.
   */
  async tellToLookAgain(
    _request: HttpRequest,
    response: HttpResponse,
    stale: readonly [StaleRefreshToken, ...StaleRefreshToken[]],
  ): Promise<LookAgainError> {
    this.write(response, this.options.headers.lookAgain, stale.map(({ tokenId }) => tokenId).join(', '));
    // A sibling of this token was exchanged. The response with the new token may not have arrived yet.
    if (stale[0].kind === 'sibling') await delay(this.options.rotation.delay / 5);
    return withoutStackTrace(() => new LookAgainError(stale[0]));
  }

  /** The server cannot remove tokens that the client stores itself. */
  clear(): void {}

  clearAtSignOut(response: HttpResponse): void {
    if (this.options.caches.clearAtSignOut) clearCache(response);
  }

  withdraw(response: ServerResponse): void {
    for (const name of [this.options.headers.access, this.refreshName]) response.removeHeader(name);
  }

  private write(response: HttpResponse, name: string, value: string): void {
    if (areHeadersSent(response)) return;
    setResponseHeader(response, name, value);
    keepPrivate(response);
  }
}

/** The values of a header. A list, or a header that a proxy sends twice, has commas (RFC 9110, 5.3). */
function valuesOf(request: HttpRequest, name: string): string[] {
  const values = requestHeader(request, name)?.split(',') ?? [];
  return values.map((each) => trimSpaces(each)).filter((each) => each !== '');
}
