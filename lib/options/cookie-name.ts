import type { ResolvedCookieOptions } from './cookie-options.js';

/** A cookie's name with its prefix. Browsers do not let other hosts set cookies with such a prefix (RFC 6265bis, 4.1.3). */
export function cookieName(
  name: string,
  { path, domain, secure, prefix }: Pick<ResolvedCookieOptions, 'path' | 'domain' | 'secure' | 'prefix'>,
): string {
  if (prefix === 'none' || !secure || /^__(host|secure)-/i.test(name)) return name;
  return `${domain === undefined && path === '/' ? '__Host-' : '__Secure-'}${name}`;
}
