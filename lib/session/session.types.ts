import type { StaleRefreshToken } from '../errors/session.errors.js';
import type { SessionClaims, SessionData, UserId, Written } from '../types/register.js';

/** What a session is made from. */
export type SessionInput<TClaims = SessionClaims, TData = SessionData> = ClaimsInput<TClaims> &
  DataInput<TData> & {
    /** Whose session it is. */
    userId: UserId;
    /** What the list of devices shows. `create()` takes what is absent from the request. */
    device?: { userAgent?: string; ip?: string };
  };

/** Claims may be absent only where their type allows an empty object. */
type ClaimsInput<T> = IsOptional<T> extends true ? Partial<WithClaims<T>> : WithClaims<T>;
type DataInput<T> = IsOptional<T> extends true ? Partial<WithData<T>> : WithData<T>;
// oxlint-disable-next-line typescript/no-generated-empty-object-type -- whether it may be empty is the question
type IsOptional<T> = Record<never, never> extends T ? true : false;

interface WithClaims<T> {
  /**
   * Goes into access tokens, where the client can read it. Members become claims of the JWT, so the names in
   * {@link RESERVED_CLAIMS} are refused. Other JSON than an object works, too: register its type. @default {}
   */
  claims: Written<T>;
}

interface WithData<T> {
  /** Stays in the database; JSON of at most 65,535 bytes. @default {} */
  data: Written<T>;
}

/** A session as the database has it. */
export interface SessionInfo<TClaims = SessionClaims, TData = SessionData> {
  /** UUID version 7. A name, not a secret. */
  readonly id: string;
  readonly userId: UserId;
  readonly claims: TClaims;
  readonly data: TData;
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
