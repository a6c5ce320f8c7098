import type { AccessToken } from '../protocol/access-token.js';
import type { JsonValue } from '../protocol/json.js';
import type { UserId } from '../protocol/user-id.js';

/** A session as its access token tells of it: all that can be known without the database. */
export class AuthenticatedSession<TClaims extends JsonValue = JsonValue> {
  constructor(protected accessToken: AccessToken) {}

  /** The session's id: a name, not a secret. */
  get id(): string {
    return this.accessToken.sessionId;
  }

  /** Whose session it is; a string or a number, as it was at sign-in. */
  get userId(): UserId {
    return this.accessToken.userId;
  }

  /** The claims in the access token. They are frozen: requests with the same token share them. */
  get claims(): TClaims {
    return this.accessToken.claims as TClaims;
  }

  /** When the access token was issued. */
  get issuedAt(): Date {
    return new Date(this.accessToken.issuedAt);
  }

  /** When the access token expires; the session lives on. */
  get expiresAt(): Date {
    return new Date(this.accessToken.expiresAt);
  }

  /** Without tokens, so that a session can be logged and returned. */
  toJSON(): object {
    const { id, userId, claims, issuedAt, expiresAt } = this;
    return { id, userId, claims, issuedAt, expiresAt };
  }
}
