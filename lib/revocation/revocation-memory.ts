import { isBefore, type NotBefore } from '../storage/not-before.store.js';
import type { SessionEnd } from '../storage/session.store.js';
import type { UserId } from '../types/register.js';

/** The session of an access token, as far as revocations concern it. */
export interface RevocableSession {
  readonly sessionId: string;
  readonly userId: UserId;
}

interface RememberedNotBefore extends NotBefore {
  readonly end: SessionEnd;
}

/** The revocations that a process knows of, for as long as an access token of their sessions can be accepted. */
export class RevocationMemory {
  private readonly sessions = new Map<string, SessionEnd>();
  /** By user; `undefined` for everybody. */
  private readonly notBefores = new Map<UserId | undefined, Map<string, RememberedNotBefore>>();

  has(sessionId: string): boolean {
    return this.sessions.has(sessionId);
  }

  hasNotBefore({ id, userId }: NotBefore): boolean {
    return this.notBefores.get(userId)?.has(id) ?? false;
  }

  add(sessionId: string, end: SessionEnd): void {
    this.sessions.set(sessionId, end);
  }

  addNotBefore(notBefore: NotBefore, endedAt: number): void {
    const { id, userId, reason } = notBefore;
    const known = this.notBefores.get(userId) ?? new Map<string, RememberedNotBefore>();
    known.set(id, { ...notBefore, end: { endedAt, reason } });
    this.notBefores.set(userId, known);
  }

  /** When and why a session ended, or `undefined` if it is not known to be over. */
  endOf(session: RevocableSession): SessionEnd | undefined {
    const end = this.sessions.get(session.sessionId);
    // They are rare, and this is asked for every request.
    if (end || this.notBefores.size === 0) return end;
    return this.endIn(session, session.userId) ?? this.endIn(session, undefined);
  }

  /** Forgets what ended before a time. */
  forget(before: number): void {
    for (const [id, { endedAt }] of this.sessions) {
      if (endedAt < before) this.sessions.delete(id);
    }
    for (const [userId, known] of this.notBefores) {
      for (const [id, { end }] of known) {
        if (end.endedAt < before) known.delete(id);
      }
      if (known.size === 0) this.notBefores.delete(userId);
    }
  }

  private endIn({ sessionId }: RevocableSession, userId: UserId | undefined): SessionEnd | undefined {
    for (const each of this.notBefores.get(userId)?.values() ?? []) {
      if (isBefore(each, sessionId)) return each.end;
    }
    return undefined;
  }
}
