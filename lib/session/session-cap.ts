import { setTimeout as delay } from 'node:timers/promises';
import { TooManySessionsError } from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { SessionRow, SessionStore } from '../storage/session.store.js';
import type { UserId } from '../types/register.js';
import type { SessionManager } from './session-manager.js';

/** How often a sign-in that has met others of the same user tries again. */
const ATTEMPTS = 8;
/** The longest wait before that, in milliseconds. */
const LONGEST_WAIT = 50;

/**
 * Keeps users within the largest number of sessions, also if they sign in in several processes at the same moment. It counts
 * after the new session is in the database: of any number of sign-ins, the last one there sees all others.
 */
export class SessionCap {
  constructor(
    private readonly store: SessionStore,
    private readonly manager: SessionManager,
    private readonly cap: ResolvedOptions['maxSessionsPerUser'],
  ) {}

  /**
   * Stores a new session.
   *
   * @param replaced ids of sessions that end with this sign-in. They do not count
   * @throws {@link TooManySessionsError} if the user has as many sessions as are allowed, and the new one is to be refused
   */
  async insert(row: SessionRow, replaced: ReadonlySet<string>): Promise<void> {
    if (this.cap?.policy === 'refuse') return this.insertIfFree(row, replaced, this.cap.limit);
    await this.store.insert(row);
    if (!this.cap) return;
    // The order of ids is that of sign-ins, and the same for every process. If this session is not among the newest, because
    // others were made at the same moment, it ends like any other.
    const newestFirst = (await this.idsOf(row.userId, replaced, row.createdAt)).toSorted().toReversed();
    await this.manager.revokeMany(newestFirst.slice(this.cap.limit), { reason: 'limit' });
  }

  /** Stores a session that takes no place: somebody acts as the user. */
  async exempt(row: SessionRow): Promise<void> {
    await this.store.insert(row);
  }

  private async insertIfFree(row: SessionRow, replaced: ReadonlySet<string>, limit: number): Promise<void> {
    const others = async () => {
      const ids = await this.idsOf(row.userId, replaced, row.createdAt);
      return ids.filter((id) => id !== row.id).length;
    };
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if ((await others()) >= limit) break;
      await this.store.insert(row);
      if ((await others()) < limit) return;
      // Another sign-in has taken the place, or is about to step back as well.
      await this.store.discard(row.id);
      await delay(Math.random() * LONGEST_WAIT);
    }
    throw new TooManySessionsError(limit);
  }

  /** Somebody who acts as the user neither takes a place nor ends a session. */
  private async idsOf(userId: UserId, replaced: ReadonlySet<string>, now: number): Promise<string[]> {
    return (await this.store.findIdsForUser(userId, now, false)).filter((id) => !replaced.has(id));
  }
}
