import type { AccessToken } from '../protocol/access-token.js';
import type { SessionFacts } from '../storage/session.store.js';
import type { OnlyMembersOf, SessionClaims, SessionData, Update } from '../types/register.js';
import { AuthenticatedSession } from './authenticated-session.js';
import type { SessionManager } from './session-manager.js';
import type { RevokeOptions, SessionInfo } from './session.types.js';

/** How a session sends tokens to its client. */
export interface ClientLink {
  /** Gives the client an access token with the claims of the row, which replaces the present one. */
  replace(row: SessionFacts, present: AccessToken): Promise<AccessToken>;
  /** The CSRF token of the session. */
  csrfToken(sessionId: string): Promise<string>;
  /** Clears the session's cookies. */
  clear(): void;
}

/** The session of the request that is being handled, with access to its row in the database. */
export class ActiveSession<TClaims = SessionClaims> extends AuthenticatedSession<TClaims> {
  readonly #manager: SessionManager;
  readonly #client: ClientLink;

  constructor(token: AccessToken, manager: SessionManager, client: ClientLink) {
    super(token);
    this.#manager = manager;
    this.#client = client;
  }

  /**
   * Revokes the session and clears its cookies.
   *
   * @param options why, and by whom. @default its user signs out: `logout`
   * @returns whether the session was live
   * @throws {@link InvalidReasonError}
   */
  async revoke(options?: RevokeOptions): Promise<boolean> {
    const reason = options?.reason ?? 'logout';
    const ended = await this.#manager.revokeAuthentic([this.id], { ...options, reason });
    this.#client.clear();
    return ended > 0;
  }

  /** The CSRF token of the session, for CSRF mode `token`. Give it to a page that has lost it. */
  async csrfToken(): Promise<string> {
    return this.#client.csrfToken(this.id);
  }

  /** The session as the database has it. @throws {@link SessionNotFoundError} when it is over */
  async getInfo(): Promise<SessionInfo<TClaims>> {
    return (await this.own((manager) => manager.get(this.id, this.id))) as SessionInfo<TClaims>;
  }

  /**
   * Gives the device a name, or takes it away. See `SessionService.rename`.
   *
   * @throws {@link SessionNotFoundError} | {@link InvalidInputError}
   */
  async rename(label: string | null): Promise<void> {
    await this.own((manager) => manager.rename(this.id, label));
  }

  /** The session's data. @throws {@link SessionNotFoundError} when it is over */
  async getData<TData = SessionData>(): Promise<TData> {
    return (await this.own((manager) => manager.get(this.id))).data as TData;
  }

  /**
   * Replaces the session's data by a value, or by the result of a function of the present data. With a function, no update
   * that another request makes at the same time is lost.
   *
   * @throws {@link SessionNotFoundError} | {@link InvalidDataError}
   */
  async updateData<TNext extends Update<SessionData>>(
    next: TNext & OnlyMembersOf<SessionData, TNext>,
  ): Promise<void> {
    await this.own((manager) => manager.updateData(this.id, next));
  }

  /**
   * Replaces the claims by a value, or by the result of a function of the present claims. The response carries an access
   * token with the new claims.
   *
   * @throws {@link SessionNotFoundError} | {@link InvalidClaimsError}
   */
  async updateClaims<TNext extends Update<TClaims>>(
    next: TNext & OnlyMembersOf<TClaims, TNext>,
  ): Promise<void> {
    const row = await this.own((manager) => manager.updateClaims(this.id, next));
    this.token = await this.#client.replace(row, this.token);
  }

  private async own<T>(operation: (manager: SessionManager) => Promise<T>): Promise<T> {
    return this.#manager.withAuthentic(this.id, () => operation(this.#manager));
  }
}
