import { LookAgainError, type StaleRefreshToken } from '../../errors/session.errors.js';
import type { SignedAccessToken } from '../../protocol/access-token.js';
import type { TokenSet } from '../../session/session-lifecycle.js';
import type { HttpRequest, HttpResponse } from '../messages.js';
import { AccessCookie } from './access-cookie.js';
import type { CookieTransport } from './cookie-transport.js';
import type { SessionLife, TokenTransport } from './token-transport.js';

const NONE: ReadonlySet<string> = new Set();

/**
 * The token of an impersonation, in a cookie beside the actor's own ones, which stay as they are. While the client has it, no
 * other cookie counts. So what was begun as another user is never done as the actor: not when the impersonation is over, and
 * not when a late response brings the actor new tokens.
 */
export class ImpersonationCookie extends AccessCookie implements TokenTransport {
  constructor(private readonly cookies: CookieTransport) {
    super(cookies.impersonationName, true);
  }

  get maxAccessTokenLength(): number {
    return this.cookies.maxImpersonationLength;
  }

  readRefreshTokens(): string[] {
    return [];
  }

  readLookedAgain(): ReadonlySet<string> {
    return NONE;
  }

  writeSignIn(request: HttpRequest, response: HttpResponse, tokens: TokenSet, now: number): void {
    this.writeTokens(request, response, tokens, now);
  }

  writeTokens(_request: HttpRequest, response: HttpResponse, { accessToken }: TokenSet, now: number): void {
    this.writeAccessToken(response, accessToken, undefined, now);
  }

  /** The cookie outlives whatever the actor's refresh cookie can become; see {@link CookieTransport.writeImpersonation}. */
  writeAccessToken(
    response: HttpResponse,
    token: SignedAccessToken,
    _session: SessionLife | undefined,
    now: number,
  ): void {
    this.cookies.writeImpersonation(response, token, now);
  }

  async tellToLookAgain(
    _request: HttpRequest,
    _response: HttpResponse,
    [newest]: readonly [StaleRefreshToken, ...StaleRefreshToken[]],
  ): Promise<LookAgainError> {
    return new LookAgainError(newest);
  }

  clear(response: HttpResponse, request?: HttpRequest): void {
    this.cookies.clearImpersonation(response, request);
  }

  clearAtSignOut(response: HttpResponse, request?: HttpRequest): void {
    this.cookies.clearImpersonation(response, request, true);
  }

  /** A client that believes to act as another user must not get the actor's session, however late the response leaves. */
  withdraw(): void {}
}
