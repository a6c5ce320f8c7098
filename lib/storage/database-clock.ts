import type { DataSource } from 'typeorm';
import type { Clock } from '../util/clock.js';
import { logger } from '../util/logger.js';
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

/** How often the database's clock is read again, in milliseconds: somebody may set it, or another server may answer. */
const INTERVAL = 10_000;

/** An answer that took longer than this, in milliseconds, does not tell the time well. It is asked for again. */
const SLOW = 1_000;
/** How often a slow answer is asked for before it has to do for {@link RETRY}. */
const ATTEMPTS = 3;
const RETRY = 1_000;

/** How often {@link DatabaseClock.now} looks whether a reading is due, in milliseconds: a busy process does not look each time. */
const LOOK = 100;
/** If this machine's two clocks move apart by more than this, in milliseconds, one was set, or the machine has slept. */
const JUMP = 1_000;
/** The smallest change that is logged, in milliseconds. */
const NOTABLE = 5_000;

/** When this machine's steady clock began, in epoch milliseconds. */
const ORIGIN = performance.timeOrigin;

/**
 * Tells the time by the database's clock, because all processes share it. Everything that goes into a row or a token, or is
 * compared with one, is in this time. It does not ask the database each time. Between two readings it goes by this machine's
 * steady (monotonic) clock, so it does not matter what somebody sets this machine's clock to.
 */
export class DatabaseClock implements Clock {
  private readonly dataSource: DataSource | undefined;
  private readonly sql: string | undefined;
  /** How far the steady clock is ahead of the database's, in milliseconds. */
  private ahead = 0;
  private hasRead = false;
  /** When the next reading is due, by the steady clock. `undefined` before the first one, and where there is nothing to read. */
  private dueAt: number | undefined;
  private lookedAt = 0;
  /** How far this machine's clock was ahead of its steady one when the last reading began. */
  private gap = 0;
  private reading: Promise<void> | undefined;
  /** May take longer than anybody waits for it. */
  private measuring: Promise<void> | undefined;
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

  /** If a reading is due, it begins, but nobody waits for it. So a process without requests asks nothing. */
  now(): number {
    if (this.dueAt === undefined) return Date.now();
    const tick = this.tick();
    if (tick - this.lookedAt >= LOOK) this.look(tick, this.dueAt);
    return Math.floor(tick - this.ahead);
  }

  /** The same, but it never asks the database. */
  peek(): number {
    return this.dueAt === undefined ? Date.now() : Math.floor(this.tick() - this.ahead);
  }

  /** Another server may answer from now on, with another clock. So it is read when the time is next asked for. */
  doubt(): void {
    if (this.dueAt === undefined) return;
    this.dueAt = Number.NEGATIVE_INFINITY;
    this.lookedAt = Number.NEGATIVE_INFINITY;
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
    await this.reading;
    return Date.now() - this.peek();
  }

  /** A steady clock stands still while the machine sleeps. Then it is the other one that goes on. */
  private look(tick: number, dueAt: number): void {
    this.lookedAt = tick;
    const hasJumped = Math.abs(Date.now() - tick - this.gap) > JUMP;
    // If the database does not answer, the known difference stays in use. The log has it.
    if (hasJumped || tick >= dueAt) this.synchronise().catch(() => undefined);
  }

  private async readIn(dataSource: DataSource, sql: string): Promise<void> {
    const tick = this.tick();
    this.dueAt = tick + INTERVAL;
    this.gap = Date.now() - tick;
    // Until the database has told its time, this machine's other clock is the best guess.
    if (!this.hasRead) this.ahead = -this.gap;
    try {
      // Where the database does not answer, each reading would take one more connection.
      this.measuring ??= this.measure(dataSource, sql).finally(() => {
        this.measuring = undefined;
      });
      await this.deadlines.limit(this.measuring);
      this.trouble.worked(this.peek());
    } catch (error) {
      this.trouble.failed(error, this.peek());
      throw error;
    }
  }

  private async measure(dataSource: DataSource, sql: string): Promise<void> {
    const known = this.hasRead ? this.ahead : undefined;
    await withQueryRunner(dataSource, async (queryRunner) => {
      // Connect first, because the time for that must not count as time of the query.
      await queryRunner.connect();
      const query: Query = async (text) => queryRunner.query(text) as Promise<unknown>;
      for (let attempts = 1; (await this.ask(query, sql)) > SLOW; attempts++) {
        if (attempts < ATTEMPTS) continue;
        this.dueAt = this.tick() + RETRY;
        break;
      }
    });
    this.hasRead = true;
    if (known === undefined || Math.abs(this.ahead - known) < NOTABLE) return;
    const seconds = Math.round((known - this.ahead) / 1_000);
    logger.warn(
      `The database's clock has moved by ${seconds} s against that of this process: it was set, another server answers, or this machine has slept. Sessions go by the database's clock.`,
    );
  }

  /** @returns how long the answer took, in milliseconds: it is exact to this */
  private async ask(query: Query, sql: string): Promise<number> {
    const before = this.tick();
    const now = await this.read(query, sql);
    const after = this.tick();
    const [least, most] = [Math.round(before - now), Math.round(after - now)];
    this.ahead = Math.min(Math.max(this.ahead, least), most);
    return after - before;
  }

  private async read(query: Query, sql: string): Promise<number> {
    const [row] = (await query(sql)) as { now: string | number }[];
    const now = Number(row?.now);
    if (!Number.isFinite(now)) throw new Error('The database did not tell its time.');
    return now;
  }

  /** The steady clock of this machine, in epoch milliseconds as of the start of the process. Nobody can set it. */
  private tick(): number {
    return ORIGIN + performance.now();
  }
}
