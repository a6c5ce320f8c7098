import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SessionModuleOptions } from 'nestjs-session-tokens';
import { io } from 'socket.io-client';
import type { DataSourceOptions } from 'typeorm';
import { WebSocket } from 'ws';
import { Browser } from '../support/browser.js';
import { timeOfSessionId } from '../../lib/protocol/session-id.js';
import { seededRandom } from '../support/random.js';
import type { ServerCommands } from './server.js';
import { openStream } from './stream.js';

const SECOND = 1_000;

/** How often processes look for revocations. */
const INTERVAL = 0.5 * SECOND;

/** Short, so that connections outlive their access tokens several times. */
const TTL = 5 * SECOND;
const WINDOW = 2.5 * SECOND;

/** How long the sessions live that are to expire. */
const SHORT_LIFE = 8 * SECOND;

/** How often an honest client comes by. */
const VISIT = 3 * SECOND;

/**
 * What a connection may need to end besides the interval and what the processes pause: a read, and the way of the end to the
 * client.
 */
const ALLOWANCE = 250;

const options: SessionModuleOptions = {
  secret: 'a secret of the crowd, which is long enough',
  revocationInterval: INTERVAL / SECOND,
  accessToken: { ttl: TTL / SECOND, jitter: 0 },
  reuseWindow: WINDOW / SECOND,
};

/** A process of the server. */
class ServerProcess {
  express = '';
  fastify = '';
  private requests = 0;

  private constructor(private readonly child: ChildProcess) {
    child.setMaxListeners(1_000);
  }

  static async spawn(database: DataSourceOptions): Promise<ServerProcess> {
    const child = fork(new URL('../processes/child.mjs', import.meta.url), ['../connections/server.ts']);
    const died = once(child, 'exit').then(() => {
      throw new Error('A server has ended.');
    });
    died.catch(() => undefined);
    await Promise.race([once(child, 'message'), died]);
    const server = new ServerProcess(child);
    return Object.assign(server, await server.call('start', database, options));
  }

  async call<C extends keyof ServerCommands>(
    command: C,
    ...parameters: Parameters<ServerCommands[C]>
  ): Promise<Awaited<ReturnType<ServerCommands[C]>>> {
    const id = ++this.requests;
    const answered = new Promise<{ result?: unknown; error?: { message: string } }>((resolve) => {
      const listen = (message: { id: number; result?: unknown; error?: { message: string } }) => {
        if (message.id !== id) return;
        this.child.off('message', listen);
        resolve(message);
      };
      this.child.on('message', listen);
    });
    this.child.send({ id, command, parameters });
    const { result, error } = await answered;
    if (error) throw new Error(error.message);
    return result as Awaited<ReturnType<ServerCommands[C]>>;
  }

  async end(): Promise<void> {
    const exited = once(this.child, 'exit');
    this.child.kill();
    await exited;
  }
}

/** A connection as its client sees it. */
interface Connection {
  readonly kind: string;
  readonly session: Member;
  lastByteAt: number;
  closedAt: number | undefined;
  close(): void;
}

/** Opens a connection, and resolves when something has come, or when it has been refused. */
type Open = (session: Member, server: ServerProcess) => Promise<Connection>;

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}

/** Notes what comes and when it ends. */
function track(kind: string, session: Member, close: () => void) {
  const { promise: settled, resolve: settle } = withResolvers();
  const connection: Connection = { kind, session, lastByteAt: 0, closedAt: undefined, close };
  return {
    connection,
    byte: () => {
      connection.lastByteAt = Date.now();
      settle();
    },
    closed: () => {
      connection.closedAt ??= Date.now();
      settle();
    },
    opened: async () => settled.then(() => connection),
  };
}

const overHttp =
  (kind: string, path: string, adapter: 'express' | 'fastify'): Open =>
  async (session, server) => {
    const stream = await openStream(session.browser, path, { at: server[adapter] });
    const connection: Connection = {
      kind,
      session,
      get lastByteAt() {
        return stream.lastByteAt;
      },
      closedAt: undefined,
      close: () => stream.close(),
    };
    void stream.ended.then(() => (connection.closedAt = Date.now()));
    return connection;
  };

