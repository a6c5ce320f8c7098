import type { StaleRefreshToken } from '../errors/session.errors.js';
import type { JsonValue } from '../protocol/json.js';
import type { UserId } from '../protocol/user-id.js';

/** What a session is made from. */
export interface SessionInput {
  /** Whose session it is. */
  userId: UserId;
  /**
   * Goes into access tokens, where the client can read it; any JSON. Members of an object become claims of the JWT, so
   * the names in {@link RESERVED_CLAIMS} are refused. @default {}
   */
  claims?: unknown;
  /** Stays in the database; any JSON of at most 65,535 bytes. @default {} */
  data?: unknown;
  /** What the list of devices shows. `create()` takes what is absent from the request. */
  device?: { userAgent?: string; ip?: string };
}

/** A session as the database has it. */
export interface SessionInfo {
  /** UUID version 7. A name, not a secret. */
  readonly id: string;
  readonly userId: UserId;
  readonly claims: JsonValue;
  readonly data: JsonValue;
  readonly createdAt: Date;
  /** Exact to about the life of an access token: valid access tokens are not recorded. */
  readonly lastSeenAt: Date;
  /** When the session ends unless it is refreshed before. */
  readonly expiresAt: Date;
  /** `User-Agent` at sign-in. */
  readonly userAgent: string | null;
  /** Client address at sign-in. */
  readonly ip: string | null;
}

/** A token for the client, and when it expires. */
export interface IssuedToken {
  readonly token: string;
  readonly expiresAt: Date;
}

/** What sign-in gives. */
export interface IssuedSession {
  readonly session: SessionInfo;
  readonly accessToken: IssuedToken;
  readonly refreshToken: IssuedToken;
  /** For CSRF mode `token`. */
  readonly csrfToken: string;
}

/** What a refresh gives. */
export interface RefreshedSession {
  readonly session: SessionInfo;
  readonly accessToken: IssuedToken;
  /** `undefined` when the client keeps the one it has, because the access token that came with it has not expired yet. */
  readonly refreshToken: IssuedToken | undefined;
  /** For CSRF mode `token`. */
  readonly csrfToken: string;
}

/** What a valid access token says. */
export interface VerifiedSession {
  readonly id: string;
  readonly userId: UserId;
  readonly claims: JsonValue;
  /** When the access token was issued. */
  readonly issuedAt: Date;
  /** When the access token expires. */
  readonly expiresAt: Date;
  /**
   * On the first use, after the reuse window, of an access token that a refresh gave: its replacement, which has the same
   * expiry and costs no database call any more. Give it to the client.
   */
  readonly newAccessToken: IssuedToken | undefined;
}

/** Something that happened to a session; see `SessionService.events`. */
export type SessionEvent =
  | { readonly type: 'created'; readonly sessionId: string; readonly userId: UserId }
  | { readonly type: 'refreshed'; readonly sessionId: string; readonly userId: UserId }
  /** Revoked by the application, or replaced by a new sign-in of the same client. */
  | {
      readonly type: 'revoked';
      readonly sessionIds: readonly string[];
      readonly reason: 'revoked' | 'replaced';
    }
  /**
   * A refresh token looked old, and the client was told to look again. An honest one has a newer token by then, and nothing
   * follows; a `theft` of the same `tokenId` follows when it has not.
   */
  | ({ readonly type: 'stale' } & StaleRefreshToken)
  /** Two parties held copies of the session's tokens; it has been revoked. */
  | ({ readonly type: 'theft' } & StaleRefreshToken & { readonly userId: UserId });
