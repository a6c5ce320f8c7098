import type { ResolvedCookieOptions } from './cookie-options.js';

/** The prefixes that browsers know (RFC 6265bis, 4.1.3), longest first. They compare them without regard to case. */
export const NAME_PREFIX = /^__(?:host-http|host|http|secure)-/i;

/**
 * The name of the cookie for users who act as others. It follows from that of the access cookie, so that no service can lack it:
 * a service that did not know it would take such a user for themselves.
 */
export function impersonationName(accessName: string): string {
  return `${accessName}_as`;
}

/**
 * A cookie's name with its prefix. Browsers do not let other hosts set cookies with `__Host-`, nor scripts those with
 * `__Host-Http-`. A browser that does not know `__Host-Http-` sees `__Host-`, so nothing is lost there.
 *
 * Where a cookie has a domain or a path, it has `__Secure-`, not `__Http-`: a browser that does not know `__Http-` would let
 * everybody on the network set it, over plain HTTP as well.
 */
export function cookieName(
  name: string,
  { path, domain, secure, prefix }: Pick<ResolvedCookieOptions, 'path' | 'domain' | 'secure' | 'prefix'>,
  httpOnly: boolean,
): string {
  if (prefix === 'none' || !secure || NAME_PREFIX.test(name)) return name;
  if (domain !== undefined || path !== '/') return `__Secure-${name}`;
  return `${httpOnly ? '__Host-Http-' : '__Host-'}${name}`;
}
