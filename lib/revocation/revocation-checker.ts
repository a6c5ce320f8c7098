import { Logger } from '@nestjs/common';
import { longestLife, type ResolvedOptions } from '../options/resolved-options.js';
import { endOf, isLive, type SessionEnd, type SessionStore } from '../storage/session.store.js';

/** Tells whether the session of a valid access token has been revoked. */
export interface RevocationChecker {
  /**
   * When and why the session ended, or `undefined` while it is not known to be over. Not a promise where the answer is known.
   */
  endOf(sessionId: string, now: number): SessionEnd | undefined | Promise<SessionEnd | undefined>;
  /** This process has revoked these sessions. */
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

/** Asks the database at each request. */
class DatabaseRevocation implements RevocationChecker {
  constructor(private readonly store: SessionStore) {}

  async endOf(sessionId: string, now: number): Promise<SessionEnd | undefined> {
    const row = await this.store.find(sessionId);
    if (!row) return { endedAt: 0 };
    return isLive(row, now) ? undefined : endOf(row);
  }

  revoked(): void {
    // The database knows.
  }
}

/** The time that a revocation may take to be committed, in milliseconds. */
const COMMIT = 30_000;

/**
 * How late revocations appear, in milliseconds, where clocks are set by NTP and the database is well. Nearly all reads go back
 * no further: reading what is known already would cost more than all else, where many sessions end.
 */
const USUAL_DELAY = 5_000;

/** How often a read goes back as far as revocations can appear late at all, in milliseconds. */
const FULL_READ_INTERVAL = 10_000;

/** All in milliseconds. */
export interface FeedTimes {
  /** Least time between two reads. */
  readonly interval: number;
  /** How long an access token can be accepted. */
  readonly tokenLife: number;
  /** How far the clocks of two processes may be apart. */
  readonly clockTolerance: number;
}

/**
 * Knows the revocations of all processes from a query that is made when requests come, at most once per interval. What
 * it holds is bounded: a revocation is forgotten when the last access token that it concerns has expired.
 */
export class RevocationFeed implements RevocationChecker {
  private readonly logger = new Logger(RevocationFeed.name);
  private readonly sessions = new Map<string, SessionEnd>();
  private readAt = Number.NEGATIVE_INFINITY;
  private fullyReadAt = Number.NEGATIVE_INFINITY;
  private forgotAt = Number.NEGATIVE_INFINITY;
  private isComplete = false;
  private reading: Promise<void> | undefined;
  /** How late a revocation may appear. */
  private readonly overlap: number;

  constructor(
    private readonly store: Pick<SessionStore, 'revokedSince'>,
    private readonly times: FeedTimes,
  ) {
    this.overlap = times.clockTolerance + COMMIT;
  }

  endOf(sessionId: string, now: number): SessionEnd | undefined | Promise<SessionEnd | undefined> {
    // Clocks can be set back; the feed must not sleep until they have caught up.
    if (Math.abs(now - this.readAt) < this.times.interval) return this.sessions.get(sessionId);
    return this.read(now).then(() => this.sessions.get(sessionId));
  }

  revoked(sessionIds: readonly string[], end: SessionEnd): void {
    for (const id of sessionIds) this.sessions.set(id, end);
    // A process that revokes but serves no requests reads nothing, and must forget all the same.
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
        this.sessions.set(id, { endedAt: revokedAt, reason: revokedReason ?? undefined });
      }
      this.isComplete = true;
      if (isFull) this.fullyReadAt = now;
    } catch (error) {
      // Valid tokens go on being accepted while the database is down: that is what they are for. The next read goes
      // back to the last one that succeeded.
      this.logger.error(
        'Revoked sessions could not be read; they are accepted until their access tokens expire.',
        error,
      );
      this.isComplete = false;
    }
    this.readAt = now;
    this.forget(now);
  }

  /** Revocations appear with the time of the process that made them: each read goes back beyond the last one of its kind. */
  private startOfRead(isFull: boolean, now: number): number {
    const oldest = now - this.times.tokenLife - this.overlap;
    if (!this.isComplete) return oldest;
    const since = isFull
      ? Math.min(this.fullyReadAt, now) - this.overlap
      : Math.min(this.readAt, now) - USUAL_DELAY;
    return Math.max(oldest, since);
  }

  private forget(now: number): void {
    this.forgotAt = now;
    for (const [id, { endedAt }] of this.sessions) {
      if (endedAt < now - this.times.tokenLife - this.overlap) this.sessions.delete(id);
    }
  }
}
