import type { DataSource } from 'typeorm';
import type { Clock } from '../util/clock.js';
import { Trouble } from '../util/trouble.js';
import { Deadlines } from './deadlines.js';
import { withQueryRunner } from './query-runner.js';
import { isRowKeeper, type Rows } from './row-keeper.js';

type Query = (sql: string) => Promise<unknown>;

/** Reads the database's clock, in epoch milliseconds. The clock of SQLite is that of this machine. */
const READ: Partial<Record<DataSource['options']['type'], string>> = {
  postgres: 'SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now',
  // In UTC, because a local time is ambiguous when the clocks are put back.
  mysql: "SELECT timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) / 1000 AS now",
  mariadb: "SELECT timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) / 1000 AS now",
};

/** How long a reading may take by default, in milliseconds. */
const TIMEOUT = 5_000;

/** How often the database's clock is read again, in milliseconds. Somebody may set a clock while the process runs. */
const INTERVAL = 60_000;

/**
 * Tells the time by the database's clock, because all processes share it. Everything that goes into a row or a token, or is
 * compared with one, is in this time. It does not ask the database each time, but keeps the difference of the clocks.
 */
export class DatabaseClock implements Clock {
  private readonly dataSource: DataSource | undefined;
  private readonly sql: string | undefined;
  /** How far the clock of this machine is ahead, in milliseconds. */
  private ahead = 0;
  /** When the database's clock was read, by this machine's clock. `undefined` if it is not to be read again. */
  private readAt: number | undefined;
  private reading: Promise<number> | undefined;
  /** May take longer than anybody waits for it. */
  private measuring: Promise<number> | undefined;
  private readonly deadlines: Deadlines;
  private readonly trouble = new Trouble({
    begins:
      "The database's clock could not be read. Until it can, sessions go by this machine's clock and the difference that is known.",
    ends: "The database's clock can be read again.",
  });

  /** @param timeout how long a reading may take, with the wait for a connection, in milliseconds */
  constructor(rows: Rows, timeout: number = TIMEOUT) {
    this.deadlines = new Deadlines(timeout);
    this.dataSource = isRowKeeper(rows) ? undefined : rows;
    this.sql = this.dataSource && READ[this.dataSource.options.type];
  }

  /** If the last reading is old, the next one begins, but nobody waits for it. So a process without requests asks nothing. */
  now(): number {
    const machine = Date.now();
    if (this.readAt !== undefined && Math.abs(machine - this.readAt) > INTERVAL) {
      // If the database does not answer, the known difference stays in use. The log has it.
      this.synchronise().catch(() => undefined);
    }
    return machine - this.ahead;
  }

  /** The same, but it never asks the database. */
  peek(): number {
    return Date.now() - this.ahead;
  }

  /**
   * Reads the database's clock.
   *
   * @returns how far this machine's clock is ahead of it, in milliseconds. If the answer took long, this is not exact. Then
   *   it is the value nearest to the present one that the answer allows
   * @throws Error when the database does not tell its time, or not in time
   */
  async synchronise(): Promise<number> {
    const { dataSource, sql } = this;
    if (!dataSource || sql === undefined) return 0;
    this.reading ??= this.readIn(dataSource, sql).finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  private async readIn(dataSource: DataSource, sql: string): Promise<number> {
    this.readAt = Date.now();
    try {
      // Where the database does not answer, each reading would take one more connection.
      this.measuring ??= this.measure(dataSource, sql).finally(() => {
        this.measuring = undefined;
      });
      const ahead = await this.deadlines.limit(this.measuring);
      this.trouble.worked(Date.now());
      return ahead;
    } catch (error) {
      this.trouble.failed(error, Date.now());
      throw error;
    }
  }

  private async measure(dataSource: DataSource, sql: string): Promise<number> {
    return withQueryRunner(dataSource, async (queryRunner) => {
      // Connect first, because the time for that must not count as time of the query.
      await queryRunner.connect();
      const before = Date.now();
      const now = await this.read(async (text) => queryRunner.query(text) as Promise<unknown>, sql);
      const [least, most] = [Math.round(before - now), Math.round(Date.now() - now)];
      this.ahead = Math.min(Math.max(this.ahead, least), most);
      return this.ahead;
    });
  }

  private async read(query: Query, sql: string): Promise<number> {
    const [row] = (await query(sql)) as { now: string | number }[];
    const now = Number(row?.now);
    if (!Number.isFinite(now)) throw new Error('The database did not tell its time.');
    return now;
  }
}
