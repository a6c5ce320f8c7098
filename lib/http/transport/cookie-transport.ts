import type { ServerResponse } from 'node:http';
import type { LookAgainError, StaleRefreshToken } from '../../errors/session.errors.js';
import { covers } from '../../options/cookie-options.js';
import { cookieName, impersonationName } from '../../options/cookie-name.js';
import type { ResolvedOptions } from '../../options/resolved-options.js';
import type { SignedAccessToken } from '../../protocol/access-token.js';
import type { TokenSet } from '../../session/session-lifecycle.js';
import {
  areHeadersSent,
  type HttpRequest,
  type HttpResponse,
  pathOf,
  responseHeader,
  setResponseHeader,
} from '../messages.js';
import { logger } from '../../util/logger.js';
import { LostSecureCookies } from '../lost-secure-cookies.js';
import { clearCache, keepPrivate } from '../private-responses.js';
import { AccessCookie } from './access-cookie.js';
import {
  type CookieAttributes,
  cookieNameOf,
  cookieValues,
  firstCookieValue,
  mergeSetCookieLines,
  setCookieLine,
} from './cookie-header.js';
import { lookAgain } from './look-again.js';
import type { SessionLife, TokenTransport } from './token-transport.js';

interface Cookie {
  readonly name: string;
  readonly attributes: CookieAttributes;
}

/** The largest cookie that browsers accept, in bytes (RFC 6265bis, 5.6). To be safe, this counts the attributes as well. */
const MAX_COOKIE = 4_096;

/** Bytes of `Set-Cookie` lines above which a warning is logged: with other headers, they may be too many for nginx. */
const LARGE = 3_072;

const NO_LINES: string[] = [];

/** Tokens in cookies: reads them from requests, sets and clears them in responses. */
export class CookieTransport extends AccessCookie implements TokenTransport {
  private readonly access: Cookie;
  private readonly impersonation: Cookie;
  private readonly indicator: Cookie | undefined;
  /** Notices clients that lose the cookies. `undefined` in production, and where cookies are not `Secure`. */
  readonly lost: LostSecureCookies | undefined;
  private hasWarnedOfSize = false;
  private lazyRefresh: Cookie | undefined;
  private lazyMarker: Cookie | undefined;

  /** @param refreshRoute gives the path of a cookie that browsers send to the refresh route; not called before the first request */
  constructor(
    private readonly options: ResolvedOptions,
    private readonly refreshRoute: () => string,
  ) {
    const { cookies } = options;
    const access = cookie(cookies, cookies.accessName, cookies.path, true);
    super(access.name);
    this.access = access;
    const mayBeLost = cookies.secure && process.env['NODE_ENV'] !== 'production';
    this.lost = mayBeLost ? new LostSecureCookies() : undefined;
    this.impersonation = impersonationCookie(options);
    this.indicator =
      cookies.indicatorName === undefined
        ? undefined
        : cookie(cookies, cookies.indicatorName, cookies.path, false);
  }

  get maxAccessTokenLength(): number {
    return longestValueOf(this.access);
  }

  get maxImpersonationLength(): number {
    return longestValueOf(this.impersonation);
  }

  get impersonationName(): string {
    return this.impersonation.name;
  }

  /** The path of the refresh cookie. */
  get refreshPath(): string {
    return this.refresh.attributes.path;
  }

  /** The name of the refresh cookie. It may be asked for before the path of the refresh route is known for good. */
  get refreshCookieName(): string {
    return this.cookieOfRefresh(this.options.cookies.refreshName).name;
  }

  readRefreshTokens({ headers }: HttpRequest): string[] {
    return cookieValues(headers.cookie, this.refresh.name);
  }

  /** Every cookie of this name counts, because a sibling subdomain may have set another one. */
  readLookedAgain({ headers }: HttpRequest): ReadonlySet<string> {
    return new Set(cookieValues(headers.cookie, this.marker.name).flatMap((value) => value.split('.')));
  }

  writeSignIn(request: HttpRequest, response: HttpResponse, tokens: TokenSet, now: number): void {
    this.writeTokens(request, response, tokens, now);
    this.clearMarker(request, response);
    this.lost?.signedIn(request, now);
  }

  writeTokens(
    request: HttpRequest,
    response: HttpResponse,
    { row, accessToken, refreshToken }: TokenSet,
    now: number,
  ): void {
    this.clearFormerDomains(request, response);
    const lines = this.accessLines(accessToken, row, now, request);
    if (refreshToken !== undefined) lines.push(...this.lines(this.refresh, refreshToken, row, now, request));
    this.write(response, lines);
  }

