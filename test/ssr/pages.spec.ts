import type { SessionEvent, SessionModuleOptions } from 'nestjs-session-tokens';
import type { ForwardedSession, ForwardOptions } from 'nestjs-session-tokens/ssr';
import { afterEach, describe, expect, it } from 'vitest';
import { type AccountApp, accountApps, clearsCookies } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import { type Kind, RenderingServer } from './rendering-server.js';

const KINDS: Kind[] = ['end', 'start', 'never', 'read-only', 'middleware'];

/** The statuses of several calls at once. */
const burst = async (session: ForwardedSession, count = 5): Promise<number[]> =>
  Promise.all(Array.from({ length: count }, async () => (await session.fetch('/me')).status));

/** The reuse window of these tests. Looking again takes a 45th of it. */
const WINDOW = 9;
const SETTLED = '9100ms';

const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

describe.each(adapters)('a page that is rendered with an API on %s', (adapter) => {
  const startApi = accountApps(adapter);
  const servers: RenderingServer[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
  });

  interface Site {
    readonly app: AccountApp;
    readonly server: RenderingServer;
    /** Events that an honest user must not have. */
    readonly troubles: () => SessionEvent[];
    /** How often tokens were exchanged. */
    readonly exchanges: () => number;
    /** Somebody who has signed in through the rendering server. */
    readonly signIn: () => Promise<Browser>;
  }

  async function start(
    kind: Kind,
    options: SessionModuleOptions = {},
    forward: Partial<ForwardOptions> = {},
  ): Promise<Site> {
    const app = await startApi(
      { refreshPath: '/refresh', reuseWindow: WINDOW, ...options },
      { trustProxy: true },
    );
    const events: SessionEvent[] = [];
    app.sessions.events.subscribe((event) => events.push(event));
    const server = await new RenderingServer({ baseUrl: app.url, reuseWindow: WINDOW, ...forward }).listen();
    servers.push(server);
    server.pages['/login'] = async (session) =>
      (
        await session.fetch('/login', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ userId: 'alice' }),
        })
      ).status;
    server.pages['/page'] = async (session) => burst(session);
    server.pages['/order'] = async (session) => (await session.fetch('/orders', { method: 'POST' })).status;
    return {
      app,
      server,
      troubles: () => events.filter(({ type }) => type === 'theft' || type === 'revoked' || type === 'stale'),
      exchanges: () => events.filter(({ type }) => type === 'refreshed').length,
      async signIn() {
        server.kind = 'end';
        const browser = new Browser(server.url);
        expect(await browser.post('/login')).toMatchObject({ body: 200 });
        server.kind = kind;
        return browser;
      },
    };
  }

  describe.each(KINDS)('and hands cookies back in the way "%s"', (kind) => {
    /** Without middleware, who cannot set cookies cannot renew them: another request of the browser does. */
    const served = kind === 'read-only' ? 401 : 200;

    // Not where the browser keeps cookies, however late that is: those of a middleware come with the page, and the client of
    // these tests keeps all cookies at the end of a response.
    const isNeverLate = kind !== 'middleware' && kind !== 'start';
    const pauses = ['3100ms', '9100ms', '5m', ...(isNeverLate ? ['16m'] : [])];

    it('is served at expiry, each time, with one exchange for its parallel calls', async () => {
      const { server, signIn, troubles, exchanges } = await start(kind);
      const browser = await signIn();
      const seen: unknown[] = [];
      for (let load = 0; load < 6; load++) {
        for (const pause of ['16m', SETTLED]) {
          const before = exchanges();
          pass(pause);
          seen.push([(await browser.get('/page')).body, exchanges() - before]);
        }
      }
      const isRenewed = kind !== 'read-only';
      // Where the cookies are lost, the next page renews them again.
      const each = [Number(isRenewed), Number(kind === 'never')].map((count) => [times(5, served), count]);
      expect(seen).toEqual(times(6, each).flat());
      server.kind = 'end';
      expect((await browser.get('/page')).body).toEqual(times(5, 200));
      expect(troubles()).toEqual([]);
    });

    it('is served in two tabs at once, each time', async () => {
      const { server, signIn, troubles } = await start(kind);
      const browser = await signIn();
      for (let load = 0; load < 4; load++) {
        pass('16m');
        const tabs = await Promise.all([browser.get('/page'), browser.get('/page')]);
        expect(tabs.map(({ body }) => body)).toEqual(times(2, times(5, served)));
        pass(SETTLED);
        expect((await browser.get('/page')).body).toEqual(times(5, served));
      }
      server.kind = 'end';
      expect((await browser.get('/page')).body).toEqual(times(5, 200));
      expect(troubles()).toEqual([]);
    });

    it.each(
      pauses.flatMap((pause) => [
        { pause, goesOn: false, loseResponse: false },
        { pause, goesOn: false, loseResponse: true },
        { pause, goesOn: true, loseResponse: false },
        { pause, goesOn: true, loseResponse: true },
      ]),
    )(
      'signs nobody out: rendered for $pause at expiry; another tab goes on: $goesOn; response lost: $loseResponse',
      async ({ pause, goesOn, loseResponse }) => {
        const { app, server, signIn, troubles } = await start(kind);
        const browser = await signIn();
        // It asks the API itself.
        const otherTab = async () => (goesOn ? (await browser.get('/me', { at: app.url })).status : 200);
        let renderings = 0;
        server.pages['/slow'] = async (session) => {
          const first = await burst(session, 3);
          if (renderings++ > 0) return first;
          const before = await otherTab();
          pass(pause);
          expect([before, await otherTab()]).toEqual([200, 200]);
          return [...first, ...(await burst(session, 3))];
        };
        pass('16m');
        await browser.get('/slow', { loseResponse });
        server.kind = 'end';
        for (let load = 0; load < 3; load++) {
          expect((await browser.get('/page')).body).toEqual(times(5, 200));
          pass(SETTLED);
          expect((await browser.get('/page')).body).toEqual(times(5, 200));
          pass('16m');
        }
        expect(troubles().filter(({ type }) => type !== 'stale')).toEqual([]);
      },
    );

    it('catches a thief who has copied the cookies', async () => {
      const { server, signIn, troubles } = await start(kind);
      const browser = await signIn();
      const thief = browser.copy();
      server.kind = kind === 'never' || kind === 'read-only' ? 'end' : kind;
      for (let round = 0; round < 2; round++) {
        pass('16m');
        for (const each of [browser, thief]) await each.get('/page');
        pass(SETTLED);
        for (const each of [browser, thief]) await each.get('/page');
      }
      expect(troubles().filter(({ type }) => type === 'theft')).toHaveLength(1);
    });
  });

  describe('and was requested late', () => {
    it.each<[method: string, path: string, body: unknown]>([
      ['GET', '/page', times(5, 200)],
      ['GET', '/page?a=%2F', times(5, 200)],
      ['POST', '/order', 200],
    ])('has its browser look again, which is served: %s %s', async (method, path, body) => {
      const { signIn, troubles } = await start('end');
      const browser = await signIn();
      const late = { cookie: browser.cookieHeader('/') };
      pass('16m');
      await browser.get('/page');
      pass(SETTLED);
      await browser.get('/page');
      expect((await browser.request(method, path, { headers: late })).body).toEqual(body);
      pass('16m');
      expect((await browser.get('/page')).body).toEqual(times(5, 200));
      const told = troubles();
      expect(told.length).toBeGreaterThan(0);
      expect(told).toMatchObject(told.map(() => ({ type: 'stale', kind: 'superseded' })));
    });

    it('ends the session of a browser that has nothing newer, once it has looked again', async () => {
      const { signIn, troubles } = await start('end');
      const browser = await signIn();
      const thief = browser.copy();
      pass('16m');
      await browser.get('/page');
      pass(SETTLED);
      await browser.get('/page');
      const told = await thief.get('/page', { follows: false });
      expect(told).toMatchObject({ status: 307, body: undefined });
      const answer = await thief.get('/page');
      expect(answer.body).toEqual(times(5, 401));
      expect(clearsCookies(answer)).toBe(true);
      expect(troubles().filter(({ type }) => type === 'theft')).toHaveLength(1);
    });
  });

  describe('and has something changed', () => {
    it.each<[status: number, origin: string, headers: Record<string, string>]>([
      [200, 'its own', { 'sec-fetch-site': 'same-origin' }],
      [200, 'its own', {}],
      [403, 'https://evil.test', { 'sec-fetch-site': 'cross-site' }],
      [403, 'https://evil.test', {}],
    ])('is answered %i for a POST of %s with %j', async (status, origin, headers) => {
      const { server, signIn } = await start('end');
      const browser = await signIn();
      for (const pause of ['0s', '16m']) {
        pass(pause);
        const own = origin === 'its own' ? server.url : origin;
        const answer = await browser.post('/order', undefined, { headers: { ...headers, origin: own } });
        expect(answer).toMatchObject(status === 200 ? { status, body: 200 } : { status });
      }
    });

    it('would be refused by the API if it passed on the headers of its request', async () => {
      const { app, server, signIn } = await start('end');
      const browser = await signIn();
      const { status } = await fetch(`${app.url}/orders`, {
        method: 'POST',
        headers: { cookie: browser.cookieHeader('/'), origin: server.url },
      });
      expect(status).toBe(403);
    });
  });

  it('signs in and out, and has the right device in the list', async () => {
    const { app, server, signIn } = await start('end', {}, { address: '192.0.2.7' });
    const browser = await signIn();
    expect(await app.sessions.findAllForUser('alice')).toMatchObject({
      sessions: [{ userAgent: 'Mozilla/5.0 (test)', ip: '192.0.2.7' }],
    });
    server.pages['/sign-out'] = async (session) =>
      (await session.fetch('/sign-out', { method: 'POST' })).status;
    expect((await browser.post('/sign-out')).body).toBe(204);
    expect(browser.cookies).toEqual([]);
    expect((await browser.get('/page')).body).toEqual(times(5, 401));
  });
});
