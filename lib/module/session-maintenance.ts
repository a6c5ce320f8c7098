import type { ResolvedOptions } from '../options/resolved-options.js';
import { logger } from '../util/logger.js';
import { Trouble } from '../util/trouble.js';
import type { SessionCore } from './session.core.js';

/** The longest wait of a timer. With a longer wait, the timer would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Regularly removes sessions that are over, and retired keys whose last token has expired. */
export class SessionMaintenance {
  private readonly trouble = new Trouble({
    begins: 'Sessions that are over could not be removed; the next run tries again.',
    ends: 'Sessions that are over can be removed again.',
  });
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;

  constructor(
    private readonly core: Pick<SessionCore, 'manager' | 'signingKeys' | 'refreshTokens' | 'clock'>,
    private readonly options: ResolvedOptions['cleanup'],
  ) {}

  start(): void {
    if (this.options === false) return;
    // The wait is random, so that processes that started together do not clean up at the same time.
    const wait = Math.min(LONGEST_TIMER, this.options.interval * (0.9 + Math.random() * 0.2));
    this.timer = setTimeout(() => {
      this.running = this.run().finally(() => {
        if (this.timer) this.start();
      });
    }, wait).unref();
  }

  /** Stops the timer, and waits for a run in progress. */
  async stop(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    await this.running;
  }

  async run(): Promise<void> {
    try {
      const removed = await this.core.manager.removeExpired();
      if (removed > 0) logger.debug(`Removed ${removed} sessions that were over.`);
      const now = this.core.clock.now();
      await this.core.signingKeys.removeRetired(now);
      await this.core.refreshTokens.removeRetiredKeys(now);
      this.trouble.worked(now);
    } catch (error) {
      this.trouble.failed(error, this.core.clock.now());
    }
  }
}
