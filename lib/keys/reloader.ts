/** All in milliseconds. */
export interface ReloadTimes {
  /** Age at which what is loaded is loaded again, when somebody asks. */
  readonly interval: number;
  /** Age from which it must not be used where being current matters. */
  readonly maxAge: number;
  /** Least time between two loads that {@link Reloader.reloadOnDoubt} makes, and after one that failed. */
  readonly cooldown: number;
}

/**
 * Loads something that changes now and then: callers at the same time share one load, and what provokes loads without
 * need (a token with an unknown key, a source that is down) gets one per cooldown.
 */
export class Reloader {
  private loadedAt = Number.NEGATIVE_INFINITY;
  private failure: { readonly at: number; readonly error: unknown } | undefined;
  private loading: Promise<void> | undefined;
  private freshening: Promise<void> | undefined;

  constructor(
    private readonly load: (now: number) => Promise<void>,
    private readonly times: ReloadTimes,
    /** Told of each load that failed while what had been loaded before stays in use. */
    private readonly onFailure: (error: unknown) => void = () => undefined,
  ) {}

  /**
   * Loads where that is due. Should it fail, what is loaded stays in use, and the next try waits for the cooldown.
   *
   * @returns a promise only when there is something to wait for
   */
  freshen(now: number): Promise<void> | undefined {
    const { interval, cooldown } = this.times;
    // A clock that was set back must not keep an old state alive.
    if (Math.abs(now - this.loadedAt) < interval) return undefined;
    if (!this.loading && this.hasFailedWithin(Math.min(cooldown, interval), now)) return undefined;
    this.freshening ??= this.reload(now)
      .catch(this.onFailure)
      .finally(() => {
        this.freshening = undefined;
      });
    return this.freshening;
  }

  /**
   * Loads where that is due.
   *
   * @throws what the load threw, when what is loaded has become too old to do without; it is tried each time then
   */
  async ensureUsable(now: number): Promise<void> {
    const isTooOld = Math.abs(now - this.loadedAt) > this.times.maxAge;
    await (isTooOld ? this.reload(now) : this.freshen(now));
  }

  /**
   * Loads because something is missing, unless that has just been tried.
   *
   * @returns whether what is loaded is as new as it can be; false when the cooldown forbade to look
   * @throws what the load threw; during the cooldown again, without another try
   */
  async reloadOnDoubt(now: number): Promise<boolean> {
    const { cooldown } = this.times;
    if (this.hasFailedWithin(cooldown, now)) throw this.failure!.error;
    if (!this.loading && Math.abs(now - this.loadedAt) < cooldown) return false;
    await this.reload(now);
    return true;
  }

  /** Loads now. */
  async reload(now: number): Promise<void> {
    this.loading ??= this.run(now).finally(() => {
      this.loading = undefined;
    });
    return this.loading;
  }

  /** Loads what is there from now on: a load that is under way may have begun too early to see it. */
  async reloadAnew(now: number): Promise<void> {
    await this.loading?.catch(() => undefined);
    await this.reload(now);
  }

  private hasFailedWithin(time: number, now: number): boolean {
    return this.failure !== undefined && Math.abs(now - this.failure.at) < time;
  }

  private async run(now: number): Promise<void> {
    try {
      await this.load(now);
      this.loadedAt = now;
      this.failure = undefined;
    } catch (error) {
      this.failure = { at: now, error };
      throw error;
    }
  }
}
