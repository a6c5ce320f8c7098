import type { UserId } from './register.js';

/** Who really acts in a session of another user (RFC 8693, 4.1: the claim `act`). */
export interface SessionActor {
  /** A string or a number, as at the actor's sign-in. */
  readonly userId: UserId;
  /** The actor's own session. If it ends, the impersonation ends. */
  readonly sessionId: string;
  /** Why, as the application has said. In lists and events; access tokens do not have it. */
  readonly reason?: string | undefined;
}
