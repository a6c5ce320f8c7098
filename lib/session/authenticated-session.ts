import { inspect, type InspectOptions } from 'node:util';
import type { AccessToken } from '../protocol/access-token.js';
import type { SessionActor } from '../types/actor.js';
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

  /**
   * When the user last proved who they are: at sign-in, or when the session before this one was reauthenticated. A refresh
   * does not change it. Exact to a second. If there is an {@link actor}, when the actor did.
   */
  get authenticatedAt(): Date {
    return new Date(this.#token.authTime);
  }

  /** How the user did (RFC 8176), such as `['pwd', 'otp']`; empty if the application does not say. */
  get amr(): readonly string[] {
    return this.#token.amr;
  }

  /** Who acts as the user, if it is somebody else (RFC 8693, 4.1); `undefined` if the user does. */
  get actor(): SessionActor | undefined {
    return this.#token.actor;
  }

  toJSON(): object {
    const { id, userId, claims, tokenIssuedAt, tokenExpiresAt, authenticatedAt, amr, actor } = this;
    const facts = { id, userId, claims, tokenIssuedAt, tokenExpiresAt, authenticatedAt, amr };
    return actor ? { ...facts, actor } : facts;
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `${this.constructor.name} ${inspect(this.toJSON(), options)}`;
  }

  /** @internal What only the module itself may see. */
  static accessTokenOf(session: AuthenticatedSession<unknown>): AccessToken {
    return session.#token;
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
