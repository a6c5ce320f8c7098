import type { ServerResponse } from 'node:http';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { TokenSet } from '../session/session-lifecycle.js';
import type { SignedAccessToken } from '../protocol/access-token.js';
import {
  type CookieAttributes,
  cookieNameOf,
  cookieValues,
  mergeSetCookieLines,
  setCookieLine,
} from './cookie-header.js';
import { cookieName } from '../options/cookie-name.js';
import { type HttpRequest, type HttpResponse, responseHeader, setResponseHeader } from './exchange.js';

interface Cookie {
  readonly name: string;
  readonly attributes: CookieAttributes;
}

/** What browsers keep of one cookie (RFC 6265bis, 5.6), counting name, value and, to be safe, attributes. */
const MAX_COOKIE = 4_096;

/** Response header with the access token that a client without cookies is to use from now on. */
export const NEW_ACCESS_TOKEN = 'access-token';

/** Tokens in cookies: reads them from requests, sets and clears them in responses. */
export class SessionTransport {
  private readonly access: Cookie;
  private readonly indicator: Cookie | undefined;
  private lazyRefresh: Cookie | undefined;
  private lazyMarker: Cookie | undefined;

  /** @param refreshRoute path of the refresh route as the client sees it; not asked before the first request */
  constructor(
    private readonly options: ResolvedOptions,
    private readonly refreshRoute: () => string,
  ) {
    const { cookies } = options;
    this.access = this.cookie(cookies.accessName, cookies.path, true);
    this.indicator =
      cookies.indicatorName === undefined
        ? undefined
        : this.cookie(cookies.indicatorName, cookies.path, false);
  }

  /** Characters that an access token may have. */
  get maxAccessTokenLength(): number {
    const { name, attributes } = this.access;
    return MAX_COOKIE - setCookieLine(name, '', Number.MAX_SAFE_INTEGER, attributes).length;
  }

  /** The first access token of a request: nearly always the only one. */
  readAccessToken(cookieHeader: string | undefined): string | undefined {
    return cookieValues(cookieHeader, this.access.name, 1)[0];
  }

  /** The access tokens of a request; several where the client holds duplicates of the cookie. */
  readAccessTokens({ headers }: HttpRequest): string[] {
    return cookieValues(headers.cookie, this.access.name);
  }

  /** The refresh tokens of a request; several where the client holds duplicates of the cookie. */
  readRefreshTokens({ headers }: HttpRequest): string[] {
    return cookieValues(headers.cookie, this.refresh.name);
  }

  /** Whether a request carries any token in cookies. */
  hasTokens(request: HttpRequest): boolean {
    return this.readAccessTokens(request).length > 0 || this.readRefreshTokens(request).length > 0;
  }

  /** Gives the client its tokens; a refresh token that is absent is one that it keeps. */
  writeTokens(response: HttpResponse, { row, accessToken, refreshToken }: TokenSet, now: number): void {
    const lines = this.accessLines(accessToken, row.expiresAt, now);
    if (refreshToken !== undefined) lines.push(this.line(this.refresh, refreshToken, row.expiresAt, now));
    this.write(response, lines);
  }

  /** Gives the client another access token. */
  writeAccessToken(
    response: HttpResponse,
    token: SignedAccessToken,
    sessionExpiresAt: number,
    now: number,
  ): void {
    this.write(response, this.accessLines(token, sessionExpiresAt, now));
  }

  /** The token ids that a client has been told of before, because they looked old; a sibling domain may have added some. */
  readMarkers({ headers }: HttpRequest): ReadonlySet<string> {
    return new Set(cookieValues(headers.cookie, this.marker.name).flatMap((value) => value.split('.')));
  }

  /**
   * Has the client name these tokens if it comes back with them. The marker lives as long as they can: a client that does not
   * follow a redirection looks again with its next request.
   */
  writeMarker(response: HttpResponse, tokenIds: readonly string[]): void {
    const maxAge = Math.ceil(this.options.refreshToken.ttl / 1_000);
    const { name, attributes } = this.marker;
    this.write(response, [setCookieLine(name, tokenIds.join('.'), maxAge, attributes)]);
  }

