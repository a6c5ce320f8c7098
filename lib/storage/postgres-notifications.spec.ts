import { EventEmitter } from 'node:events';
import { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { PostgresNotifications } from './postgres-notifications.js';

/** Moments in the life of a connection. */
const MOMENTS = ['connect', 'LISTEN', 'NOTIFY', 'idle'] as const;
type Moment = (typeof MOMENTS)[number];

const metadataOf = () => ({ tablePath: 'user_session' });

/** A server whose first connection breaks at a moment, in the same turn in which the answer comes. */
class Server {
  readonly connections: Connection[] = [];

  constructor(private readonly breaks: Moment) {}

  reach(connection: Connection | undefined, moment: Moment): void {
    if (moment === this.breaks && connection === this.connections[0]) connection?.break();
  }

  dataSource(): DataSource {
    const connect = (options: object) => new Connection(this, options);
    // `new` gives what it returns.
    const Client = function (options: object): Connection {
      return connect(options);
    };
    const createQueryRunner = () => ({
      query: async (_sql: string, [, payload]: string[]) => this.notify(payload!),
      release: async () => undefined,
    });
    const driver = { master: { Client, options: {} } };
    const options = { type: 'postgres' };
    return { options, getMetadata: metadataOf, driver, createQueryRunner } as unknown as DataSource;
  }

  private async notify(payload: string): Promise<void> {
    this.reach(this.connections.at(-1), 'NOTIFY');
    for (const each of this.connections) if (each.isOpen) each.emit('notification', { payload });
  }
}

class Connection extends EventEmitter {
  isOpen = true;

  constructor(
    private readonly server: Server,
    readonly options: object,
  ) {
    super();
    server.connections.push(this);
  }

  async connect(): Promise<void> {
    this.server.reach(this, 'connect');
  }

  async query(): Promise<void> {
    if (!this.isOpen) throw new Error('Client has encountered a connection error and is not queryable');
    this.server.reach(this, 'LISTEN');
  }

  async end(): Promise<void> {
    this.isOpen = false;
  }

  break(): void {
    this.isOpen = false;
    this.emit('error', new Error('terminating connection due to administrator command'));
    this.emit('end');
  }
}

const lines: string[] = [];
const note = (text: unknown) => void lines.push(String(text));

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Logger.prototype, 'error').mockImplementation(note);
  vi.spyOn(Logger.prototype, 'log').mockImplementation(note);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  lines.length = 0;
});

it.each(MOMENTS)('a connection that breaks at "%s" is replaced, and both are told once', async (moment) => {
  const server = new Server(moment);
  const listener = vi.fn<() => void>();
  const notifications = new PostgresNotifications(server.dataSource(), { now: () => Date.now() });
  await notifications.start(listener);
  server.reach(server.connections[0], 'idle');
  // It was on its way.
  server.connections[0]!.emit('notification', { payload: 'of another process' });
  expect(lines).toEqual([expect.stringMatching(/cannot tell each other/)]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(server.connections.map(({ isOpen }) => isOpen)).toEqual([false, true]);
  expect(lines).toEqual([
    expect.stringMatching(/cannot tell each other/),
    expect.stringMatching(/at once again. The trouble lasted 1 s/),
  ]);
  expect(listener).toHaveBeenCalledTimes(1);
  await notifications.stop();
});

it('asks the machine at the other end whether it is there, because one that is gone does not say so', async () => {
  const server = new Server('idle');
  const notifications = new PostgresNotifications(server.dataSource(), { now: () => Date.now() });
  await notifications.start(() => undefined);
  expect(server.connections[0]!.options).toMatchObject({
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  });
  await notifications.stop();
});
