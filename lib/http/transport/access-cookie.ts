import type { IncomingHttpHeaders } from 'node:http';
import type { HttpRequest } from '../messages.js';
import { cookieValues } from './cookie-header.js';
import type { TokenReader } from './token-transport.js';

/** Access tokens in a cookie. */
export class AccessCookie implements TokenReader {
  readonly isAmbient = true;

  /** @param cookieName with its prefix */
  constructor(private readonly cookieName: string) {}

  readAccessToken({ cookie }: IncomingHttpHeaders): string | undefined {
    return cookieValues(cookie, this.cookieName, 1)[0];
  }

  readAccessTokens({ headers }: HttpRequest): string[] {
    return cookieValues(headers.cookie, this.cookieName);
  }
}