  /** Takes the marker from a client that signs in. In endpoint mode, requests elsewhere do not tell whether it has one. */
  clearMarker(request: HttpRequest, response: HttpResponse): void {
    const { name, attributes } = this.marker;
    const isSeen = attributes.path === '/' || attributes.path === this.access.attributes.path;
    if (isSeen && cookieValues(request.headers.cookie, name, 1).length === 0) return;
    this.write(response, [setCookieLine(name, '', 0, attributes)]);
  }

  /** Takes all cookies of the session from the client. */
  clear(response: HttpResponse): void {
    const lines = this.cookies.map(({ name, attributes }) => setCookieLine(name, '', 0, attributes));
    this.write(response, lines);
  }

  /** Takes tokens back from a response before its headers leave; those of the application stay. */
  withdraw(response: ServerResponse): void {
    const names = new Set(this.cookies.map(({ name }) => name));
    const lines = responseHeader(response, 'set-cookie').filter((line) => !names.has(cookieNameOf(line)));
    if (lines.length > 0) response.setHeader('set-cookie', lines);
    else response.removeHeader('set-cookie');
    response.removeHeader(NEW_ACCESS_TOKEN);
    if (this.options.csrf.mode === 'token') response.removeHeader(this.options.csrf.header);
  }

  /**
   * Takes duplicates from a client that earlier versions of the application left there, set for other domains.
   */
  clearFormerDomains(request: HttpRequest, response: HttpResponse): void {
    const { formerDomains } = this.options.cookies;
    if (formerDomains.length === 0) return;
    for (const { name, attributes } of [this.access, this.refresh]) {
      // No cookie with a domain can have a "__Host-" name, and no host-only one lost it but by a change of path.
      const withDomain = name.replace(/^__Host-/, '__Secure-');
      const values = cookieValues(request.headers.cookie, name).length;
      const ghosts =
        withDomain === name ? values - 1 : cookieValues(request.headers.cookie, withDomain).length;
      if (ghosts < 1) continue;
      const lines = formerDomains
        .filter((domain) => domain !== attributes.domain)
        .map((domain) => setCookieLine(withDomain, '', 0, { ...attributes, domain }));
      // Host-only is one more domain that the cookie may have been set for.
      if (attributes.domain !== undefined) {
        lines.push(setCookieLine(name, '', 0, { ...attributes, domain: undefined }));
      }
      this.write(response, lines);
    }
  }

  private accessLines(token: SignedAccessToken, sessionExpiresAt: number, now: number): string[] {
    // The cookie outlives its token, so that an expired one is still there to be recognised.
    const lines = [this.line(this.access, token.token, sessionExpiresAt, now)];
    if (this.indicator) {
      const value = `${Math.floor(token.expiresAt / 1_000)}.${Math.floor(sessionExpiresAt / 1_000)}`;
      lines.push(this.line(this.indicator, value, sessionExpiresAt, now));
    }
    return lines;
  }

  private line({ name, attributes }: Cookie, value: string, expiresAt: number, now: number): string {
    return setCookieLine(name, value, Math.max(1, Math.ceil((expiresAt - now) / 1_000)), attributes);
  }

  private write(response: HttpResponse, lines: string[]): void {
    setResponseHeader(
      response,
      'set-cookie',
      mergeSetCookieLines(responseHeader(response, 'set-cookie'), lines),
    );
    // A cache that kept this response would hand one client's session to others.
    if (responseHeader(response, 'cache-control').length === 0) {
      setResponseHeader(response, 'cache-control', 'private, no-store');
    }
  }

  private get cookies(): Cookie[] {
    return [this.access, this.refresh, this.marker, ...(this.indicator ? [this.indicator] : [])];
  }

  private get refresh(): Cookie {
    return (this.lazyRefresh ??= this.cookie(this.options.cookies.refreshName, this.refreshPath, true));
  }

  /** Travels exactly where the refresh cookie does. */
  private get marker(): Cookie {
    return (this.lazyMarker ??= this.cookie(this.options.cookies.lookAgainName, this.refreshPath, true));
  }

  private get refreshPath(): string {
    const { refreshPath, path } = this.options.cookies;
    return refreshPath ?? (this.options.refresh === 'endpoint' ? this.refreshRoute() : path);
  }

  private cookie(name: string, path: string, httpOnly: boolean): Cookie {
    const { domain, secure, sameSite, partitioned, prefix } = this.options.cookies;
    const attributes = { path, domain, httpOnly, secure, sameSite, partitioned };
    return { name: cookieName(name, { path, domain, secure, prefix }), attributes };
  }
}
