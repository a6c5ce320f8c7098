import { inspect, type InspectOptions } from 'node:util';
import type { AccessToken } from '../protocol/access-token.js';
import type { SessionClaims, UserId } from '../types/register.js';

/**
 * A session as its access token describes it, without the database. You can log it, inspect it and return it from a handler,
 * because tokens, secrets and the request are private.
 */
export class AuthenticatedSession<TClaims = SessionClaims> {
  /** The session's id. It is not a secret. */
  readonly id: string;
  /** The user of the session: a string or a number, as at sign-in. */
  readonly userId: UserId;
  /** The claims in the access token. They are frozen, because requests with the same token share them. */
  readonly claims: TClaims;
  #token: AccessToken;

  constructor(token: AccessToken) {
    this.id = token.sessionId;
    this.userId = token.userId;
    this.claims = token.claims as TClaims;
    this.#token = token;
  }

  /** When the access token was issued. */
  get tokenIssuedAt(): Date {
    return new Date(this.#token.issuedAt);
  }

  /** When the access token expires. The session goes on. */
  get tokenExpiresAt(): Date {
    return new Date(this.#token.expiresAt);
  }

  toJSON(): object {
    const { id, userId, claims, tokenIssuedAt, tokenExpiresAt } = this;
    return { id, userId, claims, tokenIssuedAt, tokenExpiresAt };
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `${this.constructor.name} ${inspect(this.toJSON(), options)}`;
  }

  /** @internal */
  protected get token(): AccessToken {
    return this.#token;
  }

  /** @internal */
  protected set token(token: AccessToken) {
    this.#token = token;
    (this as { claims: TClaims }).claims = token.claims as TClaims;
  }
}
