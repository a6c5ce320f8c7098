import type { RevocationReason, TokenTheft, StaleRefreshToken } from '../errors/session.errors.js';
import type { SessionActor } from '../types/actor.js';
import type { Device } from '../types/device.js';
import type { UserId } from '../types/register.js';

/** What all events have in common. */
interface EventFacts {
  /** When it happened, by the clock of the sessions. */
  readonly at: Date;
  /** The `name` of the module; `'default'` if it has none. */
  readonly module: string;
}

/** What the events of one session have in common. */
interface SessionFacts extends EventFacts {
  readonly sessionId: string;
  readonly userId: UserId;
  /** Who acts as the user in this session; `undefined` if the user does. */
  readonly actor?: SessionActor | undefined;
}

/** Somebody has signed in, or has begun to act as another user. */
export interface SessionCreatedEvent extends SessionFacts {
  readonly type: 'created';
  /** The client that has signed in. */
  readonly device: Device;
}

/** A client has got new tokens. */
export interface SessionRefreshedEvent extends SessionFacts {
  readonly type: 'refreshed';
}

/**
 * The session was live, and has been revoked. If several processes revoke it at once, one of them has this event. `userId` is
 * null if the row is damaged.
 */
export interface SessionRevokedEvent extends SessionFacts {
  readonly type: 'revoked';
  /** Clients see it, too: in `session_over`. */
  readonly reason: RevocationReason;
  /**
   * Who has revoked it, as far as the application has said so. It is the user for `logout`, and the user who has signed in for
   * `replaced`.
   */
  readonly by: string | number | undefined;
  /** Whether another process has revoked it. Only with the option `events: 'everywhere'`. `by` is then not known. */
  readonly elsewhere: boolean;
}

/**
 * All sessions of a user, or of everybody, that were made until some time have been revoked. For those of a user, an event
 * `revoked` follows for each session that was live. For those of everybody, which may be millions, none does.
 */
export interface AllRevokedEvent extends EventFacts {
  readonly type: 'all_revoked';
  /** It is about no session alone. */
  readonly sessionId?: undefined;
  readonly actor?: undefined;
  /** The user; `undefined` for everybody. */
  readonly userId: UserId | undefined;
  /** The newest of the sessions were made at this time. */
  readonly before: Date;
  /** The id of a session that goes on. */
  readonly except: string | undefined;
  readonly reason: RevocationReason;
  /** Who has revoked them, as far as the application has said so. */
  readonly by: string | number | undefined;
  /**
   * Whether another process has revoked them. Only with the option `events: 'everywhere'`. `by` is then not known, and no event
   * `revoked` follows, because only the other process knows which sessions were live.
   */
  readonly elsewhere: boolean;
}

/**
 * A refresh token looked old, and the client was told to look again. An honest client then has a newer token, and no other
 * event follows. If the client comes back with the same token, a `theft` with the same `tokenId` follows.
 */
export interface StaleTokenEvent extends EventFacts, StaleRefreshToken {
  readonly type: 'stale';
  /** Nobody: an impersonation has no refresh token. */
  readonly actor?: undefined;
  /** The client that came with the token; `undefined` if it is not known. */
  readonly request: Device | undefined;
}

/** Two parties hold copies of the session's tokens. The session has been revoked; there is no event `revoked` for it. */
export interface TokenTheftEvent extends EventFacts, TokenTheft {
  readonly type: 'theft';
  /** Nobody: an impersonation has no refresh token. */
  readonly actor?: undefined;
}

/** This process has made the next key, or somebody has called `rotateSigningKeys()` in it. It is about no session. */
export interface KeyRotatedEvent extends EventFacts, NoSession {
  readonly type: 'key_rotated';
  /** Keys of access tokens, or of refresh tokens. */
  readonly purpose: 'access' | 'refresh';
  /** The name of the key that signs then. It is not a secret. */
  readonly kid: string;
  /** From when it signs. */
  readonly signsFrom: Date;
  /** The names of the keys that were dropped with it. */
  readonly dropped: readonly string[];
}

/** A request was refused, because a page of another site may have sent it. It is about no session. */
export interface CsrfRefusedEvent extends EventFacts, NoSession {
  readonly type: 'csrf_refused';
  readonly method: string;
  /** Without query, at most 200 characters. */
  readonly path: string;
  /** The header `Origin`, at most 200 characters. */
  readonly origin: string | undefined;
  /** The client that sent it, which may well be a victim's. */
  readonly request: Device;
  /** What was wrong: the message of the error. */
  readonly message: string;
}

interface NoSession {
  readonly sessionId?: undefined;
  readonly userId?: undefined;
  readonly actor?: undefined;
}

/** An event; see `SessionService.events`. `type` tells them apart. */
export type SessionEvent =
  | SessionCreatedEvent
  | SessionRefreshedEvent
  | SessionRevokedEvent
  | AllRevokedEvent
  | StaleTokenEvent
  | TokenTheftEvent
  | KeyRotatedEvent
  | CsrfRefusedEvent;

/** An event as the code that emits it knows it. */
export type NewSessionEvent<TEvent extends SessionEvent = SessionEvent> = TEvent extends SessionEvent
  ? Omit<TEvent, keyof EventFacts>
  : never;
