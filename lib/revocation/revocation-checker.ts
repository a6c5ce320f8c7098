import { longestLife, type ResolvedOptions } from '../options/resolved-options.js';
import type { NotBefore, NotBeforeStore } from '../storage/not-before.store.js';
import {
  endOf,
  type HeardRevocation,
  isLive,
  type Revocation,
  type SessionEnd,
  type SessionStore,
} from '../storage/session.store.js';
import type { Clock } from '../util/clock.js';
import { type FeedListener, type FeedTimes, RevocationFeed } from './revocation-feed.js';
import type { RevocableSession } from './revocation-memory.js';

/** Tells whether the session of a valid access token has been revoked. */
export interface RevocationChecker {
  /**
   * When and why the session ended, or `undefined` if it is not known to be over.
   *
   * @returns a promise only if something must be waited for
   */
  endOf(session: RevocableSession, now: number): SessionEnd | undefined | Promise<SessionEnd | undefined>;
  /** Reads what {@link endOf} would wait for, if that is due. @returns a promise only if something must be waited for */
  freshen(now: number): Promise<void> | undefined;
  /** The end by what this process remembers, without asking anybody. */
  remembered(session: RevocableSession): SessionEnd | undefined;
  /** Tells the checker that this process has revoked these sessions. */
  revoked(sessionIds: readonly string[], end: SessionEnd): void;
  /** Tells the checker that this process has ended all sessions of a user, or of everybody, that were made until some time. */
  revokedBefore(notBefore: NotBefore): void;
}

/** What connections go by, because they stay open when no requests come: they end when their sessions do. */
export interface RevocationNews {
  /** Learns what others have revoked, if that is due. @returns a promise only if something must be waited for */
  freshen(now: number): Promise<void> | undefined;
  /** When a session ended, by what this process remembers. */
  remembered(session: RevocableSession): SessionEnd | undefined;
  /** Until when this process has heard of every revocation, in epoch milliseconds. */
  readonly heardAt: number;
  /** When the next read is due, in epoch milliseconds. Earlier, {@link freshen} does nothing. */
  readonly dueAt: number;
  /** Calls a listener whenever this process has learned of a revocation. */
  onNews(listener: () => void): void;
}

/** The tables that tell of revocations. */
export interface RevocationStores {
  readonly sessions: SessionStore;
  readonly notBefores: NotBeforeStore;
}

/** @param feed for mode `feed`. In the others, connections go by it, and hear of this process's own revocations at once */
export function createRevocationChecker(
  options: ResolvedOptions,
  stores: RevocationStores,
  feed: RevocationChecker,
): RevocationChecker {
  switch (options.revocation) {
    case 'feed':
      return feed;
    case 'database':
      return new DatabaseRevocation(stores.sessions, feed);
    case 'none':
      return new NoRevocation(feed);
  }
}

/** A feed that tells of each revocation by another process, once. Those from before its first read are not told. */
export function createToldFeed(
  options: ResolvedOptions,
  { sessions, notBefores }: RevocationStores,
  clock: Clock,
  listener: FeedListener<HeardRevocation>,
  announce?: () => void,
): RevocationFeed<HeardRevocation> {
  const source = {
    revokedSince: async (time: number) => sessions.heardSince(time),
    notBeforesSince: async (time: number) => notBefores.since(time),
  };
  const ofOthers: FeedListener<HeardRevocation> = {
    revoked: (revocation, at) => {
      if (!revocation.isOwn) listener.revoked(revocation, at);
    },
    revokedBefore: (notBefore, at) => {
      if (!notBefore.isOwn) listener.revokedBefore(notBefore, at);
    },
  };
  return new RevocationFeed(source, feedTimes(options), clock, ofOthers, announce);
}

/** A feed that makes no events. @param announce tells the other processes that this one has revoked something */
export function createFeed(
  options: ResolvedOptions,
  { sessions, notBefores }: RevocationStores,
  clock: Clock,
  announce?: () => void,
): RevocationFeed {
  const source = {
    revokedSince: async (time: number) => sessions.revokedSince(time),
    notBeforesSince: async (time: number) => notBefores.since(time),
  };
  return new RevocationFeed<Revocation>(source, feedTimes(options), clock, undefined, announce);
}

function feedTimes(options: ResolvedOptions): FeedTimes {
  return {
    interval: options.revocationInterval,
    tokenLife: longestLife(options),
    clockTolerance: options.accessToken.clockTolerance,
    patience: options.newsTimeout,
  };
}

/** Accepts the access tokens of sessions that have ended. */
class NoRevocation implements RevocationChecker {
  constructor(private readonly feed: RevocationChecker) {}

  endOf(_session: RevocableSession, _now: number): ReturnType<RevocationChecker['endOf']> {
    return undefined;
  }

  /** There is nothing that several requests could share. */
  freshen(): undefined {}

  remembered(): undefined {}

  revoked(sessionIds: readonly string[], end: SessionEnd): void {
    this.feed.revoked(sessionIds, end);
  }

  revokedBefore(notBefore: NotBefore): void {
    this.feed.revokedBefore(notBefore);
  }
}

/** Asks the database for each request. */
class DatabaseRevocation extends NoRevocation {
  constructor(
    private readonly store: SessionStore,
    feed: RevocationChecker,
  ) {
    super(feed);
  }

  override async endOf({ sessionId }: RevocableSession, now: number): Promise<SessionEnd | undefined> {
    const row = await this.store.findAuthentic(sessionId, now);
    if (!row) return { endedAt: 0 };
    return isLive(row, now) ? undefined : endOf(row, now);
  }
}
