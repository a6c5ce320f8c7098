import type { AccessToken } from '../protocol/access-token.js';
import type { SessionClaims } from '../types/register.js';
import { AuthenticatedSession } from './authenticated-session.js';
import type { IssuedToken } from './session.types.js';

/** The result of verifying an access token. */
export class VerifiedSession<TClaims = SessionClaims> extends AuthenticatedSession<TClaims> {
  readonly #newAccessToken: IssuedToken | undefined;

  constructor(token: AccessToken, newAccessToken?: IssuedToken) {
    super(token);
    this.#newAccessToken = newAccessToken;
  }

  /**
   * The proven access token that replaces the verified one. Give it to the client. It has the same expiry and needs no
   * database call. Present on the first use of an access token from a refresh, after the reuse window. Otherwise, and always
   * in a service without the database, it is `undefined`.
   */
  get newAccessToken(): IssuedToken | undefined {
    return this.#newAccessToken;
  }
}
