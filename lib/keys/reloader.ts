import type { ReadCounts } from '../diagnostics/channels.js';
import { KeysUnavailableError } from '../errors/session.errors.js';
import { BoundedWait } from '../util/bounded-wait.js';
import type { Trouble } from '../util/trouble.js';

/** All in milliseconds. */
export interface ReloadTimes {
  /** The age at which the next call loads the value again. */
  readonly interval: number;
  /** The largest age at which {@link Reloader.ensureUsable} accepts the value. */
  readonly maxAge: number;
  /** The shortest time between two loads by {@link Reloader.reloadOnDoubt}, and after a load that failed. */
  readonly cooldown: number;
  /** How long callers who can do with the old value wait for a load at most. */
  readonly patience: number;
}

/**
 * Loads a value that changes from time to time. Concurrent callers share one load. Tokens with unknown keys, and a source
 * that is down, cause at most one load per cooldown.
 */
export class Reloader {
  private loadedAt = Number.NEGATIVE_INFINITY;
  private failure: { readonly at: number; readonly error: unknown } | undefined;
  private loading: Promise<void> | undefined;
  private readonly wait: BoundedWait;
  private readonly reads = { succeeded: 0, failed: 0 };

  constructor(
    private readonly load: (now: number) => Promise<void>,
    private readonly times: ReloadTimes,
    /** Told of each load after the first one that has succeeded. */
    private readonly trouble: Pick<Trouble, 'failed' | 'worked'>,
  ) {
    this.wait = new BoundedWait(times.patience);
  }

  /** How the loads have gone since the start. */
  get counts(): ReadCounts {
    return { ...this.reads };
  }

  /**
   * Loads the value again if it is due. If the load fails, the old value stays in use, and the next try waits for the
   * cooldown. If the load takes long, the old value has to do.
   *
   * @returns a promise only if something must be waited for
   */
  freshen(now: number): Promise<void> | undefined {
    const { interval, cooldown } = this.times;
    // abs(): if the clock was set back, the old value must not stay in use for long.
    if (Math.abs(now - this.loadedAt) < interval) return undefined;
    if (!this.loading) {
      if (this.hasFailedWithin(Math.min(cooldown, interval), now)) return undefined;
      void this.begin(now);
    }
    return this.wait.current;
  }

  /** When the next load by {@link freshen} is due, in epoch milliseconds. */
  get dueAt(): number {
    const { interval, cooldown } = this.times;
    const afterFailure = this.failure ? this.failure.at + Math.min(cooldown, interval) : 0;
    return Math.max(this.loadedAt + interval, afterFailure);
  }

  /**
   * Loads the value again if it is due. If it is older than `maxAge`, each call tries to load it.
   *
   * @throws the error of the load, when the value is older than `maxAge`
   */
  async ensureUsable(now: number): Promise<void> {
    const isTooOld = Math.abs(now - this.loadedAt) > this.times.maxAge;
    await (isTooOld ? this.reload(now) : this.freshen(now));
  }

  /**
   * Loads the value again because something is missing in it, at most once per cooldown.
   *
   * @returns whether the value is new; false when the cooldown did not allow a load
   * @throws the error of the load; during the cooldown the same error again, without another load
   * @throws {@link KeysUnavailableError} when the load takes long
   */
  async reloadOnDoubt(now: number): Promise<boolean> {
    const { cooldown } = this.times;
    if (this.hasFailedWithin(cooldown, now)) throw this.failure!.error;
    if (!this.loading && Math.abs(now - this.loadedAt) < cooldown) return false;
    const load = this.loading ?? this.begin(now);
    const isLoaded = await Promise.race([
      load.then(() => true),
      (this.wait.whole ?? Promise.resolve()).then(() => false),
    ]);
    if (!isLoaded) throw new KeysUnavailableError('The keys are being loaded, which takes too long.');
    return true;
  }

  /** Loads now, or waits for the load in progress. */
  async reload(now: number): Promise<void> {
    return this.loading ?? this.begin(now);
  }

  /** Starts a new load. A load in progress is not enough, because it may have begun before the latest change. */
  async reloadAnew(now: number): Promise<void> {
    await this.loading?.catch(() => undefined);
    await this.reload(now);
  }

  private hasFailedWithin(time: number, now: number): boolean {
    return this.failure !== undefined && Math.abs(now - this.failure.at) < time;
  }

  private begin(now: number): Promise<void> {
    const load = this.run(now).finally(() => {
      this.loading = undefined;
    });
    this.loading = load;
    this.wait.begin(
      load.then(
        () => true,
        () => false,
      ),
      (error) => this.report(error, now),
    );
    return load;
  }

  private async run(now: number): Promise<void> {
    const start = performance.now();
    try {
      await this.load(now);
      this.loadedAt = now;
      this.failure = undefined;
      this.reads.succeeded++;
      this.trouble.worked(now);
    } catch (error) {
      const took = performance.now() - start;
      // A load may take as long as the cooldown. Then that begins now.
      this.failure = { at: took < this.times.patience ? now : now + took, error };
      this.reads.failed++;
      this.report(error, now);
      throw error;
    }
  }

  /** Whoever loads for the first time starts, and says more. */
  private report(error: unknown, now: number): void {
    if (Number.isFinite(this.loadedAt)) this.trouble.failed(error, now);
  }
}
