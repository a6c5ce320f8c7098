/**
 * Has callers wait for some work that they share, but not for longer than a bound. Then what is known has to do, also for those
 * who come later: while an answer does not come, nobody waits for the next one.
 */
export class BoundedWait {
  private bounded: Promise<void> | undefined;
  /** Whether an answer has not come in time, and none has come since. */
  private isHopeless = false;

  /** @param longest in milliseconds */
  constructor(private readonly longest: number) {}

  /** What callers wait for who can do without the work; `undefined` if there is none, or if waiting is of no use. */
  get current(): Promise<void> | undefined {
    return this.isHopeless ? undefined : this.bounded;
  }

  /** What callers wait for who need the work; `undefined` if there is none, or if it is late. */
  get whole(): Promise<void> | undefined {
    return this.bounded;
  }

  /**
   * @param work tells whether it has worked. It must not fail
   * @param late is called if the work has taken too long
   */
  begin(work: Promise<boolean>, late: (error: Error) => void): void {
    const { longest } = this;
    const bounded = new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        late(new Error(`No answer within ${longest / 1_000} s.`));
        this.isHopeless = true;
        resolve();
      }, longest).unref();
      void work.then((hasWorked) => {
        clearTimeout(timer);
        if (hasWorked) this.isHopeless = false;
        resolve();
      });
    }).then(() => {
      if (this.bounded === bounded) this.bounded = undefined;
    });
    this.bounded = bounded;
  }
}
