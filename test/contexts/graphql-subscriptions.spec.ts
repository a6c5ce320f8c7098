import { setTimeout as delay } from 'node:timers/promises';
import { APP_GUARD } from '@nestjs/core';
import { SESSION_AUTHENTICATOR, SessionGuard } from 'nestjs-session-tokens';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { SessionConnections } from '../../lib/connections/session-connections.js';
import { type AccountApp, accountApps, type AccountAppSettings, moveOn } from '../http/account-app.js';
import type { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import { drivers, graphqlParts, type GraphQLSetUp, News, UserResolver } from './graphql-app.js';
import { type GraphQLSocket, openSocket, type Watched } from './graphql-socket.js';

const FOREIGN = { origin: 'https://evil.example' };

interface World {
  readonly app: AccountApp;
  readonly browser: Browser;
  /** The id of the browser's session. */
  readonly id: string;
}

/** How sessions end. */
const ends: { name: string; code: string; end: (world: World) => Promise<unknown> }[] = [
  { name: 'is revoked', code: 'session_over', end: async ({ app, id }) => app.sessions.revoke(id) },
  {
    name: 'is ended with all of its user',
    code: 'session_over',
    end: async ({ app }) => app.sessions.revokeAllForUser('alice'),
  },
  {
    name: 'is ended with everybody’s',
    code: 'session_over',
    end: async ({ app }) => app.sessions.revokeAll(),
  },
  { name: 'signs out', code: 'session_over', end: async ({ browser }) => browser.post('/sign-out') },
  {
    name: 'is replaced by a sign-in',
    code: 'session_over',
    end: async ({ browser }) => browser.post('/login', { userId: 'bob' }),
  },
  {
    name: 'is stolen',
    code: 'session_over',
    end: async ({ browser }) => {
      const thief = browser.copy();
      await moveOn(browser);
      pass('16m');
      expect(await thief.get('/me')).toMatchObject({ status: 401, body: { code: 'token_theft' } });
    },
  },
  { name: 'expires', code: 'session_over', end: async () => pass('31d') },
  {
    name: 'has a key that is dropped',
    code: 'try_refresh',
    end: async ({ app }) => app.sessions.rotateSigningKeys({ drop: 'current' }),
  },
];

async function accessTokenOf(app: AccountApp, userId: string): Promise<string> {
  return (await app.sessions.tokens.issue({ userId })).accessToken.token;
}

/** Subscribes, and waits until the server has. */
async function subscribe({ news }: { news: News }, socket: GraphQLSocket, field: string): Promise<Watched> {
  const before = news.size;
  const watched = socket.subscribe(field);
  await vi.waitFor(() => expect(news.size).toBe(before + 1));
  return watched;
}

describe.each(drivers)('subscriptions of $name', (driver) => {
  const apps = accountApps(driver.adapter);
  const sockets: GraphQLSocket[] = [];
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.close();
  });
  const start = async (options: object = {}, setUp?: GraphQLSetUp, settings: AccountAppSettings = {}) => {
    const { imports, providers } = graphqlParts(driver, setUp);
    const metadata = { imports, providers: [...providers, ...(settings.metadata?.providers ?? [])] };
    const app = await apps({ revocationInterval: 0.05, ...options }, { ...settings, metadata });
    return { ...app, news: app.app.get(News) };
  };
  const open = async (...args: Parameters<typeof openSocket>) => {
    const socket = openSocket(...args);
    sockets.push(socket);
    await socket.acknowledged;
    return socket;
  };
  describe('take the session', () => {
    it.each<[what: string, params: (token: string) => Record<string, unknown>]>([
      ['authorization', (token) => ({ authorization: `Bearer ${token}` })],
      ['Authorization', (token) => ({ Authorization: `bearer ${token}` })],
      ['headers', (token) => ({ headers: { Authorization: `Bearer ${token}` } })],
      ['token', (token) => ({ token })],
      ['Token', (token) => ({ Token: token })],
    ])('from connection_init: %s', async (_, params) => {
      const app = await start();
      const connectionParams = params(await accessTokenOf(app, 'alice'));
      const socket = await open(app.browser(), { connectionParams });
      const mine = await subscribe(app, socket, 'mine');
      app.news.tell('hello for bob');
      app.news.tell('hello for alice');
      expect(await mine.next()).toBe('hello for alice');
    });

    it.each<[what: string, params: Record<string, unknown>]>([
      ['nothing', {}],
      ['no text', { authorization: 1, token: { a: 1 } }],
      ['no token', { authorization: 'Bearer nonsense' }],
      ['null', { headers: null }],
    ])('from nothing else in connection_init: %s', async (_, connectionParams) => {
      const app = await start();
      const socket = await open(app.browser(), { connectionParams });
      const refused = await socket.subscribe('news').refused;
      expect(refused).toMatchObject([{ extensions: { statusCode: 401 } }]);
      expect(app.news.size).toBe(0);
    });

    it('from the header of the handshake', async () => {
      const app = await start();
      const headers = { authorization: `Bearer ${await accessTokenOf(app, 'alice')}` };
      const mine = await subscribe(app, await open(app.browser(), { headers }), 'mine');
      app.news.tell('hello for alice');
      expect(await mine.next()).toBe('hello for alice');
    });

    it('from the cookies of the handshake, and give it to filters', async () => {
      const app = await start();
      const alice = await subscribe(app, await open(await app.signIn()), 'mine');
      const bob = await subscribe(app, await open(await app.signIn({ userId: 'bob' })), 'mine');
      app.news.tell('hello for bob');
      expect(await bob.next()).toBe('hello for bob');
      app.news.tell('hello for alice');
      expect(await alice.next()).toBe('hello for alice');
    });
  });

  it('apply the rules of each', async () => {
    const app = await start();
    const socket = await open(await app.signIn());
    await subscribe(app, socket, 'news');
    pass('6m');
    expect(await socket.subscribe('freshNews').refused).toMatchObject([
      { extensions: { code: 'insufficient_user_authentication' } },
    ]);
    await subscribe(app, socket, 'visitorNews');
    await subscribe(app, await open(app.browser()), 'visitorNews');
    await subscribe(app, await open(app.browser()), 'publicNews');
  });

  it('are guarded by a guard of the whole application, as are queries and mutations of the connection', async () => {
    const providers = [{ provide: APP_GUARD, useExisting: SessionGuard }];
    const app = await start({}, {}, { metadata: { providers } });
    const stranger = await open(app.browser());
    const expected = [{ extensions: { code: 'no_credentials' } }];
    expect(await stranger.subscribe('publicNews').refused).toMatchObject(expected);
    expect(await stranger.ask('{ items { name } }')).toMatchObject({ errors: expected });
    const alice = await open(await app.signIn());
    await subscribe(app, alice, 'publicNews');
    expect(await alice.ask('mutation { order }')).toEqual({ data: { order: 'alice' } });
    pass('16m');
    expect(await alice.ask('{ me { id } visitor items { owner } }')).toMatchObject({
      data: { me: { id: 'alice' }, visitor: 'alice' },
    });
  });

  describe('of a page of another site', () => {
    it('are refused, whatever has been accepted before', async () => {
      const app = await start();
      const socket = await open(await app.signIn(), { headers: FOREIGN });
      expect(await socket.subscribe('news').refused).toMatchObject([{ extensions: { code: 'csrf_failed' } }]);
      await subscribe(app, socket, 'anySite');
      expect(await socket.subscribe('news').refused).toMatchObject([{ extensions: { code: 'csrf_failed' } }]);
      expect(app.news.size).toBe(1);
    });

    it.each<[params: Record<string, unknown>]>([
      [{ 'sec-fetch-site': 'same-origin' }],
      [{ 'x-forwarded-host': 'evil.example' }],
      [{ headers: { 'sec-fetch-site': 'same-origin', 'x-forwarded-host': 'evil.example' } }],
      [{ host: 'evil.example', origin: 'null' }],
    ])('are not believed: %o', async (connectionParams) => {
      const app = await start({}, {}, { trustProxy: true });
      const socket = await open(await app.signIn(), { headers: FOREIGN, connectionParams });
      expect(await socket.subscribe('news').refused).toMatchObject([{ extensions: { code: 'csrf_failed' } }]);
    });
  });

  describe('that need a session at the connection', () => {
    const atConnect = { atConnect: true };

    it.each<[what: string, expected: object, connect: (app: AccountApp) => Promise<GraphQLSocket>]>([
      ['nobody', { code: 4401, reason: 'no_credentials' }, async (app) => openSocket(app.browser())],
      [
        'a token that is none',
        { code: 4401, reason: 'try_refresh' },
        async (app) => openSocket(app.browser(), { connectionParams: { token: 'nonsense' } }),
      ],
      [
        'a session that is over',
        { code: 4401, reason: 'session_over' },
        async (app) => {
          const browser = await app.signIn();
          await app.sessions.revokeAllForUser('alice');
          return openSocket(browser);
        },
      ],
      [
        'another site',
        { code: 4403, reason: 'csrf_failed' },
        async (app) => openSocket(await app.signIn(), { headers: FOREIGN }),
      ],
    ])('are closed: %s', async (_, expected, connect) => {
      const app = await start({}, atConnect);
      const socket = await connect(app);
      sockets.push(socket);
      expect(await socket.closed).toMatchObject(expected);
      await expect(socket.acknowledged).rejects.toThrow(/^44/);
    });

    it('are accepted by cookies and by connection_init, and go on when the access token has expired', async () => {
      const app = await start({}, atConnect);
      const connectionParams = { token: await accessTokenOf(app, 'alice') };
      const both = [await open(await app.signIn()), await open(app.browser(), { connectionParams })];
      // It is verified when it connects, not when it first asks.
      pass('16m');
      for (const socket of both) {
        const mine = await subscribe(app, socket, 'mine');
        app.news.tell('hello for alice');
        expect(await mine.next()).toBe('hello for alice');
      }
    });

    it('end with the session before they have asked for anything', async () => {
      const app = await start({}, atConnect);
      const socket = await open(await app.signIn());
      await app.sessions.revokeAllForUser('alice');
      expect(await socket.closed).toMatchObject({ code: 4401, reason: 'session_over' });
    });
  });

  it.each(ends)('end in every process when the session $name', async ({ end, code }) => {
    const app = await start();
    const other = await start({}, {}, { database: app.database });
    const browser = await app.signIn();
    const [row] = await app.rows();
    const here = await open(browser);
    const there = await open(browser, { at: other.url });
    const watched = [await subscribe(app, here, 'news'), await subscribe(other, there, 'news')];
    const bystander = await open(app.browser());
    await subscribe(app, bystander, 'publicNews');
    for (const { news } of [app, other]) news.tell('before');
    await vi.waitFor(() => expect(watched.map(({ values }) => values)).toEqual([['before'], ['before']]));

    await end({ app, browser, id: row!.id });
    pass('1s');
    for (const socket of [here, there]) {
      expect(await socket.closed).toMatchObject({ code: 4401, reason: code });
    }
    // The iterators of the resolvers have ended, so nobody tells them anything any more.
    await vi.waitFor(() => expect([app.news.size, other.news.size]).toEqual([1, 0]));
    for (const { news } of [app, other]) news.tell('after');
    await delay(20);
    expect(watched.map(({ values }) => values)).toEqual([['before'], ['before']]);
    expect(bystander.isOpen).toBe(true);
  });

  it('are forgotten when the client goes', async () => {
    const app = await start();
    const { connections } = app.app.get<{ connections: SessionConnections }>(SESSION_AUTHENTICATOR);
    const [first, second] = [await open(await app.signIn()), await open(await app.signIn())];
    // However many operations a connection has, it is registered once.
    for (const field of ['news', 'freshNews', 'visitorNews']) await subscribe(app, first, field);
    await subscribe(app, second, 'news');
    expect(connections.size).toBe(2);
    first.close();
    await vi.waitFor(() => expect([connections.size, app.news.size]).toEqual([1, 1]));
    second.close();
    await vi.waitFor(() => expect([connections.size, app.news.size]).toEqual([0, 0]));
  });

  it('end for a client that does not listen', async () => {
    const app = await start();
    const socket = await open(await app.signIn());
    await subscribe(app, socket, 'news');
    socket.stopReading();
    await app.sessions.rotateSigningKeys({ drop: 'current' });
    await delay(200);
    // It is not heard any more, either.
    void socket.ask('mutation { order }');
    await vi.waitFor(() => expect(app.news.size).toBe(0), 5_000);
    expect(app.app.get(UserResolver).orders).toBe(0);
  });

  it('go on when the access token has expired, and end with the session', async () => {
    const app = await start();
    const browser = await app.signIn();
    const socket = await open(browser);
    const news = await subscribe(app, socket, 'news');
    for (let days = 0; days < 5; days++) {
      pass('3d');
      expect((await browser.get('/me')).status).toBe(200);
      app.news.tell(`day ${days}`);
      expect(await news.next()).toBe(`day ${days}`);
    }
    // Another operation of the same connection.
    await subscribe(app, socket, 'mine');
    await app.sessions.revokeAllForUser('alice');
    expect(await socket.closed).toMatchObject({ code: 4401, reason: 'session_over' });
  });
});

/** The request alone, of HTTP and of WebSockets. */
const ownContext = (from: { req?: object; res?: object; extra?: { request: object } }): object => ({
  req: from.req ?? from.extra?.request,
  res: from.res,
});

describe('a context that the application has made of the handshake', () => {
  const apps = accountApps('express');

  it.each([{ atConnect: false }, { atConnect: true }])('is no way around: %o', async ({ atConnect }) => {
    const metadata = graphqlParts(drivers[0]!, { atConnect, context: ownContext });
    const app = await apps({ revocationInterval: 0.05 }, { metadata });
    const source = { news: app.app.get(News) };
    const connectionParams = atConnect ? { token: await accessTokenOf(app, 'bob') } : {};
    const socket = openSocket(atConnect ? app.browser() : await app.signIn(), { connectionParams });
    await socket.acknowledged;
    await subscribe(source, socket, 'news');
    await app.sessions.revokeAll();
    // Without the socket of the WebSocket server, nobody can tell the client why.
    expect(await socket.closed).toMatchObject(atConnect ? { code: 4401 } : { code: 1006 });
    await vi.waitFor(() => expect(source.news.size).toBe(0));
  });
});
