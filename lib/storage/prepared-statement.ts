import { createHash } from 'node:crypto';
import { type DataSource, QueryFailedError } from 'typeorm';
import { logger } from '../util/logger.js';
import { withQueryRunner } from './query-runner.js';

/** The used part of a pool of `pg`. `query` takes a connection from the pool, and always returns it. */
interface Pool {
  /** The class of its connections. */
  readonly Client?: { readonly Query?: { readonly prototype?: { readonly hasBeenParsed?: unknown } } };
  query(config: { name: string; text: string; values: unknown[] }): Promise<RawResult>;
}

/** A statement's result from the driver. */
export interface RawResult {
  readonly rows: unknown[];
  /** The number of rows that were changed or found. */
  readonly rowCount: number | null;
}

/**
 * Error codes of PostgreSQL: the connection does not know the statement, already has it, or has it with an outdated plan.
 * The first two come from a pooler that gives each transaction another connection (PgBouncer before 1.21, some hosted
 * databases). The last comes from a changed column type.
 */
const NOT_PREPARED: ReadonlySet<unknown> = new Set(['26000', '42P05', '0A000']);

/** Data sources whose connections do not keep prepared statements. */
const unprepared = new WeakSet<DataSource>();

/**
 * A statement that TypeORM's driver runs. On PostgreSQL it is prepared under a name, so that each connection parses and
 * plans it only once. Through TypeORM, PostgreSQL would parse and plan it each time, which takes longer than executing it.
 * TypeORM's logger and subscribers see the statement like any other.
 */
export class PreparedStatement {
  private readonly name: string;

  constructor(
    private readonly dataSource: DataSource,
    private readonly sql: string,
  ) {
    this.name = `session_tokens_${createHash('sha256').update(sql).digest('hex').slice(0, 16)}`;
  }

  /** @throws QueryFailedError of TypeORM */
  async run(values: unknown[]): Promise<RawResult> {
    const pool = this.poolThatPrepares();
    if (pool) {
      try {
        return await this.runPrepared(pool, values);
      } catch (error) {
        if (!isNotPrepared(error)) throw error;
        // The statement was not executed, so it can be run again.
        this.sendUnpreparedFromNowOn();
      }
    }
    return this.runByTypeOrm(values);
  }

  /** Statements that were under way at the same time may all find out. */
  private sendUnpreparedFromNowOn(): void {
    if (unprepared.has(this.dataSource)) return;
    unprepared.add(this.dataSource);
    logger.warn(
      'PostgreSQL did not keep a prepared statement, as with a pooler that pools transactions. From now on they are sent anew each time, which is slower.',
    );
  }

  /** The pool of `pg`, unless the statement must go through TypeORM. */
  private poolThatPrepares(): Pool | undefined {
    const { options, subscribers, driver } = this.dataSource;
    if (options.type !== 'postgres' || unprepared.has(this.dataSource)) return undefined;
    // Only TypeORM can call query subscribers.
    if (subscribers.some((each) => 'beforeQuery' in each || 'afterQuery' in each)) return undefined;
    // Absent while the data source is not connected.
    const { master } = driver as { master?: Pool };
    return master && isOfPg(master) ? master : undefined;
  }

  /** Does the same as TypeORM, but gives the statement a name. */
  private async runPrepared(pool: Pool, values: unknown[]): Promise<RawResult> {
    const { sql, name } = this;
    const { logger: log, options } = this.dataSource;
    const start = Date.now();
    log.logQuery(sql, values);
    try {
      const result = await pool.query({ name, text: sql, values });
      const took = Date.now() - start;
      if (options.maxQueryExecutionTime && took > options.maxQueryExecutionTime) {
        log.logQuerySlow(took, sql, values);
      }
      return result;
    } catch (error) {
      if (isNotPrepared(error)) throw error;
      log.logQueryError(error as Error, sql, values);
      throw new QueryFailedError(sql, values, error as Error);
    }
  }

  private async runByTypeOrm(values: unknown[]): Promise<RawResult> {
    const { records, affected } = await withQueryRunner(this.dataSource, async (queryRunner) =>
      queryRunner.query(this.sql, values, true),
    );
    return { rows: (records as unknown[] | undefined) ?? [], rowCount: affected ?? null };
  }
}

/**
 * Whether the connections of a pool keep statements by name. Connections of `pg` have a method that checks for each query
 * whether they know its name. `pg-native`, and other drivers in the place of `pg`, do not have this method.
 */
function isOfPg({ Client }: Pool): boolean {
  return typeof Client?.Query?.prototype?.hasBeenParsed === 'function';
}

function isNotPrepared(error: unknown): boolean {
  return NOT_PREPARED.has((error as { code?: unknown } | null)?.code);
}