/** The kinds of connections. The next kind is one line. */
const KINDS: Readonly<Record<string, Open>> = {
  ws: async (session, server) => {
    const headers = { cookie: session.browser.cookieHeader('/') };
    const socket = new WebSocket(server.fastify.replace('http', 'ws'), { headers });
    const { connection, byte, closed, opened } = track('ws', session, () => socket.terminate());
    socket.on('open', () => socket.send(JSON.stringify({ event: 'begin' })));
    // A message that is refused is answered, too.
    socket.on('message', (data: Buffer) => (data.toString() === 'beat' ? byte() : socket.terminate()));
    socket.on('close', closed).on('error', closed);
    await opened();
    return connection;
  },
  'socket.io': async (session, server) => {
    const extraHeaders = { cookie: session.browser.cookieHeader('/') };
    const settings = { transports: ['websocket'], extraHeaders, reconnection: false, forceNew: true };
    const socket = io(server.express, settings);
    const { connection, byte, closed, opened } = track('socket.io', session, () => socket.disconnect());
    socket.on('connect', () => socket.emit('begin'));
    socket.on('message', byte);
    // A message that is refused.
    socket.on('exception', () => socket.disconnect());
    socket.on('disconnect', closed).on('connect_error', closed);
    await opened();
    return connection;
  },
  'graphql-ws': async (session, server) => {
    const headers = { cookie: session.browser.cookieHeader('/') };
    const address = `${server.express.replace('http', 'ws')}/graphql`;
    const socket = new WebSocket(address, 'graphql-transport-ws', { headers });
    const { connection, byte, closed, opened } = track('graphql-ws', session, () => socket.terminate());
    const send = (message: object) => socket.send(JSON.stringify(message));
    socket.on('open', () => send({ type: 'connection_init' }));
    socket.on('message', (data: Buffer) => {
      const { type, payload } = JSON.parse(data.toString()) as {
        type: string;
        payload?: { errors?: unknown };
      };
      if (type === 'connection_ack') {
        send({ id: '1', type: 'subscribe', payload: { query: 'subscription { beats }' } });
      } else if (type === 'next') {
        // An operation that is refused, on a connection that is nobody's.
        if (payload?.errors === undefined) byte();
        else socket.terminate();
      }
    });
    socket.on('close', closed).on('error', closed);
    await opened();
    return connection;
  },
  'SSE, Express': overHttp('SSE, Express', '/open/events', 'express'),
  'SSE, Fastify': overHttp('SSE, Fastify', '/open/events', 'fastify'),
  'body, Express': overHttp('body, Express', '/open/body', 'express'),
  'body, Fastify': overHttp('body, Fastify', '/open/body', 'fastify'),
  download: overHttp('download', '/open/download', 'fastify'),
};

/** A session, and what becomes of it. */
interface Member {
  readonly browser: Browser;
  readonly userId: string;
  readonly id: string;
  /** When it was over at the latest, in epoch milliseconds. */
  endedAt: number | undefined;
  fate: string;
  /** When it expires, where nobody visits it. */
  expiresAt?: number | undefined;
}

interface World {
  readonly servers: readonly ServerProcess[];
  readonly pick: <T>(from: readonly T[]) => T;
}

/** What may become of a session. Each gives the time at which it was over. */
const FATES: Readonly<Record<string, (member: Member, world: World) => Promise<number | undefined>>> = {
  lives: async () => undefined,
  'is revoked': async ({ id }, { servers, pick }) => pick(servers).call('revoke', id),
  'is revoked with all of its user': async ({ userId }, { servers, pick }) =>
    pick(servers).call('revokeAllForUser', userId),
  'signs out': async ({ browser }, { servers, pick }) => {
    await browser.post('/sign-out', undefined, { at: pick(servers).fastify });
    return Date.now();
  },
  'signs in again': async ({ browser, userId }, { servers, pick }) => {
    await browser.post('/login', { userId }, { at: pick(servers).express });
    return Date.now();
  },
  'is stolen': async ({ browser }, { servers, pick }) => {
    const thief = browser.copy();
    // Who steals cookies does not throw them away.
    thief.keepExpired();
    const visit = async (who: Browser) => who.get('/me', { at: pick(servers).express });
    const refreshToken = () => browser.cookie('session_refresh')?.value;
    const before = refreshToken();
    await sleep(TTL + 100);
    // A response that a busy machine sends late leaves without tokens.
    for (let times = 0; refreshToken() === before && times < 100; times++) await visit(browser);
    await sleep(WINDOW + 100);
    await visit(browser);
    const { status, body } = await visit(thief);
    if (status !== 401 || (body as { code: string }).code !== 'token_theft')
      throw new Error(`A theft was not noticed: ${status} ${JSON.stringify(body)}`);
    return Date.now();
  },
  // It is not visited, so its end is known from the start.
  expires: async ({ expiresAt }) => {
    await sleep(Math.max(0, expiresAt! - Date.now()));
    return expiresAt;
  },
};

