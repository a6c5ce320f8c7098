// No server: an application with the library, whose sessions the question `growth` makes, uses and ends, without HTTP.
import { randomUUID } from 'node:crypto';
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { JWK } from 'jose';
import { SessionModule, SessionService } from 'nestjs-session-tokens';
import 'reflect-metadata';
import { DataSource } from 'typeorm';
import { type Latencies, latencies } from '../../growth/latencies.js';
import type { Held, Samples } from '../../growth/samples.js';
import type { SqlRow } from '../../growth/sql.js';
import { CLAIMS } from '../../load/client.js';
import { countQueries, dataSourceOptions } from '../support/data-source-options.js';
import { readEnvironment } from '../support/environment.js';
import { serve } from '../support/serve.js';

/** As many sessions as a busy process has in hand. */
const AT_ONCE = 16;

/** The samples were made over so many milliseconds: less than the 30 days for which a session without use lives. */
const SAMPLED = 29 * 86_400_000;

/** All sockets of this process: those of its database connections. */
const sockets = new Set<Socket>();
const connectSocket = Reflect.get(Socket.prototype, 'connect') as (...values: unknown[]) => Socket;
Reflect.set(Socket.prototype, 'connect', function (this: Socket, ...values: unknown[]) {
  sockets.add(this);
  return connectSocket.apply(this, values);
});

@Module({
  imports: [
    SessionModule.forRoot({
      secret: readEnvironment().secret,
      database: dataSourceOptions(),
      signingKeys: { source: () => [JSON.parse(process.env['SIGNING_JWK']!) as JWK] },
      // Every refresh is an exchange, and every first use a proof. By default they are so only when the tokens have settled.
      reuseWindow: 0,
      // It is measured on its own.
      cleanup: false,
    }),
  ],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: false, abortOnError: false });
const sessions = app.get(SessionService);

/** A session of this process, with its newest tokens. */
interface Own {
  readonly id: string;
  refreshToken: string;
  accessToken: string;
}

/** Made in this process, oldest first. */
let made: Own[] = [];
/** Made before, and used by nobody since the table was filled. */
let held: Held[] = [];

serve({
  listen: async () => undefined,
  close: () => app.close(),
  queries: countQueries,
  calls: {
    makeSamples,
    hold: (given: readonly Held[]) => void (held = [...given]),
    forget: () => void (made = []),
    create,
    refresh,
    prove,
    revoke,
    refreshHeld,
    revokeHeld,
    startRefreshing,
    stopRefreshing,
    list,
    revokeUser,
    removeExpired,
    accessTokens: () => made.map(({ id, accessToken }) => ({ id, accessToken })),
    startWatching,
    stopWatching,
    revokeAtRate,
    verify: async (token: string) =>
      (await timed([token], async (each) => sessions.tokens.verify(each))).seconds,
    bytesRead,
  },
});

/** What some calls took in all, in seconds, and each. */
interface Timed {
  readonly seconds: number;
  readonly each: Latencies;
}

async function timed<T>(items: readonly T[], operation: (item: T) => Promise<unknown>): Promise<Timed> {
  const values: number[] = [];
  const start = performance.now();
  const rest = items.values();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const item of rest) {
        const before = performance.now();
        await operation(item);
        values.push(performance.now() - before);
      }
    }),
  );
  return { seconds: (performance.now() - start) / 1e3, each: latencies(values) };
}

async function makeSamples({ count }: { count: number }): Promise<Samples> {
  const now = Date.now();
  const machineTime = Date.now;
  const found: Held[] = [];
  try {
    for (let n = 0; n < count; n++) {
      const time = now - SAMPLED + Math.floor((n * SAMPLED) / count);
      Date.now = () => time;
      const { session, refreshToken } = await sessions.tokens.issue({
        userId: `sample-${n}`,
        claims: CLAIMS,
      });
      found.push({ id: session.id, refreshToken: refreshToken.token });
    }
  } finally {
    Date.now = machineTime;
  }
  const dataSource = await new DataSource(dataSourceOptions()).initialize();
  try {
    const rows = await dataSource.query<SqlRow[]>('SELECT * FROM user_session');
    return {
      sessions: found,
      rows,
      keys: await dataSource.query<SqlRow[]>('SELECT * FROM user_session_key'),
    };
  } finally {
    await dataSource.destroy();
  }
}

async function create(count: number): Promise<Timed> {
  // Each is of another user: in the index of users, each sign-in writes to another place.
  const userIds = Array.from({ length: count }, () => randomUUID());
  return timed(userIds, async (userId) => {
    const { session, accessToken, refreshToken } = await sessions.tokens.issue({
      userId,
      claims: CLAIMS,
      device: {
        userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0',
        ip: '203.0.113.7',
      },
    });
    made.push({ id: session.id, refreshToken: refreshToken.token, accessToken: accessToken.token });
  });
}

async function exchange(own: Own): Promise<void> {
  const { accessToken, refreshToken } = await sessions.tokens.refresh(own.refreshToken);
  if (!refreshToken) throw new Error('A refresh gave no refresh token.');
  own.refreshToken = refreshToken.token;
  own.accessToken = accessToken.token;
}

async function refresh(): Promise<Timed> {
  return timed(made, exchange);
}

async function prove(): Promise<Timed> {
  return timed(made, async ({ accessToken }) => {
    const { newAccessToken } = await sessions.tokens.verify(accessToken);
    if (!newAccessToken) throw new Error('The first use of a token has proven nothing.');
  });
}

