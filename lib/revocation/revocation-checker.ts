import { Logger } from '@nestjs/common';
import { longestLife, type ResolvedOptions } from '../options/resolved-options.js';
import { endOf, isLive, type SessionEnd, type SessionStore } from '../storage/session.store.js';

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

export function createRevocationChecker(options: ResolvedOptions, store: SessionStore): RevocationChecker {
  switch (options.revocation) {
    case 'feed':
      return new RevocationFeed(store, {
        interval: options.revocationInterval,
        tokenLife: longestLife(options),
        clockTolerance: options.accessToken.clockTolerance,
      });
    case 'database':
      return new DatabaseRevocation(store);
    case 'none':
      return { endOf: () => undefined, revoked: () => undefined };
  }
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
export class RevocationFeed implements RevocationChecker {
  private readonly logger = new Logger(RevocationFeed.name);
  private readonly sessions = new Map<string, SessionEnd>();
  private readAt = Number.NEGATIVE_INFINITY;
  private fullyReadAt = Number.NEGATIVE_INFINITY;
  private forgotAt = Number.NEGATIVE_INFINITY;
  private isComplete = false;
  private reading: Promise<void> | undefined;
  /** How far the clocks of two processes may be apart. */
  private readonly overlap: number;

  constructor(
    private readonly store: Pick<SessionStore, 'revokedSince'>,
    private readonly times: FeedTimes,
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

  private async read(now: number): Promise<void> {
    this.reading ??= this.poll(now).finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  private async poll(now: number): Promise<void> {
    const isFull = Math.abs(now - this.fullyReadAt) >= FULL_READ_INTERVAL;
    try {
      const revocations = await this.store.revokedSince(this.startOfRead(isFull, now));
      for (const { id, revokedAt, revokedReason } of revocations) {
        // The time of a revocation is later than now until it is settled; see the store.
        this.sessions.set(id, { endedAt: Math.min(revokedAt, now), reason: revokedReason ?? undefined });
      }
      this.isComplete = true;
      if (isFull) this.fullyReadAt = now;
    } catch (error) {
      // While the database is down, valid tokens are still accepted. The next read goes back to the last successful read.
      this.logger.error(
        'Revoked sessions could not be read; they are accepted until their access tokens expire.',
        error,
      );
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
