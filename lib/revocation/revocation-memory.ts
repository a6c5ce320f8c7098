import { isBefore, type NotBefore } from '../storage/not-before.store.js';
import type { SessionEnd } from '../storage/session.store.js';
import type { UserId } from '../types/register.js';

/** The session of an access token, as far as revocations concern it. */
export interface RevocableSession {
  readonly sessionId: string;
  readonly userId: UserId;
  /** Who acts as the user: a session of somebody else, which must not be over either. */
  readonly actor?: { readonly sessionId: string; readonly userId: UserId } | undefined;
}

/** A not-before, as far as it is remembered. */
export type KnownNotBefore = Pick<NotBefore, 'id' | 'userId' | 'notBefore' | 'except' | 'reason'>;

/** One object for each, because there may be hundreds of thousands. */
interface Remembered extends SessionEnd {
  /** When this process has learned of it. */
  readonly learnedAt: number;
  /** Its number among all that this process has learned, from 1. */
  readonly number: number;
}

type RememberedNotBefore = Remembered & KnownNotBefore;

/** What a process has learned of. */
export interface News {
  readonly sessions: readonly { readonly id: string; readonly end: SessionEnd }[];
  readonly notBefores: readonly KnownNotBefore[];
}

/** The revocations that a process knows of, for as long as an access token of their sessions can be accepted. */
export class RevocationMemory {
  private readonly sessions = new Map<string, Remembered>();
  /** By user; `undefined` for everybody. */
  private readonly notBefores = new Map<UserId | undefined, Map<string, RememberedNotBefore>>();
  private learned = 0;

  /** @param nameOf how users are named in not-befores. @default by their ids */
  constructor(private readonly nameOf: (userId: UserId) => UserId = (userId) => userId) {}

  /** How much this process has learned: the number of the newest entry. */
  get size(): number {
    return this.learned;
  }

  has(sessionId: string): boolean {
    return this.sessions.has(sessionId);
  }

  hasNotBefore({ id, userId }: KnownNotBefore): boolean {
    return this.notBefores.get(userId)?.has(id) ?? false;
  }

  add(sessionId: string, end: SessionEnd, learnedAt: number): void {
    const known = this.sessions.get(sessionId);
    const { endedAt, reason } = end;
    this.sessions.set(sessionId, { endedAt, reason, ...this.firstWordOf(known, learnedAt) });
  }

  addNotBefore(notBefore: KnownNotBefore, endedAt: number, learnedAt: number): void {
    const { id, userId } = notBefore;
    const ofUser = this.notBefores.get(userId) ?? new Map<string, RememberedNotBefore>();
    ofUser.set(id, { ...notBefore, endedAt, ...this.firstWordOf(ofUser.get(id), learnedAt) });
    this.notBefores.set(userId, ofUser);
  }

  /** When and why a session ended, or `undefined` if it is not known to be over. */
  endOf({ sessionId, userId }: RevocableSession): SessionEnd | undefined {
    const end = this.sessions.get(sessionId);
    // They are rare, and this is asked for every request.
    if (end || this.notBefores.size === 0) return end;
    return this.endIn(sessionId, this.nameOf(userId)) ?? this.endIn(sessionId, undefined);
  }

  /** What was learned after the entry of a number, and at some time or later. */
  newsSince(number: number, time: number): News {
    const isNews = (each: Remembered) => each.number > number && each.learnedAt >= time;
    const sessions: { id: string; end: SessionEnd }[] = [];
    const notBefores: KnownNotBefore[] = [];
    for (const [id, each] of this.sessions) {
      if (isNews(each)) sessions.push({ id, end: each });
    }
    for (const ofUser of this.notBefores.values()) {
      for (const each of ofUser.values()) {
        if (isNews(each)) notBefores.push(each);
      }
    }
    return { sessions, notBefores };
  }

  /** Forgets what ended before a time. */
  forget(before: number): void {
    for (const [id, { endedAt }] of this.sessions) {
      if (endedAt < before) this.sessions.delete(id);
    }
    for (const [userId, ofUser] of this.notBefores) {
      for (const [id, { endedAt }] of ofUser) {
        if (endedAt < before) ofUser.delete(id);
      }
      if (ofUser.size === 0) this.notBefores.delete(userId);
    }
  }

  /** The same is heard of again and again. */
  private firstWordOf(
    known: Remembered | undefined,
    learnedAt: number,
  ): Pick<Remembered, 'learnedAt' | 'number'> {
    if (known) return { learnedAt: known.learnedAt, number: known.number };
    this.learned++;
    return { learnedAt, number: this.learned };
  }

  private endIn(sessionId: string, userId: UserId | undefined): SessionEnd | undefined {
    for (const each of this.notBefores.get(userId)?.values() ?? []) {
      if (isBefore(each, sessionId)) return each;
    }
    return undefined;
  }
}
