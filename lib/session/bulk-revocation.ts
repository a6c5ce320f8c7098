import { InvalidInputError, SessionOverError } from '../errors/session.errors.js';
import { firstSessionId, isSessionId, timeOfSessionId } from '../protocol/session-id.js';
import type { RevocationChecker } from '../revocation/revocation-checker.js';
import { isBefore, type NotBefore, type NotBeforeStore } from '../storage/not-before.store.js';
import {
  AFTER_ALL_IDS,
  type EndedSession,
  type SessionRow,
  type SessionStore,
} from '../storage/session.store.js';
import type { UserId } from '../types/register.js';
import type { Clock } from '../util/clock.js';
import { checkRevokeOptions } from './revoke-options.js';
import type { SessionEvents } from './session-events.js';
import { checkUserId } from './session-input.js';
import type { RevokeAllOptions, RevokeOptions } from './session.types.js';

/** How many sessions of the whole table are ended at a time. */
const BATCH = 512;

/** After this time, another process finishes what is not settled, in milliseconds. The first one has probably died. */
const PATIENCE = 10 * 60_000;

/**
 * A time that is further in the future than this, in milliseconds, was written while the database's clock was ahead. The clocks
 * of two processes differ by less.
 */
const DIFFERENCE = 10_000;

/**
 * Ends all sessions of a user, or of everybody. One write does it: a not-before, of which every process hears. The rows are
 * ended after that, so that refreshes and lists, which look at rows alone, see it as well. If the process dies between the two,
 * another one goes on.
 */
export class BulkRevocation {
  /** The latest time that this process has given to a session, and to a not-before. */
  private latest = { session: 0, notBefore: 0 };

  /** @param tombstone for how long a not-before stays after the rows have been ended, so that all processes can read it */
  constructor(
    private readonly notBefores: NotBeforeStore,
    private readonly sessions: SessionStore,
    private readonly revocation: RevocationChecker,
    private readonly events: SessionEvents,
    private readonly clock: Clock,
    private readonly tombstone: number,
  ) {}

  async revokeAllForUser(userId: UserId, options?: RevokeOptions & { except?: string }): Promise<number> {
    const { reason, by } = checkRevokeOptions(options);
    const user = checkUserId(userId);
    const createdAt = this.clock.now();
    const notBefore = this.timeOfNotBefore(createdAt);
    const except = isSessionId(options?.except) ? options.except : undefined;
    return this.revoke({ userId: user, notBefore, except, reason, createdAt }, by);
  }

  async revokeAll(options?: RevokeAllOptions): Promise<number> {
    const { reason, by } = checkRevokeOptions(options);
    const before = options?.before;
    const createdAt = this.clock.now();
    const notBefore = before === undefined ? this.timeOfNotBefore(createdAt) : checkBefore(before, createdAt);
    return this.revoke({ userId: undefined, notBefore, except: undefined, reason, createdAt }, by);
  }

  /** Ends the rows where a process has died before it did so, and removes not-befores that nobody needs any more. */
  async finish(): Promise<void> {
    const now = this.clock.now();
    for (const each of await this.notBefores.findUnsettled(now - PATIENCE)) await this.endRows(each);
    await this.notBefores.removeSettled(now - this.tombstone);
  }

  /**
   * The time for a session that is made now. It is later than every not-before of this process, also if both are made within
   * one millisecond, as by an application that ends all sessions of a user and then makes a new one.
   */
  timeOfSession(now: number): number {
    this.latest.session = Math.max(now, this.latest.notBefore + 1);
    return this.latest.session;
  }

  /**
   * Takes a session back that was made by a sign-in at the same time. Either this finds the not-before, or the not-before's
   * process finds the row, because each writes before it reads.
   *
   * @param predecessor the session that goes on in this one. What ends that one ends this one
   * @throws {@link SessionOverError}
   */
  async admit({ id, userId }: SessionRow, predecessor = id): Promise<void> {
    const ending = await this.notBefores.findFor([id, predecessor], userId);
    const [first] = ending;
    if (!first) return;
    this.learn(ending);
    await this.sessions.discard(id);
    throw new SessionOverError({ endedAt: first.createdAt, reason: first.reason });
  }

