import type { RevocationReason } from '../errors/session.errors.js';
import type { Duration } from '../options/duration.js';
import type { SessionActor } from '../types/actor.js';
import type { SessionClaims, SessionData, UserId, Written } from '../types/register.js';

/** The input for a new session. */
export type SessionInput<TClaims = SessionClaims, TData = SessionData> = ClaimsInput<TClaims> &
  DataInput<TData> & {
    /** The user who signs in. */
    userId: UserId;
    /** User agent and address for the list of devices. `create()` takes missing values from the request. */
    device?: { userAgent?: string; ip?: string };
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

/** The input for a session in which somebody acts as another user. */
export type ImpersonationInput<TClaims = SessionClaims, TData = SessionData> = ClaimsInput<TClaims> &
  DataInput<TData> & {
    /** The user as whom the actor acts. */
    userId: UserId;
    /** User agent and address of the actor's client. `impersonate()` over HTTP takes missing values from the request. */
    device?: { userAgent?: string; ip?: string };
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
  /** `User-Agent` at sign-in. */
  readonly userAgent: string | null;
  /** Client address at sign-in. */
  readonly ip: string | null;
}

/** Why sessions are revoked, and by whom. */
export interface RevokeOptions {
  /** Clients see it as the `reason` of `session_over`. It stays in the row as long as the row does. @default 'revoked' */
  reason?: RevocationReason;
  /** Who revokes: a user id, or the name of a job. Only the event has it. @default nobody is named */
  by?: string | number;
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
