import type { FeedState } from '../diagnostics/channels.js';
import { longestLife, type ResolvedOptions } from '../options/resolved-options.js';
import {
  endOf,
  type HeardRevocation,
  isLive,
  type Revocation,
  type SessionEnd,
  type SessionStore,
} from '../storage/session.store.js';
import type { Clock } from '../util/clock.js';
import { Trouble } from '../util/trouble.js';

/** Tells whether the session of a valid access token has been revoked. */
export interface RevocationChecker {
  /**
   * When and why the session ended, or `undefined` if it is not known to be over.
   *
   * @returns a promise only if something must be waited for
   */
  endOf(sessionId: string, now: number): SessionEnd | undefined | Promise<SessionEnd | undefined>;
  /** Tells the checker that this process has revoked these sessions. */
  revoked(sessionIds: readonly string[], end: SessionEnd): void;
}

/** @param feed the one to use in mode `feed`, if there is one already */
export function createRevocationChecker(
  options: ResolvedOptions,
  store: SessionStore,
  feed?: RevocationChecker,
): RevocationChecker {
  switch (options.revocation) {
    case 'feed':
      return feed ?? new RevocationFeed(store, feedTimes(options));
    case 'database':
      return new DatabaseRevocation(store);
    case 'none':
      return { endOf: () => undefined, revoked: () => undefined };
  }
}

/** A feed that tells of each revocation by another process, once. Those from before its first read are not told. */
export function createToldFeed(
  options: ResolvedOptions,
  store: SessionStore,
  tell: (revocation: HeardRevocation, at: number) => void,
): RevocationFeed<HeardRevocation> {
  const source = { revokedSince: async (time: number) => store.heardSince(time) };
  return new RevocationFeed(source, feedTimes(options), (revocation, at) => {
    if (!revocation.isOwn) tell(revocation, at);
  });
}

function feedTimes(options: ResolvedOptions): FeedTimes {
  return {
    interval: options.revocationInterval,
    tokenLife: longestLife(options),
    clockTolerance: options.accessToken.clockTolerance,
  };
}

/** Asks the database for each request. */
class DatabaseRevocation implements RevocationChecker {
  constructor(private readonly store: SessionStore) {}

  async endOf(sessionId: string, now: number): Promise<SessionEnd | undefined> {
    const row = await this.store.find(sessionId);
    if (!row) return { endedAt: 0 };
    return isLive(row, now) ? undefined : endOf(row, now);
  }

  revoked(): void {
    // Nothing to do: the next request reads it from the database.
  }
}

/**
 * How far the clocks of two processes usually are apart at most, in milliseconds. Nearly all reads go back only this far
 * before the last one. If many sessions end, reading the same rows again would be most of the cost.
 */
const USUAL_DIFFERENCE = 5_000;

/** How often a full read is done, in milliseconds. It goes back by the largest difference of clocks that is tolerated. */
const FULL_READ_INTERVAL = 10_000;

/** The longest wait of a timer. With a longer wait, the timer would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** All in milliseconds. */
export interface FeedTimes {
  /** The shortest time between two reads. */
  readonly interval: number;
  /** How long an access token can be accepted. */
  readonly tokenLife: number;
  /** How far the clocks of two processes may be apart. */
  readonly clockTolerance: number;
}

/**
 * Learns of the revocations of all processes by a query. Requests cause this query, at most once per interval. The feed
 * drops a revocation when the last access token of the session has expired, so its memory is bounded.
 */
export class RevocationFeed<T extends Revocation = Revocation> implements RevocationChecker {
  private readonly trouble = new Trouble({
    begins: 'Revoked sessions could not be read; they are accepted until their access tokens expire.',
    ends: 'Revoked sessions can be read again.',
  });
  private readonly reads = { succeeded: 0, failed: 0 };
  /** When the last read began. */
  private begunAt = 0;
  private readonly sessions = new Map<string, SessionEnd>();
  private readAt = Number.NEGATIVE_INFINITY;
  private fullyReadAt = Number.NEGATIVE_INFINITY;
  private forgotAt = Number.NEGATIVE_INFINITY;
  private isComplete = false;
  private hasRead = false;
  private timer: NodeJS.Timeout | undefined;
  private reading: Promise<void> | undefined;
  /** How far the clocks of two processes may be apart. */
  private readonly overlap: number;

