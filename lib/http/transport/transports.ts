import type { CookieTransport } from './cookie-transport.js';
import type { HeaderTransport } from './header-transport.js';
import type { ImpersonationCookie } from './impersonation-cookie.js';
import type { TokenTransport } from './token-transport.js';

/** The transports of a module, as its option `transport` says. At least one is there. */
export interface Transports {
  readonly headers: HeaderTransport | undefined;
  readonly impersonation: ImpersonationCookie | undefined;
  readonly cookies: CookieTransport | undefined;
}

/** In the order in which they are looked at. */
export function listOf({ headers, impersonation, cookies }: Transports): TokenTransport[] {
  return [headers, impersonation, cookies].filter((each) => each !== undefined);
}