/** Revokes all that this process has made, and forgets them. */
async function revoke(): Promise<Timed> {
  const all = made;
  made = [];
  return timed(all, revokeOne);
}

async function revokeOne({ id }: { readonly id: string }): Promise<void> {
  if (!(await sessions.revoke(id))) throw new Error('A session that was to be revoked was not live.');
}

async function refreshHeld(count: number): Promise<Timed> {
  return timed(held.splice(0, count), async ({ refreshToken }) => sessions.tokens.refresh(refreshToken));
}

async function revokeHeld(count: number): Promise<Timed> {
  return timed(held.splice(0, count), revokeOne);
}

let refreshing: { readonly stop: () => Promise<number[]> } | undefined;

/** Refreshes what this process has made, in turn, over so many calls at a time, until it is told to stop. */
function startRefreshing(atOnce: number): void {
  const end = { isReached: false };
  const values: number[] = [];
  const share = Math.floor(made.length / atOnce);
  const loops = Array.from({ length: atOnce }, async (_, n) => {
    const own = made.slice(n * share, (n + 1) * share);
    while (!end.isReached) {
      for (const each of own) {
        if (end.isReached) return;
        const before = performance.now();
        await exchange(each);
        values.push(performance.now() - before);
        // A fixed pause, so that it is no race for the processor.
        await delay(5);
      }
    }
  });
  const all = Promise.all(loops);
  all.catch(() => undefined);
  refreshing = {
    async stop() {
      end.isReached = true;
      await all;
      return values;
    },
  };
}

async function stopRefreshing(): Promise<Latencies> {
  return latencies(await refreshing!.stop());
}

interface Page {
  readonly ids: readonly string[];
  readonly next: string | undefined;
}

/** A list of sessions: all at once, or the pages that later versions of the library have. */
async function page(userId: string, options?: { limit: number; after?: string }): Promise<Page> {
  const find = sessions.findAllForUser.bind(sessions) as (
    ...values: unknown[]
  ) => Promise<{ id: string }[] | { sessions: { id: string }[]; next: string | null }>;
  const found = await find(userId, ...(options ? [options] : []));
  const [listed, next] = Array.isArray(found) ? [found, null] : [found.sessions, found.next];
  return { ids: listed.map(({ id }) => id), next: next ?? undefined };
}

/** How long lists take, each in all its pages. */
interface Listed {
  readonly each: Latencies;
  /** Sessions in the last list. */
  readonly length: number;
}

/** Lists the sessions of users, of each in all pages, or in the first one only. */
async function list({
  userIds,
  limit,
  isFirstPage = false,
}: {
  userIds: string[];
  limit?: number;
  isFirstPage?: boolean;
}): Promise<Listed> {
  const values: number[] = [];
  let length = 0;
  for (const userId of userIds) {
    const before = performance.now();
    let next: string | undefined;
    length = 0;
    do {
      const options = limit === undefined ? undefined : { limit, ...(next !== undefined && { after: next }) };
      const found = await page(userId, options);
      length += found.ids.length;
      next = isFirstPage ? undefined : found.next;
    } while (next !== undefined);
    values.push(performance.now() - before);
  }
  return { each: latencies(values), length };
}

async function revokeUser(userId: string): Promise<{ seconds: number; count: number }> {
  const start = performance.now();
  const count = await sessions.revokeAllForUser(userId);
  return { seconds: (performance.now() - start) / 1e3, count };
}

async function removeExpired(): Promise<{ seconds: number; count: number }> {
  const start = performance.now();
  const count = await sessions.removeExpired();
  return { seconds: (performance.now() - start) / 1e3, count };
}

let watching: { readonly stop: () => Promise<[string, number][]> } | undefined;

/** Uses access tokens again and again, and keeps when each was refused. */
function startWatching(tokens: readonly { id: string; accessToken: string }[]): void {
  const refused: [string, number][] = [];
  let left = [...tokens];
  const end = { isReached: false };
  const loop = (async () => {
    while (!end.isReached) {
      const still: typeof left = [];
      for (const each of left) {
        try {
          await sessions.tokens.verify(each.accessToken);
          still.push(each);
        } catch (error) {
          if ((error as { code?: string }).code !== 'session_over') throw error;
          refused.push([each.id, Date.now()]);
        }
      }
      left = still;
      await delay(5);
    }
  })();
  loop.catch(() => undefined);
  watching = {
    async stop() {
      end.isReached = true;
      await loop;
      return refused;
    },
  };
}

async function stopWatching(): Promise<[string, number][]> {
  return watching!.stop();
}

/**
 * Revokes what this process has made, so many a second, each by a call of its own. If the database does not do as many, it ends
 * after a fifth more of the time all the same, because access tokens expire.
 *
 * @returns when each had been revoked
 */
async function revokeAtRate(rate: number): Promise<{ seconds: number; revoked: [string, number][] }> {
  const all = made;
  made = [];
  const revoked: [string, number][] = [];
  const start = performance.now();
  const end = start + (1.2e3 * all.length) / rate;
  const rest = all.entries();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const [n, own] of rest) {
        const wait = start + (n * 1e3) / rate - performance.now();
        if (wait > 1) await delay(wait);
        if (performance.now() > end) break;
        await revokeOne(own);
        revoked.push([own.id, Date.now()]);
      }
    }),
  );
  return { seconds: (performance.now() - start) / 1e3, revoked };
}

/** Bytes that this process has got from the database since it started. */
function bytesRead(): number {
  return [...sockets].reduce((sum, socket) => sum + socket.bytesRead, 0);
}
