import { createHash } from 'node:crypto';
import type { DataSource } from 'typeorm';
import { Marks } from './marks.js';
import type { Clock } from '../util/clock.js';
import { Trouble } from '../util/trouble.js';
import { Deadlines } from './deadlines.js';
import { withQueryRunner } from './query-runner.js';
import { SessionEntity } from './session.entity.js';

/** The used part of a connection of `pg`. */
interface Client {
  connect(): Promise<unknown>;
  query(sql: string): Promise<unknown>;
  end(): Promise<void>;
  on(event: 'notification', listener: (message: { readonly payload?: string }) => void): unknown;
  on(event: 'error' | 'end', listener: (error?: Error) => void): unknown;
}

/** The used part of a pool of `pg`. */
interface Pool {
  readonly options: { readonly password?: unknown };
  readonly Client: new (options: object) => Client;
}

/** The waits before the next attempt to connect, in milliseconds. */
const SHORTEST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;

/**
 * How long nothing may come before the machine at the other end is asked whether it is there, in milliseconds. The system's own
 * time is two hours, and a machine that has lost its power does not say so.
 */
const SILENCE = 10_000;

/** How long the first notification may take, in milliseconds. A pooler that pools transactions passes none on. */
const FIRST_NOTIFICATION = 5_000;

/**
 * Tells the other processes on the same table that there is something new, by `LISTEN` and `NOTIFY` of PostgreSQL. It needs one
 * connection of its own. Nothing relies on it: who is not told asks all the same, later.
 */
export class PostgresNotifications {
  private readonly trouble = new Trouble({
    begins:
      'Processes cannot tell each other of revocations at once; they are heard of within revocationInterval.',
    ends: 'Processes tell each other of revocations at once again.',
  });
  private readonly channel: string;
  private readonly marks = new Marks();
  private client: Client | undefined;
  private listener: (() => void) | undefined;
  private timer: NodeJS.Timeout | undefined;
  private wait = SHORTEST_WAIT;
  private notifying: Promise<unknown> | undefined;
  private hasMore = false;
  private readonly deadlines: Deadlines;

  constructor(
    private readonly dataSource: DataSource,
    private readonly clock: Clock,
    /** How long an answer may take, in milliseconds. */
    private readonly timeout = 5_000,
  ) {
    this.deadlines = new Deadlines(timeout);
    const { tablePath } = dataSource.getMetadata(SessionEntity);
    // Channels belong to a database, not to a schema, and their names have at most 63 bytes.
    const hash = createHash('sha256').update(tablePath).digest('hex').slice(0, 16);
    this.channel = `session_tokens_${hash}`;
  }

  /**
   * Connects, and stays connected. If that fails, it tries again later.
   *
   * @param listener is called when another process has told of something new, or may have done so
   */
  async start(listener: () => void): Promise<void> {
    this.listener = listener;
    await this.connect();
  }

  /** Tells the other processes. Of many calls at once, few are sent. */
  notify(): void {
    this.hasMore = this.notifying !== undefined;
    this.notifying ??= this.send()
      // They ask anyway, within the interval.
      .catch(() => undefined)
      .then(() => {
        this.notifying = undefined;
        if (this.hasMore) this.notify();
      });
  }

  async stop(): Promise<void> {
    this.listener = undefined;
    clearTimeout(this.timer);
    const { client } = this;
    this.client = undefined;
    await this.notifying;
    await client?.end().catch(() => undefined);
  }

  private async send(): Promise<void> {
    await this.deadlines.limit(
      withQueryRunner(this.dataSource, async (queryRunner) =>
        queryRunner.query('SELECT pg_notify($1, $2)', [this.channel, this.marks.next()]),
      ),
    );
  }

  private async connect(): Promise<void> {
    const { Client: PgClient, options } = (this.dataSource.driver as unknown as { master: Pool }).master;
    // The pool hides the password from being listed.
    const client = new PgClient({
      connectionTimeoutMillis: this.timeout,
      query_timeout: this.timeout,
      ...options,
      password: options.password,
      keepAlive: true,
      keepAliveInitialDelayMillis: SILENCE,
    });
    this.client = client;
    try {
      client.on('error', (error) => this.lost(client, error));
      client.on('end', () => this.lost(client));
      client.on('notification', ({ payload }) => {
        if (this.client === client) this.heard(payload);
      });
      await client.connect();
      await client.query(`LISTEN "${this.channel}"`);
      // It may have been lost in the same turn. Then the timer is that of the next attempt.
      if (this.client === client) await this.tryOut();
    } catch (error) {
      this.lost(client, error);
    }
  }

  /** Sends the first notification, as others send theirs. The connection is good when it comes back. */
  private async tryOut(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const hint = 'Connect without a pooler that pools transactions, or leave revocationPush out.';
      this.trouble.failed(`No notification arrives. ${hint}`, this.clock.now());
    }, FIRST_NOTIFICATION).unref();
    await this.send();
  }

  private heard(mark: string | undefined): void {
    // Also one's own comes only over a connection that works.
    clearTimeout(this.timer);
    this.wait = SHORTEST_WAIT;
    // While nobody told, something may have happened.
    const wasDeaf = this.trouble.since !== undefined;
    this.trouble.worked(this.clock.now());
    if (wasDeaf || !this.marks.isOwn(mark ?? null)) this.listener?.();
  }

  private lost(client: Client, error?: unknown): void {
    // Ended by stop(), or another event has said so already.
    if (this.client !== client) return;
    this.client = undefined;
    client.end().catch(() => undefined);
    this.trouble.failed(error ?? 'The connection has ended.', this.clock.now());
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.connect(), this.wait).unref();
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
  }
}
