/**
 * Loads something that changes now and then: callers at the same time share one load, and what provokes loads without
 * need (a token with an unknown key) gets one per cooldown, be it successful or not.
 */
export class Reloader {
  private loadedAt = Number.NEGATIVE_INFINITY;
  private failure: { readonly at: number; readonly error: unknown } | undefined;
  private loading: Promise<void> | undefined;

  constructor(
    private readonly load: (now: number) => Promise<void>,
    /** Milliseconds after which {@link ensureFresh} loads again. */
    private readonly maxAge: number,
    /** Milliseconds between two loads that {@link reloadOnDoubt} makes. */
    private readonly cooldown: number,
  ) {}

  /** Whether something has been loaded within `maxAge`. A clock that was set back must not keep an old state alive. */
  isFresh(now: number): boolean {
    return Math.abs(now - this.loadedAt) <= this.maxAge;
  }

  /** Loads unless that is fresh. */
  async ensureFresh(now: number): Promise<void> {
    if (!this.isFresh(now)) await this.reload(now);
  }

  /**
   * Loads because something is missing, unless that has just been tried.
   *
   * @returns whether what is loaded is as new as it can be; false when the cooldown forbade to look
   * @throws what the load threw; during the cooldown again, without another try
   */
  async reloadOnDoubt(now: number): Promise<boolean> {
    if (this.failure && Math.abs(now - this.failure.at) < this.cooldown) throw this.failure.error;
    if (!this.loading && Math.abs(now - this.loadedAt) < this.cooldown) return false;
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
