import { StorageUnavailableError } from '../errors/session.errors.js';
import { type Clock, SYSTEM_CLOCK } from '../util/clock.js';
import { Trouble } from '../util/trouble.js';
import { isUniqueViolation, kindOfFailure, retryTransient, withoutValues } from './database-error.js';
import { Deadlines } from './deadlines.js';

/** How long a statement may take by default, in milliseconds. */
const TIMEOUT = 5_000;

/** Statements for which no request waits. Who runs them tells of failures, and of what they mean: the feed, the keys, the clean-up. */
const TOLD_BY_CALLERS: ReadonlySet<string> = new Set([
  'findAll',
  'revokedSince',
  'heardSince',
  'since',
  'findStates',
  'settleAll',
  'findUnsettled',
  'removeSettled',
  'findExpired',
  'removeExpired',
]);

/** A cause for which statements fail. */
interface Cause {
  readonly trouble: Trouble;
  /** The names of the statements that have failed for it. */
  readonly statements: Set<string>;
}

/**
 * Sees that each statement ends in time, tries it again after what passes, and tells the log why requests are answered 503: once
 * for each cause when it begins, and once when a statement that has failed for it works again. Others may have worked all
 * the time: a database that only reads still reads.
 */
export class StatementWatch {
  private readonly causes = new Map<string, Cause>();
  private readonly deadlines: Deadlines;
  private hasFailed = false;

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
   * @param name of the statement in the code
   * @throws {@link StorageUnavailableError}, so that no caller mistakes a failure of the database for a session that is over;
   *   the driver's error when a unique constraint is violated
   */
  async run<T>(name: string, statement: () => Promise<T>): Promise<T> {
    const until = performance.now() + this.deadlines.longest;
    const attempt = () => this.deadlines.limit(statement());
    try {
      const result = await attempt().catch(async (error: unknown) => retryTransient(attempt, until, error));
      // Nearly always there is none.
      if (this.hasFailed) this.recovered();
      if (this.causes.size > 0) this.worked(name);
      return result;
    } catch (error) {
      if (isUniqueViolation(error)) throw error;
      this.hasFailed = true;
      const cause = withoutValues(error);
      if (!TOLD_BY_CALLERS.has(name)) this.failed(name, cause);
      throw new StorageUnavailableError('The session database did not answer as it should.', { cause });
    }
  }

  private recovered(): void {
    this.hasFailed = false;
    this.onRecovery?.();
  }

  private failed(name: string, error: unknown): void {
    const kind = kindOfFailure(error);
    const cause = this.causes.get(kind) ?? { trouble: newTrouble(), statements: new Set() };
    this.causes.set(kind, cause);
    cause.statements.add(name);
    cause.trouble.failed(error, this.clock.now());
  }

  private worked(name: string): void {
    for (const [kind, { trouble, statements }] of this.causes) {
      if (!statements.has(name)) continue;
      this.causes.delete(kind);
      trouble.worked(this.clock.now());
    }
  }
}

function newTrouble(): Trouble {
  return new Trouble({
    begins: 'The session database does not do what it is asked; requests that need it are answered 503.',
    ends: 'The session database does what it is asked again.',
  });
}
