import type { IncomingHttpHeaders } from 'node:http';
import type { HttpRequest } from '../messages.js';
import { trimSpaces } from './cookie-header.js';
import type { TokenReader } from './token-transport.js';

/** Access tokens in the `Authorization: Bearer` header (RFC 6750, 2.1), for clients without cookies. */
export class BearerReader implements TokenReader {
  /** A page of another site cannot make a browser send this header. */
  readonly isAmbient = false;
  readonly isForImpersonation = false;
  readonly credential = { type: 'bearer' } as const;

  readAccessToken({ authorization }: IncomingHttpHeaders): string | undefined {
    if (authorization === undefined || !/^bearer /i.test(authorization)) return undefined;
    return trimSpaces(authorization.slice('bearer '.length));
  }

  readAccessTokens({ headers }: HttpRequest): string[] {
    const token = this.readAccessToken(headers);
    return token === undefined ? [] : [token];
  }

  /** A service that only verifies gets no refresh tokens. */
  isMeant(_headers: IncomingHttpHeaders): boolean {
    return false;
  }
}