  writeAccessToken(
    response: HttpResponse,
    token: SignedAccessToken,
    session: SessionLife,
    now: number,
  ): void {
    this.write(response, this.accessLines(token, session, now));
  }

  /**
   * The cookie lives as long as a refresh cookie can, not as long as its token. If the browser dropped it earlier, the actor's
   * refresh cookie would count again, and a form that was filled in as another user would be saved for the actor.
   */
  writeImpersonation(response: HttpResponse, { token }: SignedAccessToken, now: number): void {
    const life = { expiresAt: now + this.options.refreshToken.absoluteTtl, remember: 1 };
    this.write(response, this.lines(this.impersonation, token, life, now, undefined));
  }

  /** @param request if it is known and would have the cookie, nothing is done unless it has */
  clearImpersonation(response: HttpResponse, request?: HttpRequest, isSigningOut = false): void {
    const { name, attributes } = this.impersonation;
    const isSeen = request && covers(attributes.path, pathOf(request));
    if (isSeen && firstCookieValue(request.headers.cookie, name) === undefined) return;
    const lines = [...this.twinCleared(this.impersonation, request), setCookieLine(name, '', 0, attributes)];
    this.write(response, lines);
    if (isSigningOut && this.options.caches.clearAtSignOut) clearCache(response);
  }

  /** The marker lives as long as a refresh token, because a client that does not follow the redirect looks again later. */
  async tellToLookAgain(
    request: HttpRequest,
    response: HttpResponse,
    stale: readonly [StaleRefreshToken, ...StaleRefreshToken[]],
  ): Promise<LookAgainError> {
    const maxAge = Math.ceil(this.options.refreshToken.ttl / 1_000);
    const value = stale.map(({ tokenId }) => tokenId).join('.');
    const { name, attributes } = this.marker;
    this.write(response, [setCookieLine(name, value, maxAge, attributes)]);
    return lookAgain(request, response, stale[0], this.options.rotation);
  }

  clear(response: HttpResponse, request?: HttpRequest): void {
    const lines = this.cookies.flatMap((each) => [
      ...this.twinCleared(each, request),
      setCookieLine(each.name, '', 0, each.attributes),
    ]);
    this.write(response, lines);
  }

  clearAtSignOut(response: HttpResponse, request?: HttpRequest): void {
    this.clear(response, request);
    if (this.options.caches.clearAtSignOut) clearCache(response);
    this.lost?.signedOut();
  }

  withdraw(response: ServerResponse): void {
    const names = new Set(this.cookies.map(({ name }) => name));
    const lines = responseHeader(response, 'set-cookie').filter((line) => !names.has(cookieNameOf(line)));
    if (lines.length > 0) response.setHeader('set-cookie', lines);
    else response.removeHeader('set-cookie');
  }

  /**
   * Clears the marker if the client may have one. In endpoint mode, only requests to the refresh route carry the marker. So
   * on other routes it is cleared without being seen.
   */
  private clearMarker(request: HttpRequest, response: HttpResponse): void {
    const { name, attributes } = this.marker;
    const isSeen = attributes.path === '/' || attributes.path === this.access.attributes.path;
    if (isSeen && firstCookieValue(request.headers.cookie, name) === undefined) return;
    this.write(response, [...this.twinCleared(this.marker, request), setCookieLine(name, '', 0, attributes)]);
  }

  /** Clears duplicate cookies that earlier versions of the application have set for other domains. */
  private clearFormerDomains(request: HttpRequest, response: HttpResponse): void {
    const { formerDomains } = this.options.cookies;
    if (formerDomains.length === 0) return;
    for (const { name, attributes } of [this.access, this.refresh]) {
      // A cookie with a domain cannot have a "__Host-" name; it has a "__Secure-" name. A host-only cookie has a "__Secure-"
      // name only if its path is not "/".
      const withDomain = name.replace(/^__Host-(Http-)?/i, '__Secure-');
      const values = cookieValues(request.headers.cookie, name).length;
      const duplicates =
        withDomain === name ? values - 1 : cookieValues(request.headers.cookie, withDomain).length;
      if (duplicates < 1) continue;
      const lines = formerDomains
        .filter((domain) => domain !== attributes.domain)
        .flatMap((domain) => clearedLines(withDomain, { ...attributes, domain }));
      // An earlier version may also have set the cookie without a domain (host-only).
      if (attributes.domain !== undefined) {
        lines.push(...clearedLines(name, { ...attributes, domain: undefined }));
      }
      this.write(response, lines);
    }
  }

