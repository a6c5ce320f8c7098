import type { IncomingHttpHeaders } from 'node:http';
import type { HttpRequest } from '../messages.js';
import { cookieValues, firstCookieValue } from './cookie-header.js';
import type { Credential, TokenReader } from './token-transport.js';

/**
 * The largest number of values that are looked at. A browser has one, or a few from several domains. Anybody who can set
 * cookies for a sibling subdomain can add more.
 */
const MOST_VALUES = 16;

/** A JWS, whose header is a JSON object: in base64url it begins with "ey". */
const JWS = /^ey[\w-]*\.[\w-]*\.[\w-]*$/;

/** Access tokens in a cookie. */
export class AccessCookie implements TokenReader {
  readonly isAmbient = true;

  /** @param cookieName with its prefix */
  constructor(
    private readonly cookieName: string,
    readonly isForImpersonation = false,
  ) {}

  get credential(): Credential {
    return { type: 'cookie', name: this.cookieName };
  }

  readAccessToken({ cookie }: IncomingHttpHeaders): string | undefined {
    return firstCookieValue(cookie, this.cookieName);
  }

  readAccessTokens({ headers }: HttpRequest): string[] {
    const values = cookieValues(headers.cookie, this.cookieName);
    return values.length > MOST_VALUES
      ? values.filter((each) => JWS.test(each)).slice(0, MOST_VALUES)
      : values;
  }

  /** Browsers send cookies on their own: nobody has chosen them. */
  isMeant(_headers: IncomingHttpHeaders): boolean {
    return false;
  }
}