export interface CrowdSettings {
  readonly database: DataSourceOptions;
  /** How many sessions; each has `each` connections of every kind. */
  readonly sessions: number;
  readonly each: number;
  /** Over how long their fates are spread, in milliseconds. */
  readonly duration: number;
  readonly seed: number;
}

/** What was seen of one kind of connection. All times in milliseconds, after the end of the session. */
export interface CrowdRow {
  readonly kind: string;
  readonly opened: number;
  readonly ended: number;
  /** Until the last byte. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** Until the client knew of the end. */
  readonly closed: number;
}

export interface CrowdReport {
  readonly rows: readonly CrowdRow[];
  readonly fates: Readonly<Record<string, number>>;
  /** Connections that were opened while their session was being ended, and those of them that got something. */
  readonly racing: { readonly tried: number; readonly accepted: number };
  /** Connections whose session lived, and that were closed all the same. */
  readonly falseEnds: readonly string[];
  /** Connections that got something, or were open, later than they may. */
  readonly late: readonly string[];
  /** How late that is: interval, allowance, and the longest pauses of the three processes. */
  readonly limit: number;
  readonly pause: number;
  /** How many connections are registered when all have ended. */
  readonly leftOver: number;
}

/**
 * Two processes, and many connections of all kinds whose sessions end in all ways: while they are open, and while they are being
 * opened. In the end everybody who has signed in before a time is signed out, and the signing key of the rest is
 * dropped.
 */