  private accessLines(
    token: SignedAccessToken,
    session: SessionLife,
    now: number,
    request?: HttpRequest,
  ): string[] {
    // The cookie lives longer than its token, so that the server can recognise an expired token.
    const lines = this.lines(this.access, token.token, session, now, request);
    if (this.indicator) {
      const value = `${Math.floor(token.expiresAt / 1_000)}.${Math.floor(session.expiresAt / 1_000)}`;
      lines.push(...this.lines(this.indicator, value, session, now, request));
    }
    return lines;
  }

  private lines(
    each: Cookie,
    value: string,
    { expiresAt, remember }: SessionLife,
    now: number,
    request: HttpRequest | undefined,
  ): string[] {
    const maxAge = remember ? Math.max(1, Math.ceil((expiresAt - now) / 1_000)) : undefined;
    const { name, attributes } = each;
    return [...this.twinCleared(each, request), setCookieLine(name, value, maxAge, attributes)];
  }

  /**
   * Clears the twin of a cookie that is partitioned where the cookie is not, or the other way round. Browsers keep both, send
   * both, and send the older one first.
   *
   * - Where cookies are partitioned, the twin is always cleared: until then, the frames on all sites share it, and two of them
   *   that refreshed with it would look like a thief and its victim.
   * - Where they are not, it is cleared if the request has duplicates.
   *
   * A line that sets the cookie itself must follow. A browser that does not know `Partitioned` has one cookie for both.
   */
  private twinCleared({ name, attributes }: Cookie, request: HttpRequest | undefined): string[] {
    const { partitioned, secure } = attributes;
    const isCleared = partitioned || (secure && cookieValues(request?.headers.cookie, name).length > 1);
    if (!isCleared) return NO_LINES;
    return [setCookieLine(name, '', 0, { ...attributes, partitioned: !partitioned })];
  }

  private write(response: HttpResponse, lines: string[]): void {
    if (areHeadersSent(response)) return;
    const all = mergeSetCookieLines(responseHeader(response, 'set-cookie'), lines);
    setResponseHeader(response, 'set-cookie', all);
    if (!this.hasWarnedOfSize) this.checkSize(all);
    keepPrivate(response);
  }

  private checkSize(lines: readonly string[]): void {
    let size = 0;
    for (const line of lines) size += line.length + 'Set-Cookie: \r\n'.length;
    if (size <= LARGE) return;
    this.hasWarnedOfSize = true;
    logger.warn(
      `A response has ${size} bytes of cookies. nginx takes 4,096 bytes of response headers by default, and answers 502 to longer ones: say "proxy_buffer_size 8k" there, or keep what is large in the session's data instead of its claims. This is logged once.`,
    );
  }

  private get cookies(): Cookie[] {
    return [this.access, this.refresh, this.marker, ...(this.indicator ? [this.indicator] : [])];
  }

  private get refresh(): Cookie {
    return (this.lazyRefresh ??= this.cookieOfRefresh(this.options.cookies.refreshName));
  }

  /** The marker has the same path and attributes as the refresh cookie, so both are always sent together. */
  private get marker(): Cookie {
    return (this.lazyMarker ??= this.cookieOfRefresh(this.options.cookies.lookAgainName));
  }

  private cookieOfRefresh(name: string): Cookie {
    const { cookies, refresh } = this.options;
    const path = cookies.refreshPath ?? (refresh === 'endpoint' ? this.refreshRoute() : cookies.path);
    return cookie(cookies, name, path, true);
  }
}

/**
 * Wherever the guard may exchange a refresh cookie, it must see this one, too. The name is that of the access cookie's path, so
 * that services that only verify know it.
 */
function impersonationCookie({ cookies, refresh }: ResolvedOptions): Cookie {
  const { name, attributes } = cookie(cookies, impersonationName(cookies.accessName), cookies.path, true);
  const path = (refresh === 'transparent' ? cookies.refreshPath : undefined) ?? cookies.path;
  return { name, attributes: { ...attributes, path } };
}

/** The longest value that browsers accept. */
function longestValueOf({ name, attributes }: Cookie): number {
  return MAX_COOKIE - setCookieLine(name, '', Number.MAX_SAFE_INTEGER, attributes).length;
}

/** Clears a cookie; a partitioned one also as it was before it was partitioned. */
function clearedLines(name: string, attributes: CookieAttributes): string[] {
  const whole = attributes.partitioned ? [{ ...attributes, partitioned: false }] : [];
  return [...whole, attributes].map((each) => setCookieLine(name, '', 0, each));
}

function cookie(
  { domain, secure, sameSite, partitioned, prefix }: ResolvedOptions['cookies'],
  name: string,
  path: string,
  httpOnly: boolean,
): Cookie {
  const attributes = { path, domain, httpOnly, secure, sameSite, partitioned };
  return { name: cookieName(name, { path, domain, secure, prefix }, httpOnly), attributes };
}
