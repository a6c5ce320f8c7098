import type { FeedState } from '../diagnostics/channels.js';
import type { NotBefore } from '../storage/not-before.store.js';
import type { Revocation, SessionEnd } from '../storage/session.store.js';
import type { Clock } from '../util/clock.js';
import { BoundedWait } from '../util/bounded-wait.js';
import { Trouble } from '../util/trouble.js';
import type { RevocationChecker, RevocationNews } from './revocation-checker.js';
import { type News, type RevocableSession, RevocationMemory } from './revocation-memory.js';

/**
 * Two processes, which go by the database's clock, are usually less apart than this, in milliseconds. Nearly all reads go back
 * only this far before the last one. If many sessions end, reading the same rows again would be most of the cost.
 */
const USUAL_DIFFERENCE = 5_000;

/** How often a full read is done, in milliseconds. It goes back by `clockTolerance`. */
const FULL_READ_INTERVAL = 10_000;

/** The shortest time between two reads, however often other processes revoke something, in milliseconds. */
const SHORTEST_INTERVAL = 20;

/** The longest wait of a timer. With a longer wait, the timer would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** All in milliseconds. */
export interface FeedTimes {
  /** The shortest time between two reads. */
  readonly interval: number;
  /** How long an access token can be accepted. */
  readonly tokenLife: number;
  /** How far a full read goes back. Two processes, which go by the database's clock, are never that far apart. */
  readonly clockTolerance: number;
  /** How long a request waits for a read at most. */
  readonly patience: number;
}

/** Where a feed reads: what was revoked at some time or later. */
export interface FeedSource<T extends Revocation> {
  revokedSince(time: number): Promise<readonly T[]>;
  notBeforesSince(time: number): Promise<readonly NotBefore[]>;
}

/** Is told of each revocation that a feed learns of by a read, except by its first one. */
export interface FeedListener<T extends Revocation> {
  revoked(revocation: T, at: number): void;
  revokedBefore(notBefore: NotBefore, at: number): void;
}

export interface FeedNews extends News {
  readonly size: number;
  readonly freshAt: number;
}

/**
 * Learns of the revocations of all processes by two small queries. Requests cause them, at most once per interval. The feed
 * drops a revocation when the last access token of the session has expired, so its memory is bounded.
 */
export class RevocationFeed<T extends Revocation = Revocation> implements RevocationChecker, RevocationNews {
  private readonly trouble = new Trouble({
    begins: 'Revoked sessions could not be read; they are accepted until their access tokens expire.',
    ends: 'Revoked sessions can be read again.',
  });
  private readonly reads = { succeeded: 0, failed: 0 };
  /** When the last read began. */
  private begunAt = 0;
  private readonly memory = new RevocationMemory();
  private readAt = Number.NEGATIVE_INFINITY;
  /** When the last successful read began. */
  private freshAt = Number.NEGATIVE_INFINITY;
  private fullyReadAt = Number.NEGATIVE_INFINITY;
  private forgotAt = Number.NEGATIVE_INFINITY;
  private isComplete = false;
  private timer: NodeJS.Timeout | undefined;
  /** Tells whether it has worked. */
  private reading: Promise<boolean> | undefined;
  private readonly wait: BoundedWait;
  private hurrying: NodeJS.Timeout | undefined;
  private readonly listeners: (() => void)[] = [];
  /** How far a full read goes back. */
  private readonly overlap: number;

  constructor(
    private readonly source: FeedSource<T>,
    private readonly times: FeedTimes,
    private readonly clock: Clock,
    private readonly listener?: FeedListener<T>,
    /** Tells the other processes that this one has revoked something. */
    private readonly announce?: () => void,
  ) {
    this.wait = new BoundedWait(times.patience);
    this.overlap = Math.max(times.clockTolerance, USUAL_DIFFERENCE);
  }

  endOf(session: RevocableSession, now: number): SessionEnd | undefined | Promise<SessionEnd | undefined> {
    const wait = this.freshen(now);
    return wait ? wait.then(() => this.memory.endOf(session)) : this.memory.endOf(session);
  }

  remembered(session: RevocableSession): SessionEnd | undefined {
    return this.memory.endOf(session);
  }

  /**
   * What this process has learned after the entry of a number, and at some time or later.
   *
   * @param maxAge reads again if the last read is older than this, in milliseconds
   * @returns also how much this process has learned, and when its last successful read began; `undefined` if none has succeeded
   */
  async newsSince(number: number, time: number, maxAge: number): Promise<FeedNews | undefined> {
    const now = this.clock.now();
    if (Math.abs(now - this.readAt) >= maxAge) {
      void this.read(now);
      await this.wait.current;
    }
    if (!this.hasRead) return undefined;
    const { memory, freshAt } = this;
    return { ...memory.newsSince(number, time), size: memory.size, freshAt };
  }

  onNews(listener: () => void): void {
    this.listeners.push(listener);
  }

