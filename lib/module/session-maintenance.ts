import { Logger } from '@nestjs/common';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { SessionCore } from './session.core.js';

/** What a timer can wait; a longer one would end at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Removes sessions that are over, and keys that nothing is signed with any more, from time to time. */
export class SessionMaintenance {
  private readonly logger = new Logger(SessionMaintenance.name);
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;

  constructor(
    private readonly core: Pick<SessionCore, 'manager' | 'signingKeys' | 'refreshTokens'>,
    private readonly options: ResolvedOptions['cleanup'],
  ) {}

  start(): void {
    if (this.options === false) return;
    // Processes that started together need not all clean up together.
    const wait = Math.min(LONGEST_TIMER, this.options.interval * (0.9 + Math.random() * 0.2));
    this.timer = setTimeout(() => {
      this.running = this.run().finally(() => {
        if (this.timer) this.start();
      });
    }, wait).unref();
  }

  /** Waits for a run that is under way. */
  async stop(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    await this.running;
  }

  async run(): Promise<void> {
    try {
      const removed = await this.core.manager.removeExpired();
      if (removed > 0) this.logger.debug(`Removed ${removed} sessions that were over.`);
      await this.core.signingKeys.removeRetired(Date.now());
      await this.core.refreshTokens.removeRetiredKeys(Date.now());
    } catch (error) {
      this.logger.error('Sessions that are over could not be removed; the next run tries again.', error);
    }
  }
}
