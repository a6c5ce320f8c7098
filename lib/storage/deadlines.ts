/** The database has not answered in time. */
export class TimeoutError extends Error {
  readonly code = 'NO_ANSWER';
}

/** A statement that is under way. */
interface Pending {
  /** By a monotonic clock, in milliseconds. */
  readonly until: number;
  readonly reject: (error: Error) => void;
}

/** Gives statements a time in which they must end. They have one timer together: one for each would cost more than all the rest. */
export class Deadlines {
  /** All have the same time, so the oldest comes first. */
  private readonly pending = new Set<Pending>();
  private timer: NodeJS.Timeout | undefined;

  /** @param longest in milliseconds */
  constructor(readonly longest: number) {}

  /** @throws {@link TimeoutError} when the work has not ended in time. It may still be carried out */
  limit<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const pending = { until: performance.now() + this.longest, reject };
      this.pending.add(pending);
      this.timer ??= this.startTimer(this.longest);
      work.then(
        (result) => {
          this.pending.delete(pending);
          resolve(result);
        },
        (error: unknown) => {
          this.pending.delete(pending);
          reject(error);
        },
      );
    });
  }

  private startTimer(wait: number): NodeJS.Timeout {
    return setTimeout(() => this.check(), wait).unref();
  }

  private check(): void {
    this.timer = undefined;
    const now = performance.now();
    for (const each of this.pending) {
      // Timers may be a little early.
      if (each.until > now + 1) {
        this.timer = this.startTimer(each.until - now);
        return;
      }
      this.pending.delete(each);
      each.reject(
        new TimeoutError(
          `The database did not answer within ${this.longest / 1_000} s: it hangs, a lock is held, or all connections of the pool are in use.`,
        ),
      );
    }
  }
}