  constructor(
    private readonly store: { revokedSince(time: number): Promise<T[]> },
    private readonly times: FeedTimes,
    /** Called for each revocation that this feed learns of by a read, except by its first one. */
    private readonly learn?: (revocation: T, at: number) => void,
  ) {
    this.overlap = Math.max(times.clockTolerance, USUAL_DIFFERENCE);
  }

  endOf(sessionId: string, now: number): SessionEnd | undefined | Promise<SessionEnd | undefined> {
    // abs(): after a clock was set back, the feed must not wait until the clock has caught up.
    if (Math.abs(now - this.readAt) < this.times.interval) return this.sessions.get(sessionId);
    return this.read(now).then(() => this.sessions.get(sessionId));
  }

  revoked(sessionIds: readonly string[], end: SessionEnd): void {
    for (const id of sessionIds) this.sessions.set(id, end);
    // A process that revokes sessions but serves no requests never reads. It must drop old revocations, too.
    if (end.endedAt - this.forgotAt > this.overlap) this.forget(end.endedAt);
  }

  /** Reads, and goes on to read once per interval, whether or not requests come. */
  async start(clock: Clock): Promise<void> {
    const { interval } = this.times;
    this.timer ??= setInterval(
      () => {
        const now = clock.now();
        // A request may have caused a read in the meantime.
        if (Math.abs(now - this.readAt) >= interval / 2) void this.read(now);
      },
      Math.min(interval, LONGEST_TIMER),
    ).unref();
    await this.read(clock.now());
  }

  /** Stops the timer, and waits for a read in progress. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    this.timer = undefined;
    await this.reading;
  }

  private async read(now: number): Promise<void> {
    this.reading ??= this.poll(now).finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  /** How the reads have gone. */
  state(now: number): FeedState {
    // A read that never ends is no better than one that fails.
    const since = this.trouble.since ?? (this.reading ? this.begunAt : now);
    return { reads: { ...this.reads }, lag: Math.max(0, now - since) };
  }

  private async poll(now: number): Promise<void> {
    this.begunAt = now;
    const isFull = Math.abs(now - this.fullyReadAt) >= FULL_READ_INTERVAL;
    try {
      const revocations = await this.store.revokedSince(this.startOfRead(isFull, now));
      // The same rows are read again and again.
      const isNews = this.learn && this.hasRead;
      const news = isNews ? revocations.filter(({ id }) => !this.sessions.has(id)) : [];
      for (const { id, revokedAt, revokedReason } of revocations) {
        // The time of a revocation is later than now until it is settled; see the store.
        this.sessions.set(id, { endedAt: Math.min(revokedAt, now), reason: revokedReason ?? undefined });
      }
      this.isComplete = true;
      this.hasRead = true;
      for (const each of news) this.learn?.(each, Math.min(each.revokedAt, now));
      if (isFull) this.fullyReadAt = now;
      this.reads.succeeded++;
      this.trouble.worked(now);
    } catch (error) {
      // While the database is down, valid tokens are still accepted. The next read goes back to the last successful read.
      this.reads.failed++;
      this.trouble.failed(error, now);
      this.isComplete = false;
    }
    this.readAt = now;
    this.forget(now);
  }

  /**
   * The time from which to read. It is before the last read of the same kind, because the clocks of two processes differ. A
   * revocation that is committed late needs no more, because its time is written after that.
   */
  private startOfRead(isFull: boolean, now: number): number {
    const oldest = now - this.times.tokenLife - this.overlap;
    if (!this.isComplete) return oldest;
    const since = isFull
      ? Math.min(this.fullyReadAt, now) - this.overlap
      : Math.min(this.readAt, now) - USUAL_DIFFERENCE;
    return Math.max(oldest, since);
  }

  private forget(now: number): void {
    this.forgotAt = now;
    for (const [id, { endedAt }] of this.sessions) {
      if (endedAt < now - this.times.tokenLife - this.overlap) this.sessions.delete(id);
    }
  }
}
