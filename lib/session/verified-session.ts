import type { AccessToken } from '../protocol/access-token.js';
import type { SessionClaims } from '../types/register.js';
import { AuthenticatedSession } from './authenticated-session.js';
import type { IssuedToken } from './session.types.js';

/** What the verification of an access token gives. */
export class VerifiedSession<TClaims = SessionClaims> extends AuthenticatedSession<TClaims> {
  readonly #newAccessToken: IssuedToken | undefined;

  constructor(token: AccessToken, newAccessToken?: IssuedToken) {
    super(token);
    this.#newAccessToken = newAccessToken;
  }

  /**
   * On the first use, after the reuse window, of an access token that a refresh gave: its replacement. It has the same expiry,
   * and costs no database call any more. Give it to the client. A service without the database never has one.
   */
  get newAccessToken(): IssuedToken | undefined {
    return this.#newAccessToken;
  }
}
