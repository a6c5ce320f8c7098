import { StorageUnavailableError } from '../errors/session.errors.js';
import { type Clock, SYSTEM_CLOCK } from '../util/clock.js';
import { CALM, Trouble } from '../util/trouble.js';
import {
  isOfConnection,
  isUniqueViolation,
  kindOfFailure,
  retryTransient,
  withoutValues,
} from './database-error.js';
import { Deadlines } from './deadlines.js';

/** How long a statement may take by default, in milliseconds. */
const TIMEOUT = 5_000;

/** A statement, as the log's troubles tell it from others. */
export interface WatchedStatement {
  /** The entity and the name in the code. */
  readonly name: string;
  /** What it does with which table. What keeps it from that keeps others with the same scope from it. */
  readonly scope: string;
}

/** Statements for which no request waits. Who runs them tells of failures, and of what they mean: the feed, the keys, the clean-up. */
const TOLD_BY_CALLERS: ReadonlySet<string> = new Set([
  'SessionKeyEntity.findAll',
  'SessionKeyEntity.insert',
  'SessionKeyEntity.replaceMaterial',
  'SessionEntity.revokedSince',
  'SessionEntity.heardSince',
  'SessionEntity.findStates',
  'SessionEntity.settleAll',
  'SessionEntity.findExpired',
  'SessionEntity.removeExpired',
  'NotBeforeEntity.since',
  'NotBeforeEntity.findUnsettled',
  'NotBeforeEntity.removeSettled',
]);

/** A cause for which statements fail. */
interface Cause {
  readonly trouble: Trouble;
  /** Whether it is about the way to the database, so that each statement shows that it is over. */
  readonly isOfConnection: boolean;
  /** The names, and the scopes, of the statements that have failed for it. */
  readonly names: Set<string>;
  readonly scopes: Set<string>;
  /** By the counter of the watch. */
  failedAt: number;
  endedAt: number;
  /** By the clock. */
  lastFailure: number;
}

/**
 * Sees that each statement ends in time, tries it again after what passes, and tells the log why requests are answered 503: once
 * for each cause when it begins, and once when it is over. That is shown by a statement that has failed for it; others may have
 * worked all the time: a database that only reads still reads. Such a statement may never be run again, so after a calm any
 * statement that the cause would have stopped shows it.
 */
export class StatementWatch {
  private readonly causes = new Map<string, Cause>();
  /** How many of the causes last. Nearly always there is none. */
  private lasting = 0;
  private readonly deadlines: Deadlines;
  private hasFailed = false;
  /**
   * Counts beginnings and failures. A statement that began before a failure says nothing about whether the trouble is over; one
   * that began before its end belongs to it.
   */
  private moment = 0;

  /**
   * @param timeout in milliseconds, with the wait for a connection
   * @param onRecovery is called when a statement works after others have failed: another server may answer now
   */
  constructor(
    private readonly clock: Clock = SYSTEM_CLOCK,
    timeout: number = TIMEOUT,
    private readonly onRecovery?: () => void,
  ) {
    this.deadlines = new Deadlines(timeout);
  }

  /**
   * Runs a statement.
   *
   * @throws {@link StorageUnavailableError}, so that no caller mistakes a failure of the database for a session that is over;
   *   the driver's error when a unique constraint is violated
   */
  async run<T>(watched: WatchedStatement, statement: () => Promise<T>): Promise<T> {
    const begun = ++this.moment;
    const until = performance.now() + this.deadlines.longest;
    const attempt = () => this.deadlines.limit(statement());
    try {
      const result = await attempt().catch(async (error: unknown) => retryTransient(attempt, until, error));
      if (this.hasFailed) this.recovered();
      // Nearly always there is none.
      if (this.lasting > 0) this.worked(watched, begun);
      return result;
    } catch (error) {
      if (isUniqueViolation(error)) throw error;
      this.hasFailed = true;
      const cause = withoutValues(error);
      if (!TOLD_BY_CALLERS.has(watched.name)) this.failed(watched, begun, cause);
      throw new StorageUnavailableError('The session database did not answer as it should.', { cause });
    }
  }

  private recovered(): void {
    this.hasFailed = false;
    this.onRecovery?.();
  }

  private failed({ name, scope }: WatchedStatement, begun: number, error: unknown): void {
    const kind = kindOfFailure(error);
    const cause = this.causes.get(kind) ?? newCause(kind);
    if (begun < cause.endedAt) return;
    this.causes.set(kind, cause);
    cause.names.add(name);
    cause.scopes.add(scope);
    cause.failedAt = ++this.moment;
    cause.lastFailure = this.clock.now();
    cause.trouble.failed(error, cause.lastFailure);
    this.count();
  }

  private worked({ name, scope }: WatchedStatement, begun: number): void {
    const now = this.clock.now();
    for (const cause of this.causes.values()) {
      if (!cause.trouble.isOpen || begun < cause.failedAt) continue;
      // After a calm, other statements also show that it is over.
      // abs(): after a clock was set back, it must not wait until the clock has caught up.
      const isCalm = Math.abs(now - cause.lastFailure) >= CALM;
      const isShown = isCalm && (cause.isOfConnection || cause.scopes.has(scope));
      if (!isShown && !cause.names.has(name)) continue;
      cause.trouble.worked(now);
      if (cause.trouble.isOpen) continue;
      cause.endedAt = ++this.moment;
      cause.names.clear();
      cause.scopes.clear();
    }
    this.count();
  }

  private count(): void {
    this.lasting = [...this.causes.values()].filter(({ trouble }) => trouble.isOpen).length;
  }
}

function newCause(kind: string): Cause {
  const trouble = new Trouble({
    begins: 'The session database does not do what it is asked; requests that need it are answered 503.',
    ends: 'The session database does what it is asked again.',
  });
  return {
    trouble,
    isOfConnection: isOfConnection(kind),
    names: new Set(),
    scopes: new Set(),
    failedAt: 0,
    endedAt: 0,
    lastFailure: 0,
  };
}
