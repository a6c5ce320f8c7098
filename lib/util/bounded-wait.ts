/**
 * How long requests wait for news that they can do without. All that a request may wait for, one after the other, shares this:
 * when one answer does not come in time, nobody waits for the others either.
 */
export class Patience {
  private readonly waits: BoundedWait[] = [];

  /** @param longest in milliseconds */
  constructor(readonly longest: number) {}

  share(wait: BoundedWait): void {
    this.waits.push(wait);
  }

  lose(): void {
    for (const wait of this.waits) wait.giveUp();
  }
}

/**
 * Has callers wait for some work that they share, but not for longer than a bound. Then what is known has to do, also for those
 * who come later: while an answer does not come, nobody waits for the next one.
 */
export class BoundedWait {
  private bounded: Promise<void> | undefined;
  private awaited: Promise<void> | undefined;
  private release: (() => void) | undefined;
  /** Whether an answer has not come in time, and none has come since. */
  private isHopeless = false;

  constructor(private readonly patience: Patience) {
    patience.share(this);
  }

  /** What callers wait for who can do without the work; `undefined` if there is none, or if waiting is of no use. */
  get current(): Promise<void> | undefined {
    return this.awaited;
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
    const { longest } = this.patience;
    const bounded = new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        late(new Error(`No answer within ${longest / 1_000} s.`));
        this.patience.lose();
        resolve();
      }, longest).unref();
      void work.then((hasWorked) => {
        clearTimeout(timer);
        if (hasWorked) this.isHopeless = false;
        resolve();
      });
    }).then(() => {
      if (this.bounded !== bounded) return;
      this.bounded = undefined;
      this.release?.();
    });
    this.bounded = bounded;
    if (this.isHopeless) return;
    this.awaited = new Promise<void>((resolve) => {
      this.release = () => {
        this.awaited = undefined;
        resolve();
      };
    });
  }

  /** Nobody waits any more, until some work has been done. */
  giveUp(): void {
    this.isHopeless = true;
    this.release?.();
  }
}
