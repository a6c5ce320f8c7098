import { connect as connectHttp2, constants } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { INestApplication } from '@nestjs/common';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { SessionModule, SessionService } from 'nestjs-session-tokens';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SessionRuntime } from '../../lib/module/session.runtime.js';
import { SESSION_RUNTIME } from '../../lib/module/session.constants.js';
import { type AccountApp, accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { databases } from '../support/databases.js';
import type { Browser } from '../support/browser.js';
import { openStream, type Stream } from './stream.js';
import { atWork, LARGE, StreamsController } from './streams.controller.js';

const metadata = { controllers: [StreamsController] };
const options = { revocationInterval: 0.05 } as const;

/** What a handler may do, and whether the body is complete when it has been ended. */
const kinds = [
  { name: 'Nest’s events', path: 'sse', isComplete: true },
  { name: 'events of a route for visitors', path: 'optional', isComplete: true },
  { name: 'events by writeHead()', path: 'events', isComplete: true },
  { name: 'events by setHeader()', path: 'events-by-header', isComplete: true },
  { name: 'events of a source that is piped', path: 'pipe', isComplete: true },
  { name: 'events of a handler that writes on', path: 'careless', isComplete: true },
  { name: 'a StreamableFile', path: 'file', isComplete: false },
  { name: 'writes', path: 'writes', isComplete: false },
  { name: 'a pipeline', path: 'pipeline', isComplete: false },
  { name: 'a pipeline that compresses', path: 'zipped', isComplete: false },
  { name: 'what another server sends', path: 'proxied', isComplete: false },
];

async function untilTrue(is: () => boolean): Promise<void> {
  for (let tries = 0; !is(); tries++) {
    if (tries > 400) throw new Error('It has not become true.');
    await sleep(10);
  }
}

const openOf = (app: INestApplication) =>
  app.get<SessionRuntime>(SESSION_RUNTIME, { strict: false }).core.connections.size;

/** A client that sends bytes, and reads as many as it likes. */
class RawClient {
  /** How it begins. */
  text = '';
  length = 0;
  error: string | undefined;
  hasEnded = false;
  /** Whether it stops to read with the first bytes. */
  stopsAtOnce = false;
  private readonly socket: Socket;

  constructor(app: AccountApp) {
    this.socket = connect(Number(new URL(app.url).port), '127.0.0.1');
    this.socket.on('data', (bytes) => {
      if (this.stopsAtOnce && this.length === 0) this.socket.pause();
      this.length += bytes.length;
      if (this.text.length < 10_000) this.text += bytes.toString('latin1');
    });
    this.socket.on('error', ({ message }) => (this.error = message));
    this.socket.once('end', () => (this.hasEnded = true));
  }

  send(...requests: readonly string[]): void {
    this.socket.write(requests.join(''));
  }

  /** Reads to the end. */
  async readOn(): Promise<void> {
    const closed = new Promise((resolve) => {
      this.socket.once('close', resolve);
    });
    this.socket.resume();
    await closed;
  }

  close(): void {
    this.socket.destroy();
  }
}

const requestOf = (browser: Browser, path: string, { version = '1.1', method = 'GET' } = {}) =>
  `${method} ${path} HTTP/${version}\r\nhost: localhost\r\norigin: http://localhost\r\nconnection: keep-alive\r\n` +
  `cookie: ${browser.cookieHeader(path)}\r\n\r\n`;

describe.each(adapters)('on %s', (adapter) => {
  const start = accountApps(adapter);
  const streams: { close(): void }[] = [];
  beforeEach(() => atWork.clear());
  afterEach(() => {
    for (const stream of streams.splice(0)) stream.close();
  });
  const raw = (app: AccountApp): RawClient => {
    const client = new RawClient(app);
    streams.push(client);
    return client;
  };
  const setUp = async () => {
    const app = await start(options, { metadata });
    const browser = await app.signIn();
    const [row] = await app.rows();
    return { app, browser, end: () => app.sessions.revoke(row!.id) };
  };

  it.each(kinds)(
    '$name: end when the session ends here, and their source with them',
    async ({ path, isComplete }) => {
      const { app, browser, end } = await setUp();
      const stream: Stream = await openStream(browser, `/streams/${path}`);
      streams.push(stream);
      await stream.more();
      await end();
      expect(await stream.ended).toEqual({ isComplete });
      await untilTrue(() => atWork.size === 0);
      expect(openOf(app.app)).toBe(0);
      // The process goes on.
      expect((await app.signIn({ userId: 'bob' })).cookies.length).toBeGreaterThan(1);
    },
  );

  it('a stream that its client closes is forgotten', async () => {
    const { app, browser } = await setUp();
    const opened = await Promise.all(kinds.map(({ path }) => openStream(browser, `/streams/${path}`)));
    await untilTrue(() => openOf(app.app) === kinds.length);
    for (const stream of opened) stream.close();
    await untilTrue(() => openOf(app.app) === 0);
    await untilTrue(() => atWork.size === 0);
    expect((await browser.get('/me')).status).toBe(200);
  });

  it.each([
    {
      name: 'a body that is delimited by the end of the connection is not taken for complete',
      path: '/streams/quiet',
      reset: true,
    },
    { name: 'events are complete', path: '/streams/events', reset: false },
  ])('over HTTP/1.0, as a proxy speaks it, $name', async ({ path, reset }) => {
    const { app, browser, end } = await setUp();
    const client = raw(app);
    client.send(requestOf(browser, path, { version: '1.0' }));
    await untilTrue(() => client.text.includes('beat'));
    await end();
    await untilTrue(() => client.hasEnded || client.error !== undefined);
    expect(client.error).toEqual(reset ? 'read ECONNRESET' : undefined);
  });

  it.each(['/streams/writes', '/streams/sse'])(
    '%s ends although another request has followed on its connection',
    async (path) => {
      const { app, browser, end } = await setUp();
      const client = raw(app);
      client.send(requestOf(browser, path), requestOf(browser, '/me'));
      await untilTrue(() => client.text.includes('beat'));
      await end();
      await client.readOn();
      expect(openOf(app.app)).toBe(0);
    },
  );

  it('a sign-out is answered although another request has followed on its connection', async () => {
    const { app, browser } = await setUp();
    const client = raw(app);
    client.send(requestOf(browser, '/sign-out', { method: 'POST' }), requestOf(browser, '/visitor'));
    await untilTrue(() => client.text.includes('"userId":'));
    expect(client.text).toMatch(/^HTTP\/1.1 204 /);
    await sleep(150);
    expect([client.error, client.hasEnded]).toEqual([undefined, false]);
  });

  it('a body that is complete, but that the client reads slowly, is not sent to its end', async () => {
    const { app, browser, end } = await setUp();
    const client = raw(app);
    client.stopsAtOnce = true;
    client.send(requestOf(browser, '/streams/large'));
    await untilTrue(() => client.text.length > 0);
    await untilTrue(() => openOf(app.app) === 1);
    await end();
    await untilTrue(() => openOf(app.app) === 0);
    await client.readOn();
    expect(client.length).toBeLessThan(LARGE / 2);
  });

  it('a large answer to a sign-out is sent to its end', async () => {
    const { app, browser } = await setUp();
    const client = raw(app);
    client.stopsAtOnce = true;
    client.send(requestOf(browser, '/streams/farewell'));
    await untilTrue(() => client.text.length > 0);
    await sleep(300);
    await client.readOn();
    expect(client.length).toBeGreaterThan(LARGE);
    expect(client.error).toBeUndefined();
  });

  it('a HEAD request, and short answers, leave nothing open', async () => {
    const { app, browser } = await setUp();
    for (let times = 0; times < 20; times++) expect((await browser.get('/me')).status).toBe(200);
    expect((await browser.request('HEAD', '/me')).status).toBe(200);
    await sleep(150);
    expect(openOf(app.app)).toBe(0);
  });

  it('an application with open streams closes, as it does without the module', async () => {
    const { app, browser } = await setUp();
    const stream = await openStream(browser, '/streams/sse');
    streams.push(stream);
    const closing = app.close();
    await stream.more();
    // Nest waits for the connection. Until then, the session still counts.
    await app.sessions.revokeAllForUser('alice');
    expect(await stream.ended).toEqual({ isComplete: true });
    await closing;
  });
});

describe('on Fastify', () => {
  const cleanups: (() => Promise<unknown>)[] = [];
  beforeEach(() => atWork.clear());
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });

  /** With a client that keeps its token itself. */
  const setUp = async (http2: boolean) => {
    const database = await databases[0]!.create();
    cleanups.push(() => database.remove());
    const testing = await Test.createTestingModule({
      ...metadata,
      imports: [SessionModule.forRoot({ isGlobal: true, database: database.options, ...options })],
    }).compile();
    const adapter = new FastifyAdapter(http2 ? { http2: true } : {});
    const app = testing.createNestApplication<NestFastifyApplication>(adapter, { logger: false });
    await app.listen(0, '127.0.0.1');
    cleanups.push(() => app.close());
    const sessions = app.get(SessionService);
    const { session, accessToken } = await sessions.tokens.issue({ userId: 'alice' });
    const headers = { authorization: `Bearer ${accessToken.token}` };
    return { app, headers, end: () => sessions.revoke(session.id) };
  };

  it.each(kinds.filter(({ path }) => path !== 'proxied'))(
    'over HTTP/2, $name: end when the session ends, and another stream of the connection goes on',
    async ({ path, isComplete }) => {
      const { app, headers, end } = await setUp(true);
      const client = connectHttp2(await app.getUrl());
      cleanups.push(async () => client.destroy());
      const open = async (at: string) => {
        const stream = client.request({ ':path': `/streams/${at}`, ...headers });
        const seen = { text: '', code: undefined as number | undefined };
        stream.setEncoding('latin1').on('data', (text: string) => (seen.text += text));
        stream.on('error', () => undefined);
        stream.once('close', () => (seen.code = stream.rstCode));
        await untilTrue(() => seen.text.length > 0);
        return seen;
      };
      const [ending, stranger] = [await open(path), await open('open')];
      await untilTrue(() => openOf(app) === 1);
      await end();
      await untilTrue(() => ending.code !== undefined);
      expect(ending.code).toBe(isComplete ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL);
      expect(openOf(app)).toBe(0);
      const { length } = stranger.text;
      await untilTrue(() => stranger.text.length > length);
    },
  );

  it('requests that are injected are answered, and leave nothing open', async () => {
    const { app, headers, end } = await setUp(false);
    for (let times = 0; times < 10; times++) {
      const { statusCode } = await app.inject({ url: '/streams/short', headers });
      expect(statusCode).toBe(200);
    }
    await sleep(150);
    expect(openOf(app)).toBe(0);
    const answer = await app.inject({ url: '/streams/file', headers, payloadAsStream: true });
    let error: unknown;
    const body = answer.stream().on('error', (cause) => (error = cause));
    body.resume();
    await untilTrue(() => openOf(app) === 1);
    await end();
    await untilTrue(() => error !== undefined);
    expect(openOf(app)).toBe(0);
  });
});
