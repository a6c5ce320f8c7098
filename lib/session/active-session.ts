import type { AccessToken } from '../access-token/access-tokens.js';
import type { SessionRow } from '../storage/session.store.js';
import type { JsonValue } from './json.js';
import type { SessionManager, Update } from './session-manager.js';
import type { SessionInfo, UserId } from './session.types.js';

/** How a session reaches the client whose request it serves. */
export interface ClientLink {
  /** Gives the client an access token with the row's claims in place of the present one. */
  replace(row: SessionRow, present: AccessToken): Promise<AccessToken>;
  /** Takes the cookies from the client. */
  clear(): void;
}

/** The session of the request that is being served. */
export class ActiveSession<TClaims extends JsonValue = JsonValue> {
  constructor(
    private accessToken: AccessToken,
    private readonly manager: SessionManager,
    private readonly client: ClientLink,
  ) {}

  /** The session's id: a name, not a secret. */
  get id(): string {
    return this.accessToken.sessionId;
  }

  /** Whose session it is; a string or a number, as it was at sign-in. */
  get userId(): UserId {
    return this.accessToken.userId;
  }

  /** The claims in the access token. */
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

  /** Ends the session and takes its cookies from the client. @returns whether it was still alive */
  async revoke(): Promise<boolean> {
    const revoked = await this.manager.revoke(this.id);
    this.client.clear();
    return revoked;
  }

  /** What the database has of the session. @throws {@link SessionNotFoundError} when it is over */
  async getInfo(): Promise<SessionInfo> {
    return this.manager.get(this.id);
  }

  /** The session's data. @throws {@link SessionNotFoundError} when it is over */
  async getData<T extends JsonValue = JsonValue>(): Promise<T> {
    return (await this.manager.get(this.id)).data as T;
  }

  /**
   * Replaces the session's data by a value, or by what a function makes of the present one; then nothing that others
   * write at the same time is lost.
   *
   * @throws {@link SessionNotFoundError} | {@link InvalidDataError}
   */
  async updateData(next: Update): Promise<void> {
    await this.manager.updateData(this.id, next);
  }

  /**
   * Replaces the claims by a value, or by what a function makes of the present ones. The response carries an access token
   * with the new claims.
   *
   * @throws {@link SessionNotFoundError} | {@link InvalidClaimsError}
   */
  async updateClaims(next: Update): Promise<void> {
    const row = await this.manager.updateClaims(this.id, next);
    this.accessToken = await this.client.replace(row, this.accessToken);
  }

  /** Without tokens, so that a session can be logged and returned. */
  toJSON(): object {
    const { id, userId, claims, issuedAt, expiresAt } = this;
    return { id, userId, claims, issuedAt, expiresAt };
  }
}