  /**
   * A not-before of the future would refuse every sign-in until its time. So this process gives its sessions a later time from
   * now on. The sign-in that has found it is refused, because it may have been under way: the next one is after it.
   */
  private learn(notBefores: readonly NotBefore[]): void {
    const wrong = this.clock.now() + DIFFERENCE;
    for (const { notBefore } of notBefores) {
      if (notBefore > wrong) this.latest.notBefore = Math.max(this.latest.notBefore, notBefore);
    }
  }

  private timeOfNotBefore(now: number): number {
    this.latest.notBefore = Math.max(now, this.latest.session);
    return this.latest.notBefore;
  }

  private async revoke(
    facts: Omit<NotBefore, 'id' | 'settledAt' | 'isOwn'>,
    by?: string | number,
  ): Promise<number> {
    const made = await this.notBefores.insert(facts);
    this.revocation.revokedBefore(made);
    this.announce(made, by);
    return this.endRows(made, by);
  }

  /** @returns how many sessions this call has ended */
  private async endRows(notBefore: NotBefore, by?: string | number): Promise<number> {
    const { userId } = notBefore;
    const count =
      userId === undefined ? await this.endAll(notBefore, by) : await this.endAllOf(userId, notBefore, by);
    await this.notBefores.settle(notBefore, this.clock.now());
    return count;
  }

  private async endAllOf(userId: UserId, notBefore: NotBefore, by?: string | number): Promise<number> {
    const now = this.clock.now();
    const ids = await this.sessions.findIdsForUser(userId, now);
    const over = ids.filter((id) => isBefore(notBefore, id));
    const ended = await this.sessions.endMany(over, now, notBefore.reason);
    this.events.emitRevoked(ended, { reason: notBefore.reason, by }, this.clock.now());
    const ahead = ids.filter((id) => timeOfSessionId(id) > now + DIFFERENCE && id !== notBefore.except);
    return ended.length + (await this.endAhead(ahead, notBefore, by)).length;
  }

  private async endAll(notBefore: NotBefore, by?: string | number): Promise<number> {
    const before = firstSessionId(notBefore.notBefore + 1);
    const count = await this.forEach('', before, (ids, now) =>
      this.sessions.endMany(ids, now, notBefore.reason),
    );
    // Who names a time means the sessions until then.
    if (notBefore.notBefore < notBefore.createdAt) return count;
    const ahead = firstSessionId(Math.max(notBefore.notBefore + 1, this.clock.now() + DIFFERENCE));
    return count + (await this.forEach(ahead, AFTER_ALL_IDS, (ids) => this.endAhead(ids, notBefore, by)));
  }

  /** Ends the live sessions between two ids. @returns how many that were */
  private async forEach(
    first: string,
    before: string,
    end: (ids: readonly string[], now: number) => Promise<readonly EndedSession[]>,
  ): Promise<number> {
    let count = 0;
    for (let after = first; ;) {
      const now = this.clock.now();
      const ids = await this.sessions.findIdsBetween(after, before, now, BATCH);
      if (ids.length > 0) count += (await end(ids, now)).length;
      if (ids.length < BATCH) return count;
      after = ids.at(-1)!;
    }
  }

  /**
   * Ends sessions that were made while the database's clock was ahead. Their ids have a time of the future, so a not-before of
   * now does not end them.
   */
  private async endAhead(
    ids: readonly string[],
    { reason }: NotBefore,
    by?: string | number,
  ): Promise<readonly EndedSession[]> {
    if (ids.length === 0) return [];
    const now = this.clock.now();
    const ended = await this.sessions.revokeMany(ids, now, reason);
    this.revocation.revoked(ids, { endedAt: now, reason });
    this.events.emitRevoked(ended, { reason, by }, now);
    return ended;
  }

  private announce({ userId, notBefore, except, reason }: NotBefore, by?: string | number): void {
    const before = new Date(notBefore);
    this.events.emit(
      { type: 'all_revoked', userId, before, except, reason, by, elsewhere: false },
      this.clock.now(),
    );
  }
}

function checkBefore(value: unknown, now: number): number {
  const time = value instanceof Date ? value.getTime() : Number.NaN;
  if (!Number.isSafeInteger(time) || time > now)
    throw new InvalidInputError('"before" must be a Date that is not in the future.');
  // Sessions that were made at this time itself are not before it.
  return time - 1;
}
