/**
 * Has callers wait for some work that they share, but not for longer than a bound. Then what is known has to do, also for those
 * who come later: nobody waits twice for an answer that does not come.
 */
export class BoundedWait {
  private awaited: Promise<void> | undefined;

  /** @param longest in milliseconds */
  constructor(private readonly longest: number) {}

  /** What callers wait for; `undefined` if there is no work, or if it is late. */
  get current(): Promise<void> | undefined {
    return this.awaited;
  }

  /**
   * @param work must not fail
   * @param late is called if the work has taken too long
   */
  begin(work: Promise<void>, late: (error: Error) => void): void {
    const { longest } = this;
    const awaited = new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        late(new Error(`No answer within ${longest / 1_000} s.`));
        resolve();
      }, longest).unref();
      void work.then(() => {
        clearTimeout(timer);
        resolve();
      });
    }).then(() => {
      if (this.awaited === awaited) this.awaited = undefined;
    });
    this.awaited = awaited;
  }
}
