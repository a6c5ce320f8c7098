import type { AccessToken } from '../protocol/access-token.js';
import type { SessionFacts } from '../storage/session.store.js';
import type { OnlyMembersOf, SessionClaims, SessionData, Update } from '../types/register.js';
import { AuthenticatedSession } from './authenticated-session.js';
import type { SessionManager } from './session-manager.js';
import type { SessionInfo } from './session.types.js';

/** How a session reaches the client whose request it serves. */
export interface ClientLink {
  /** Gives the client an access token with the row's claims in place of the present one. */
  replace(row: SessionFacts, present: AccessToken): Promise<AccessToken>;
  /** The CSRF token of the session. */
  csrfToken(sessionId: string): Promise<string>;
  /** Takes the cookies from the client. */
  clear(): void;
}

/** The session of the request that is being served, with what the database has of it. */
export class ActiveSession<TClaims = SessionClaims> extends AuthenticatedSession<TClaims> {
  readonly #manager: SessionManager;
  readonly #client: ClientLink;

  constructor(token: AccessToken, manager: SessionManager, client: ClientLink) {
    super(token);
    this.#manager = manager;
    this.#client = client;
  }

  /** Ends the session and takes its cookies from the client. @returns whether it was still alive */
  async revoke(): Promise<boolean> {
    const revoked = await this.#manager.revoke(this.id);
    this.#client.clear();
    return revoked;
  }

  /** The CSRF token of the session, for a page that needs it in mode `token`: give it to the page in the answer. */
  async csrfToken(): Promise<string> {
    return this.#client.csrfToken(this.id);
  }

  /** What the database has of the session. @throws {@link SessionNotFoundError} when it is over */
  async getInfo(): Promise<SessionInfo<TClaims>> {
    return (await this.#manager.get(this.id)) as SessionInfo<TClaims>;
  }

  /** The session's data. @throws {@link SessionNotFoundError} when it is over */
  async getData<TData = SessionData>(): Promise<TData> {
    return (await this.#manager.get(this.id)).data as TData;
  }

  /**
   * Replaces the session's data by a value, or by what a function makes of the present one; then nothing that others
   * write at the same time is lost.
   *
   * @throws {@link SessionNotFoundError} | {@link InvalidDataError}
   */
  async updateData<TNext extends Update<SessionData>>(
    next: TNext & OnlyMembersOf<SessionData, TNext>,
  ): Promise<void> {
    await this.#manager.updateData(this.id, next);
  }

  /**
   * Replaces the claims by a value, or by what a function makes of the present ones. The response carries an access token
   * with the new claims.
   *
   * @throws {@link SessionNotFoundError} | {@link InvalidClaimsError}
   */
  async updateClaims<TNext extends Update<TClaims>>(
    next: TNext & OnlyMembersOf<TClaims, TNext>,
  ): Promise<void> {
    const row = await this.#manager.updateClaims(this.id, next);
    this.token = await this.#client.replace(row, this.token);
  }
}
