import { impersonationName } from './cookie-name.js';
import { COOKIE_PATH, fail, flag, list, oneOf, text, TOKEN } from './option-checks.js';
import type { RefreshMode, SessionCookieOptions } from './session-module.options.js';

export interface ResolvedCookieOptions {
  readonly accessName: string;
  readonly refreshName: string;
  readonly lookAgainName: string;
  readonly indicatorName: string | undefined;
  readonly prefix: 'auto' | 'none';
  readonly domain: string | undefined;
  readonly path: string;
  readonly refreshPath: string | undefined;
  readonly sameSite: 'strict' | 'lax' | 'none';
  readonly secure: boolean;
  readonly partitioned: boolean;
  readonly formerDomains: readonly string[];
}

const DOMAIN = /^\.?(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/i;

export function resolveCookies(
  input: SessionCookieOptions = {},
  refresh: RefreshMode,
  warnings: string[],
): ResolvedCookieOptions {
  const cookies: ResolvedCookieOptions = {
    accessName: text('cookies.accessName', input.accessName) ?? 'session_access',
    refreshName: text('cookies.refreshName', input.refreshName) ?? 'session_refresh',
    lookAgainName: text('cookies.lookAgainName', input.lookAgainName) ?? 'session_look_again',
    indicatorName:
      input.indicatorName === false ? undefined : text('cookies.indicatorName', input.indicatorName),
    prefix: oneOf('cookies.prefix', input.prefix, ['auto', 'none'], 'auto'),
    domain: text('cookies.domain', input.domain),
    path: text('cookies.path', input.path) ?? '/',
    refreshPath: text('cookies.refreshPath', input.refreshPath),
    sameSite: oneOf('cookies.sameSite', input.sameSite, ['strict', 'lax', 'none'], 'lax'),
    secure: flag('cookies.secure', input.secure, true),
    partitioned: flag('cookies.partitioned', input.partitioned, false),
    formerDomains: list('cookies.formerDomains', input.formerDomains),
  };

  const names = (['accessName', 'refreshName', 'lookAgainName', 'indicatorName'] as const).filter(
    (key) => cookies[key] !== undefined,
  );
  for (const key of names) {
    const name = cookies[key]!;
    if (!TOKEN.test(name)) fail(`cookies.${key}`, `${JSON.stringify(name)} is not a cookie name.`);
    checkNamePrefix(key, name, cookies, refresh);
  }
  const all = [...names.map((key) => cookies[key]!), impersonationName(cookies.accessName)];
  if (new Set(all.map((name) => name.toLowerCase())).size !== all.length) {
    fail('cookies', 'two cookies have the same name.');
  }
  for (const key of ['path', 'refreshPath'] as const) {
    const path = cookies[key];
    if (path !== undefined && !COOKIE_PATH.test(path)) {
      fail(`cookies.${key}`, 'must begin with "/" and contain no ";" or control character.');
    }
  }
  if (
    refresh === 'transparent' &&
    cookies.refreshPath !== undefined &&
    !covers(cookies.refreshPath, cookies.path)
  ) {
    fail(
      'cookies.refreshPath',
      'does not cover cookies.path, so that the refresh cookie would not come with the requests that need it. Leave it out, or choose refresh: "endpoint".',
    );
  }
  if (cookies.domain !== undefined && !DOMAIN.test(cookies.domain)) {
    fail('cookies.domain', 'must be a host name, without scheme, port or path.');
  }
  for (const domain of cookies.formerDomains) {
    if (!DOMAIN.test(domain)) fail('cookies.formerDomains', `${JSON.stringify(domain)} is not a host name.`);
  }
  if (cookies.sameSite === 'none' && !cookies.secure) {
    fail('cookies.sameSite', '"none" needs cookies.secure; browsers reject the cookie otherwise.');
  }
  if (cookies.partitioned && !cookies.secure) {
    fail('cookies.partitioned', 'needs cookies.secure; browsers reject the cookie otherwise.');
  }
  if (!cookies.secure && process.env['NODE_ENV'] === 'production') {
    warnings.push(
      'cookies.secure is false in production: whoever can read the network traffic can take over sessions.',
    );
  }
  return cookies;
}

/**
 * If the application writes a prefix into a name, the cookie must meet the conditions of the prefix (RFC 6265bis, 4.1.3).
 */
function checkNamePrefix(
  key: string,
  name: string,
  cookies: ResolvedCookieOptions,
  refresh: RefreshMode,
): void {
  const refreshPath =
    cookies.refreshPath ?? (refresh === 'endpoint' ? 'that of the refresh route' : cookies.path);
  const path = key === 'refreshName' || key === 'lookAgainName' ? refreshPath : cookies.path;
  const isOfHost = cookies.secure && cookies.domain === undefined && path === '/';
  if (/^__host-/i.test(name) && !isOfHost) {
    fail(
      `cookies.${key}`,
      'begins with "__Host-", which browsers accept only with secure, without a domain and with path "/".',
    );
  }
  for (const prefix of ['__Secure-', '__Http-']) {
    if (name.toLowerCase().startsWith(prefix.toLowerCase()) && !cookies.secure) {
      fail(`cookies.${key}`, `begins with "${prefix}", which browsers accept only with cookies.secure.`);
    }
  }
  if (/^__(host-)?http-/i.test(name) && key === 'indicatorName') {
    fail(
      'cookies.indicatorName',
      'begins with a prefix that browsers accept only for cookies that scripts cannot read, and scripts are to read this one. Begin it with "__Host-" or "__Secure-".',
    );
  }
}

/** Whether browsers send a cookie of one path with requests to another path (RFC 6265, 5.1.4). */
export function covers(cookiePath: string, path: string): boolean {
  return path === cookiePath || path.startsWith(cookiePath.endsWith('/') ? cookiePath : `${cookiePath}/`);
}
