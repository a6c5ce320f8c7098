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
  /** The same by what this process remembers, without asking anybody. */
  remembered(session: RevocableSession): SessionEnd | undefined;
  /** Tells the checker that this process has revoked these sessions. */
  revoked(sessionIds: readonly string[], end: SessionEnd): void;
  /** Tells the checker that this process has ended all sessions of a user, or of everybody, that were made until some time. */
  revokedBefore(notBefore: NotBefore): void;
}

/** The tables that tell of revocations. */
export interface RevocationStores {
  readonly sessions: SessionStore;
  readonly notBefores: NotBeforeStore;
}

/** @param feed the one to use in mode `feed`, if there is one already */
export function createRevocationChecker(
  options: ResolvedOptions,
  stores: RevocationStores,
  feed?: RevocationChecker,
): RevocationChecker {
  switch (options.revocation) {
    case 'feed':
      return feed ?? createFeed(options, stores);
    case 'database':
      return new DatabaseRevocation(stores.sessions);
    case 'none':
      return NO_REVOCATION;
  }
}

/** A feed that tells of each revocation by another process, once. Those from before its first read are not told. */
export function createToldFeed(
  options: ResolvedOptions,
  { sessions, notBefores }: RevocationStores,
  listener: FeedListener<HeardRevocation>,
): RevocationFeed<HeardRevocation> {
  const source = {
    revokedSince: async (time: number) => sessions.heardSince(time),
    notBeforesSince: async (time: number) => notBefores.since(time),
  };
  return new RevocationFeed(source, feedTimes(options), {
    revoked: (revocation, at) => {
      if (!revocation.isOwn) listener.revoked(revocation, at);
    },
    revokedBefore: (notBefore, at) => {
      if (!notBefore.isOwn) listener.revokedBefore(notBefore, at);
    },
  });
}

function createFeed(options: ResolvedOptions, { sessions, notBefores }: RevocationStores) {
  const source = {
    revokedSince: async (time: number) => sessions.revokedSince(time),
    notBeforesSince: async (time: number) => notBefores.since(time),
  };
  return new RevocationFeed<Revocation>(source, feedTimes(options));
}

function feedTimes(options: ResolvedOptions): FeedTimes {
  return {
    interval: options.revocationInterval,
    tokenLife: longestLife(options),
    clockTolerance: options.accessToken.clockTolerance,
  };
}

/** Asks the database for each request. Nothing is remembered: the next request reads it from the database. */
class DatabaseRevocation implements RevocationChecker {
  constructor(private readonly store: SessionStore) {}

  async endOf({ sessionId }: RevocableSession, now: number): Promise<SessionEnd | undefined> {
    const row = await this.store.find(sessionId);
    if (!row) return { endedAt: 0 };
    return isLive(row, now) ? undefined : endOf(row, now);
  }

  remembered(): undefined {}

  revoked(): void {}

  revokedBefore(): void {}
}

const NO_REVOCATION: RevocationChecker = {
  endOf: () => undefined,
  remembered: () => undefined,
  revoked: () => undefined,
  revokedBefore: () => undefined,
};