export async function watchCrowd(settings: CrowdSettings): Promise<CrowdReport> {
  const random = seededRandom(settings.seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const servers = await Promise.all([0, 1].map(() => ServerProcess.spawn(settings.database)));
  const world: World = { servers, pick };
  const connections: Connection[] = [];
  const own = monitorEventLoopDelay({ resolution: 10 });
  let isOver = false;
  try {
    const openAll = async (member: Member, times: number) => {
      const opening = Object.values(KINDS).flatMap((open) =>
        Array.from({ length: times }, async () => open(member, pick(servers))),
      );
      return Promise.all(opening);
    };
    const members: Member[] = [];
    const visiting: Promise<void>[] = [];
    const names = Object.keys(FATES);
    // Each fate as often as the others; one in two lives.
    const fateOf = (n: number) => (n % 2 === 0 ? 'lives' : names[((n - 1) / 2) % names.length]!);
    for (let n = 0; n < settings.sessions; n++) {
      const input = { userId: `user ${n}`, ...(fateOf(n) === 'expires' && { ttl: SHORT_LIFE / SECOND }) };
      const member = await signIn(input, pick(servers));
      // At once: a WebSocket cannot refresh.
      connections.push(...(await openAll(member, settings.each)));
      members.push(member);
      member.fate = fateOf(n);
      if (member.fate === 'expires') member.expiresAt = await pick(servers).call('expiryOf', member.id);
      else visiting.push(visitOften(member, world, n, () => isOver));
    }
    const refused = connections.filter(({ lastByteAt }) => lastByteAt === 0);
    if (refused.length > 0) throw new Error(`${refused.length} connections were refused at the start.`);

    own.enable();
    await Promise.all(servers.map((server) => server.call('longestPause')));
    const fates: Record<string, number> = {};
    const racing = { tried: 0, accepted: 0 };
    const told = await Promise.allSettled(
      members.map(async (member) => {
        const name = member.fate;
        fates[name] = (fates[name] ?? 0) + 1;
        await sleep(random() * settings.duration);
        const ending = FATES[name]!(member, world);
        if (['is revoked', 'is revoked with all of its user'].includes(name)) {
          const raced = await openAll(member, 1);
          racing.tried += raced.length;
          const accepted = raced.filter(({ lastByteAt }) => lastByteAt > 0);
          racing.accepted += accepted.length;
          connections.push(...accepted);
        }
        member.endedAt = await ending;
      }),
    );
    const failed = told.find((each) => each.status === 'rejected');
    if (failed) throw failed.reason;
    await sleep(INTERVAL + 4 * ALLOWANCE);
    const falseEnds: string[] = [];
    const noteFalseEnds = () => {
      const closed = connections.filter(
        ({ session, closedAt }) => session.endedAt === undefined && closedAt !== undefined,
      );
      falseEnds.push(...closed.map(({ kind, session }) => `${kind}: ${session.fate}`));
    };
    noteFalseEnds();
    const living = members.filter(({ endedAt }) => endedAt === undefined);
    const before = timeOfSessionId(living[Math.floor(living.length / 2)]!.id);
    const earlier = living.filter(({ id }) => timeOfSessionId(id) < before);
    const revokedAt = await pick(servers).call('revokeAllBefore', before);
    for (const member of earlier) member.endedAt = revokedAt;
    fates['is revoked with everybody’s of before'] = earlier.length;
    await sleep(INTERVAL + 8 * ALLOWANCE);
    noteFalseEnds();
    const droppedAt = await pick(servers).call('dropKey');
    for (const member of members) member.endedAt ??= droppedAt;
    fates['has a key that is dropped'] = living.length - earlier.length;
    await sleep(INTERVAL + 8 * ALLOWANCE);

    const pauses = await Promise.all(servers.map((server) => server.call('longestPause')));
    const pause = Math.round(Math.max(...pauses, own.max / 1e6));
    // A pause of the server, and one of the client, may follow each other.
    const limit = INTERVAL + ALLOWANCE + 2 * pause;
    const late = connections
      .filter(({ session, lastByteAt, closedAt }) => {
        const end = session.endedAt! + limit;
        return lastByteAt > end || closedAt === undefined || closedAt > end;
      })
      .map(
        ({ kind, session, closedAt }) =>
          `${kind}: ${closedAt === undefined ? 'open' : closedAt - session.endedAt!}`,
      );
    const registered = await Promise.all(servers.map((server) => server.call('registered')));
    isOver = true;
    await Promise.all(visiting);
    return {
      rows: Object.keys(KINDS).map((kind) => rowOf(kind, connections)),
      fates,
      racing,
      falseEnds,
      late,
      limit,
      pause,
      leftOver: registered.reduce((sum, count) => sum + count, 0),
    };
  } finally {
    isOver = true;
    own.disable();
    for (const connection of connections) connection.close();
    await Promise.all(servers.map((server) => server.end()));
  }
}

async function signIn(
  input: { readonly userId: string; readonly ttl?: number },
  server: ServerProcess,
): Promise<Member> {
  const { userId } = input;
  const browser = new Browser(server.express);
  const { status, body } = await browser.post('/login', input);
  if (status !== 200) throw new Error(`A sign-in was answered ${status}.`);
  return { browser, userId, id: (body as { id: string }).id, endedAt: undefined, fate: '' };
}

/** An honest client uses its session now and then, at this or at that process. */
async function visitOften(
  member: Member,
  { servers }: World,
  n: number,
  isOver: () => boolean,
): Promise<void> {
  await sleep((n * 97) % VISIT);
  for (let times = n; !isOver() && member.endedAt === undefined; times++) {
    await member.browser.get('/me', { at: servers[times % servers.length]!.express }).catch(() => undefined);
    await sleep(VISIT);
  }
}

function rowOf(kind: string, connections: readonly Connection[]): CrowdRow {
  const ofKind = connections.filter((each) => each.kind === kind);
  const ended = ofKind.filter(({ closedAt }) => closedAt !== undefined);
  const after = (of: (connection: Connection) => number) =>
    ended.map((each) => Math.max(0, of(each) - each.session.endedAt!)).toSorted((a, b) => a - b);
  const bytes = after(({ lastByteAt }) => lastByteAt);
  const at = (share: number) =>
    Math.round(bytes[Math.min(bytes.length - 1, Math.floor(share * bytes.length))] ?? 0);
  return {
    kind,
    opened: ofKind.length,
    ended: ended.length,
    p50: at(0.5),
    p99: at(0.99),
    max: at(1),
    closed: Math.round(after(({ closedAt }) => closedAt!).at(-1) ?? 0),
  };
}
