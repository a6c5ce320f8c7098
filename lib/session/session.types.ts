import type { RevocationReason } from '../errors/session.errors.js';
import type { Duration } from '../options/duration.js';
import type { SessionActor } from '../types/actor.js';
import type { SessionClaims, SessionData, UserId, Written } from '../types/register.js';

/** The input for a new session. */
export type SessionInput<TClaims = SessionClaims, TData = SessionData> = ClaimsInput<TClaims> &
  DataInput<TData> & {
    /** The user who signs in. */
    userId: UserId;
    /**
     * The client, for the list of devices. `create()` takes a missing user agent and address from the request. The option
     * `devices` applies to both.
     */
    device?: DeviceInput & LabelInput;
    /**
     * The longest time between two refreshes of this session, at least one second and at most `refreshToken.absoluteTtl`.
     * @default `refreshToken.ttl` of the options, also if that changes later
     */
    ttl?: Duration;
    /**
     * The longest life of this session, at least one second and at most `refreshToken.absoluteTtl`.
     * @default `refreshToken.absoluteTtl` of the options
     */
    absoluteTtl?: Duration;
    /** Whether a browser keeps the session when it is closed. If not, its cookies have no expiry. @default true */
    remember?: boolean;
    /** When the user last proved who they are, such as the `auth_time` of an identity provider. @default now */
    authenticatedAt?: Date;
    /** How the user did, as RFC 8176 names it, such as `['pwd', 'otp']`. @default none */
    amr?: readonly string[];
  };

/** A client, as an application or a request describes it. */
export interface DeviceInput {
  /** `User-Agent`; null: it is not kept for this session. */
  userAgent?: string | null;
  /** Address; null: it is not kept for this session. */
  ip?: string | null;
}

interface LabelInput {
  /** A name that the user gives to the device; see {@link SessionInfo.label}. @default none */
  label?: string | null;
}
/** The input for a session in which somebody acts as another user. */
export type ImpersonationInput<TClaims = SessionClaims, TData = SessionData> = ClaimsInput<TClaims> &
  DataInput<TData> & {
    /** The user as whom the actor acts. */
    userId: UserId;
    /** User agent and address of the actor's client. `impersonate()` over HTTP takes missing values from the request. */
    device?: DeviceInput;
    /** How long the impersonation lasts: at least one second and at most `accessToken.ttl`. @default `accessToken.ttl` */
    ttl?: Duration;
    /** Why, such as the number of a support case. For lists and events; at most 255 bytes. @default none */
    reason?: string;
  };

/** What changes when a user proves again who they are. The rest is that of the session before. */
export type SessionChanges = Partial<Omit<SessionInput, 'userId'>>;

/** Claims may be absent only where their type allows an empty object. */
type ClaimsInput<T> = IsOptional<T> extends true ? Partial<WithClaims<T>> : WithClaims<T>;
type DataInput<T> = IsOptional<T> extends true ? Partial<WithData<T>> : WithData<T>;
// oxlint-disable-next-line typescript/no-generated-empty-object-type -- this tests whether T allows an empty object
type IsOptional<T> = Record<never, never> extends T ? true : false;

interface WithClaims<T> {
  /**
   * Claims in the access token. The client can read them. Each member becomes a claim of the JWT, so the names in
   * {@link RESERVED_CLAIMS} are refused. JSON that is not an object also works: register its type. @default {}
   */
  claims: Written<T>;
}

interface WithData<T> {
  /** Data that stays in the database: JSON of at most 65,535 bytes. @default {} */
  data: Written<T>;
}

/** A session as the database has it. */
export interface SessionInfo<TClaims = SessionClaims, TData = SessionData> {
  /** UUID version 7. It is not a secret. */
  readonly id: string;
  readonly userId: UserId;
  readonly claims: TClaims;
  readonly data: TData;
  readonly createdAt: Date;
  /** Exact to about the lifetime of an access token, because requests with a valid access token do not write it. */
  readonly lastSeenAt: Date;
  /** When the session expires, unless a refresh moves this time. */
  readonly expiresAt: Date;
  /** Whether a browser keeps the session when it is closed. */
  readonly remember: boolean;
  /** When the user last proved who they are: at sign-in, or when the session before this one was reauthenticated. */
  readonly authenticatedAt: Date;
  /** How they did (RFC 8176); empty if the application does not say. */
  readonly amr: readonly string[];
  /** Who acts as the user in this session; `undefined` if the user does. */
  readonly actor: SessionActor | undefined;
  /** The name that the user has given to the device, at most 64 characters without control characters. */
  readonly label: string | null;
  /**
   * The browser at sign-in in words, such as `Chrome` or `Safari`; of an app, the name that it gives itself. Null if it is not
   * known. It is made from `userAgent` when it is read. Clients can say what they like.
   */
  readonly browser: string | null;
  /** The operating system at sign-in in words, such as `Windows` or `iOS`; null if it is not known. Like `browser`. */
  readonly system: string | null;
  /** `User-Agent` at sign-in, as the option `devices` keeps it. */
  readonly userAgent: string | null;
  /** Client address at sign-in, as the option `devices` keeps it. */
  readonly ip: string | null;
  /** Whether it is the session that the caller has named as the current one; `undefined` if the caller has named none. */
  readonly current: boolean | undefined;
}

/** Which of a user's sessions are listed. */
export interface ListOptions {
  /** The largest number of sessions in the page: 1 to 1,000. @default 100 */
  limit?: number;
  /** The `next` of the page before. The session with this id may have ended. @default none: the first page */
  after?: string;
  /** The id of the session that asks: {@link SessionInfo.current} says which one that is. @default none */
  current?: string;
}

/** A part of a user's sessions, newest first. */
export interface SessionPage {
  readonly sessions: SessionInfo[];
  /** There are more: give this as `after`. `null` if this is the last page. */
  readonly next: string | null;
}

/** Why sessions are revoked, and by whom. */
export interface RevokeOptions {
  /** Clients see it as the `reason` of `session_over`. It stays in the row as long as the row does. @default 'revoked' */
  reason?: RevocationReason;
  /** Who revokes: a user id, or the name of a job. Only the event has it. @default nobody is named */
  by?: string | number;
}

/** Whose sessions are revoked, why, and by whom. */
export interface RevokeAllOptions extends RevokeOptions {
  /** Sessions that were made before this time are revoked. @default now: all of them */
  before?: Date;
}

/** A token for the client, and its expiry. */
export interface IssuedToken {
  readonly token: string;
  readonly expiresAt: Date;
}

/** The result of `tokens.issue()`. */
export interface IssuedSession {
  readonly session: SessionInfo;
  readonly accessToken: IssuedToken;
  readonly refreshToken: IssuedToken;
  /** For CSRF mode `token`. */
  readonly csrfToken: string;
}

/** The result of `tokens.impersonate()`. There is no refresh token. */
export type ImpersonatedSession = Omit<IssuedSession, 'refreshToken'>;

/** The result of `tokens.refresh()`. */
export interface RefreshedSession {
  readonly session: SessionInfo;
  readonly accessToken: IssuedToken;
  /** `undefined` when the client keeps its refresh token, because the access token that came with it has not expired. */
  readonly refreshToken: IssuedToken | undefined;
  /** For CSRF mode `token`. */
  readonly csrfToken: string;
}