  freshen(now: number): Promise<void> | undefined {
    if (this.isFresh(now)) return undefined;
    void this.read(now);
    return this.wait.current;
  }

  get heardAt(): number {
    return this.freshAt;
  }

  get dueAt(): number {
    return this.begunAt + this.times.interval;
  }

  revokedBefore(notBefore: NotBefore): void {
    const now = this.clock.now();
    this.memory.addNotBefore(notBefore, notBefore.createdAt, now);
    this.told(now);
  }

  revoked(sessionIds: readonly string[], end: SessionEnd): void {
    // The statement may have waited for a lock.
    const now = this.clock.now();
    for (const id of sessionIds) this.memory.add(id, end, now);
    this.told(now);
  }

  /** Reads soon, because another process has revoked something. */
  hurry(): void {
    this.hurrying ??= setTimeout(() => {
      // A read in progress may have begun before the revocation was committed.
      void (this.reading ?? Promise.resolve()).then(() => {
        this.hurrying = undefined;
        void this.read(this.clock.now());
      });
    }, SHORTEST_INTERVAL).unref();
  }

  /** Reads, and goes on to read once per interval, whether or not requests come. */
  async start(): Promise<void> {
    const { interval } = this.times;
    this.timer ??= setInterval(
      () => {
        const now = this.clock.now();
        // A request may have caused a read in the meantime.
        if (Math.abs(now - this.readAt) >= interval / 2) void this.read(now);
      },
      Math.min(interval, LONGEST_TIMER),
    ).unref();
    await this.read(this.clock.now());
  }

  /** Stops the timer, and waits for a read in progress. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    clearTimeout(this.hurrying);
    this.timer = undefined;
    this.hurrying = undefined;
    await this.reading;
  }

  private isFresh(now: number): boolean {
    // abs(): after a clock was set back, the feed must not wait until the clock has caught up.
    return Math.abs(now - this.readAt) < this.times.interval;
  }

  /** This process has revoked something. */
  private told(now: number): void {
    this.forgetIfDue(now);
    this.announce?.();
    this.tellOfNews();
  }

  private tellOfNews(): void {
    for (const listener of this.listeners) listener();
  }

  private get hasRead(): boolean {
    return this.freshAt !== Number.NEGATIVE_INFINITY;
  }

  private async read(now: number): Promise<boolean> {
    if (!this.reading) {
      this.reading = this.poll(now).finally(() => {
        this.reading = undefined;
      });
      this.wait.begin(this.reading, (error) => this.trouble.failed(error, now));
    }
    return this.reading;
  }

  /** How the reads have gone. */
  state(now: number): FeedState {
    // A read that never ends is no better than one that fails.
    const since = this.trouble.since ?? (this.reading ? this.begunAt : now);
    return { reads: { ...this.reads }, lag: Math.max(0, now - since) };
  }

  private async poll(now: number): Promise<boolean> {
    this.begunAt = now;
    const isFull = Math.abs(now - this.fullyReadAt) >= FULL_READ_INTERVAL;
    try {
      const since = this.startOfRead(isFull, now);
      const [revocations, notBefores] = await Promise.all([
        this.source.revokedSince(since),
        this.source.notBeforesSince(since),
      ]);
      // The same rows are read again and again.
      const { size } = this.memory;
      const listener = this.hasRead ? this.listener : undefined;
      const news = listener ? revocations.filter(({ id }) => !this.memory.has(id)) : [];
      const newNotBefores = listener ? notBefores.filter((each) => !this.memory.hasNotBefore(each)) : [];
      // The time of a revocation is later than now until it is settled; see the store.
      for (const { id, revokedAt, revokedReason } of revocations) {
        this.memory.add(id, { endedAt: Math.min(revokedAt, now), reason: revokedReason ?? undefined }, now);
      }
      for (const each of notBefores) {
        this.memory.addNotBefore(each, Math.min(each.settledAt, now), now);
      }
      this.freshAt = now;
      this.isComplete = true;
      for (const each of news) listener?.revoked(each, Math.min(each.revokedAt, now));
      for (const each of newNotBefores) listener?.revokedBefore(each, Math.min(each.settledAt, now));
      if (isFull) this.fullyReadAt = now;
      this.reads.succeeded++;
      this.trouble.worked(now);
      if (this.memory.size > size) this.tellOfNews();
    } catch (error) {
      // While the database is down, valid tokens are still accepted. The next read goes back to the last successful read.
      this.reads.failed++;
      this.trouble.failed(error, now);
      this.isComplete = false;
    }
    this.readAt = now;
    this.forget(now);
    return this.isComplete;
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

  /** A process that revokes sessions but serves no requests never reads. It must drop old revocations, too. */
  private forgetIfDue(now: number): void {
    if (now - this.forgotAt > this.overlap) this.forget(now);
  }

  private forget(now: number): void {
    this.forgotAt = now;
    this.memory.forget(now - this.times.tokenLife - this.overlap);
  }
}
