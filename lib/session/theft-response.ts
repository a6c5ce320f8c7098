import type { TokenTheft } from '../errors/session.errors.js';
import type { TheftPolicy } from '../options/session-module.options.js';
import type { UserId } from '../types/register.js';
import { logger } from '../util/logger.js';

/** What is revoked after a theft, beside the stolen session, which is over already. */
export class TheftResponse {
  constructor(
    private readonly policy: TheftPolicy,
    private readonly revokeAll: (userId: UserId) => Promise<unknown>,
  ) {}

  /** It never fails: whoever has come with the stolen token is refused, whatever else goes wrong. */
  async answer(theft: TokenTheft): Promise<void> {
    const { policy } = this;
    try {
      const scope = typeof policy === 'function' ? await policy(theft) : policy;
      if (scope === 'user') await this.revokeAll(theft.userId);
      else if (scope !== 'session') throw new TypeError('It must return "session" or "user".');
    } catch (error) {
      logger.error(
        `The answer to the theft of session ${theft.sessionId} of user ${JSON.stringify(theft.userId)} failed. This session is revoked; others of its user may not be.`,
        error,
      );
    }
  }
}
