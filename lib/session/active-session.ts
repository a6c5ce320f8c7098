import type { AccessToken } from '../protocol/access-token.js';
import type { SessionFacts } from '../storage/session.store.js';
import { AuthenticatedSession } from './authenticated-session.js';
import type { JsonValue } from '../protocol/json.js';
import type { SessionManager, Update } from './session-manager.js';
import type { SessionInfo } from './session.types.js';

/** How a session reaches the client whose request it serves. */
export interface ClientLink {
  /** Gives the client an access token with the row's claims in place of the present one. */
  replace(row: SessionFacts, present: AccessToken): Promise<AccessToken>;
  /** Takes the cookies from the client. */
  clear(): void;
}

/** The session of the request that is being served, with what the database has of it. */
export class ActiveSession<TClaims extends JsonValue = JsonValue> extends AuthenticatedSession<TClaims> {
  constructor(
    accessToken: AccessToken,
    private readonly manager: SessionManager,
    private readonly client: ClientLink,
  ) {
    super(accessToken);
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
}
