import type { SessionEvent } from 'nestjs-session-tokens';
import { describe, expect, it, vi } from 'vitest';
import { adapters } from '../support/app.js';
import type { Answer } from '../support/browser.js';
import { databases } from '../support/databases.js';
import {
  ACCESS,
  type AccountApp,
  accessTokenOf,
  accountApps,
  clearsCookies,
  cookieOf,
  REFRESH,
  refusal,
  setCookieNames,
} from './account-app.js';
import { QueryLog } from '../support/query-log.js';
import { pass } from '../support/time.js';

describe.each(adapters)('transparent refresh over %s', (adapter) => {
  const start = accountApps(adapter);

  it('exchanges the refresh token inside the request that met an expired access token', async () => {
    const app = await start();
    const browser = await app.signIn();
    const { id } = (await browser.get('/me')).body as { id: string };
    const before = [cookieOf(browser, 'session_access').value, cookieOf(browser, 'session_refresh').value];
    pass('16m');

    const answer = await browser.get('/me');

    expect(answer).toMatchObject({ status: 200, body: { id, userId: 'alice' } });
    expect(setCookieNames(answer)).toEqual([ACCESS, REFRESH]);
    expect(before).not.toContain(cookieOf(browser, 'session_access').value);
    expect(before).not.toContain(cookieOf(browser, 'session_refresh').value);
    expect(accessTokenOf(browser).exp! * 1_000).toBe(Date.now() + 15 * 60_000);
  });

  it('does so when the access cookie is missing', async () => {
    const app = await start();
    const browser = await app.signIn();
    pass('16m');
    browser.delete('session_access');
    const answer = await browser.get('/me');
    expect(answer).toMatchObject({ status: 200, body: { userId: 'alice' } });
    expect(setCookieNames(answer)).toEqual([ACCESS, REFRESH]);
  });

  it.each([
    { age: '5s', life: 895 },
    { age: '13m', life: 120 },
    { age: '14m', life: 90 },
    { age: '899s', life: 90 },
  ])(
    'leaves a refresh token of $age alone, whose access token lives, and gives one that ends with that',
    async ({ age, life }) => {
      const app = await start();
      const browser = await app.signIn();
      pass(age);
      browser.delete('session_access');
      expect(setCookieNames(await browser.get('/me'))).toEqual([ACCESS]);
      expect(accessTokenOf(browser).exp! * 1_000 - Date.now()).toBe(life * 1_000);
      expect((await browser.get('/me')).status).toBe(200);
    },
  );

  it('comes at another time for each of the clients that signed in together, and is never early', async () => {
    const app = await start({ accessToken: { jitter: 0.25 } });
    const browsers = await Promise.all(Array.from({ length: 12 }, () => app.signIn()));
    const lives = browsers.map((browser) => accessTokenOf(browser).exp! - Date.now() / 1_000);
    expect(new Set(lives).size, 'lives that differ').toBeGreaterThan(3);
    expect(Math.min(...lives)).toBeGreaterThanOrEqual(675);
    expect(Math.max(...lives)).toBeLessThanOrEqual(900);
    for (let round = 0; round < 2; round++) {
      const byExpiry = browsers.toSorted((a, b) => accessTokenOf(a).exp! - accessTokenOf(b).exp!);
      for (const browser of byExpiry) {
        vi.setSystemTime(accessTokenOf(browser).exp! * 1_000 - 1);
        expect(setCookieNames(await browser.get('/me'))).not.toContain(REFRESH);
        pass('1s');
        // The token is kept until its access token expires, and exchanged right after that.
        expect(setCookieNames(await browser.get('/me'))).toEqual([ACCESS, REFRESH]);
      }
    }
  });

  it('lets the request go on with its body', async () => {
    const app = await start();
    const browser = await app.signIn();
    pass('16m');
    expect(await browser.request('PUT', '/data', { body: { cart: [1, 2] } })).toMatchObject({
      status: 200,
      body: { cart: [1, 2] },
    });
  });

  it('replaces a refreshed access token at its first use after the reuse window, and then sets no cookie', async () => {
    const app = await start();
    const browser = await app.signIn();
    pass('16m');
    await browser.get('/me');
    expect(accessTokenOf(browser)).toHaveProperty('gen');
    const { exp } = accessTokenOf(browser);
    for (const pause of ['0s', '1s', '88s']) {
      pass(pause);
      expect(setCookieNames(await browser.get('/me'))).toEqual([]);
    }

    pass('1s');
    expect(setCookieNames(await browser.get('/me'))).toEqual([ACCESS]);
    expect(accessTokenOf(browser)).not.toHaveProperty('gen');
    expect(accessTokenOf(browser).exp).toBe(exp);

    expect(setCookieNames(await browser.get('/me'))).toEqual([]);
  });

  it('keeps one sign-in going for as long as the client comes back', async () => {
    const app = await start();
    const browser = await app.signIn();
    const { id } = (await browser.get('/me')).body as { id: string };
    for (const pause of ['16m', '1s', '14m', '2m', '8h', '16m', '16m', '20d', '25d', '1m']) {
      pass(pause);
      expect(await browser.get('/me'), `after ${pause}`).toMatchObject({ status: 200, body: { id } });
    }
  });

  it('ends when the client stays away for longer than a refresh token lives', async () => {
    const app = await start();
    const browser = await app.signIn();
    browser.keepExpired();
    pass('31d');
    const answer = await browser.get('/me');
    expect(answer).toMatchObject(refusal(401, 'session_over'));
    expect(clearsCookies(answer)).toBe(true);
  });

  it('ends at the absolute end of the session, however often it was refreshed', async () => {
    const app = await start({ refreshToken: { ttl: '30d', absoluteTtl: '40d' } });
    const browser = await app.signIn();
    pass('20d');
    expect((await browser.get('/me')).status).toBe(200);
    browser.keepExpired();
    pass('21d');
    expect(await browser.get('/me')).toMatchObject(refusal(401, 'session_over'));
  });

  it('refuses an access token that was altered, and goes on with the refresh token', async () => {
    const app = await start();
    const browser = await app.signIn();
    const { name, value } = cookieOf(browser, 'session_access');
    const [header, payload, signature] = value.split('.') as [string, string, string];
    const forged = Buffer.from(payload, 'base64url').toString().replace('alice', 'admin');
    const cookie = `${name}=${header}.${Buffer.from(forged).toString('base64url')}.${signature}`;

    const alone = await browser.get('/me', { headers: { cookie } });
    expect(alone).toMatchObject({ status: 401 });

    const refresh = `${REFRESH}=${cookieOf(browser, 'session_refresh').value}`;
    const withRefresh = await browser.get('/me', { headers: { cookie: `${cookie}; ${refresh}` } });
    expect(withRefresh).toMatchObject({ status: 200, body: { userId: 'alice' } });
  });
});

describe.each(adapters)('new claims over %s', (adapter) => {
  const start = accountApps(adapter);

  it('reach the client in the same response', async () => {
    const app = await start();
    const browser = await app.signIn({ userId: 'alice', claims: { role: 'user' } });

    const answer = await browser.request('PUT', '/claims', { body: { role: 'admin' } });

    expect(answer).toMatchObject({ status: 200, body: { role: 'admin' } });
    expect(setCookieNames(answer)).toEqual([ACCESS]);
    expect(accessTokenOf(browser)).toMatchObject({ role: 'admin' });
    const next = await browser.get('/me');
    expect(next).toMatchObject({ body: { claims: { role: 'admin' } }, setCookies: [] });
  });

  it('prolong nothing', async () => {
    const app = await start();
    const browser = await app.signIn();
    const { exp } = accessTokenOf(browser);
    pass('5m');
    await browser.request('PUT', '/claims', { body: { role: 'admin' } });
    expect(accessTokenOf(browser).exp).toBe(exp);
  });

  it('are in the one access cookie of a response that refreshed as well', async () => {
    const app = await start();
    const browser = await app.signIn();
    pass('16m');

    const answer = await browser.request('PUT', '/claims', { body: { role: 'admin' } });

    expect(answer.status).toBe(200);
    expect(setCookieNames(answer)).toEqual([ACCESS, REFRESH]);
    // The tokens of this response are not proven before the client uses them.
    expect(accessTokenOf(browser)).toMatchObject({
      role: 'admin',
      gen: [1, Date.now(), expect.any(String)],
    });
    for (const pause of ['1s', '1s', '16m', '1s']) {
      pass(pause);
      expect(await browser.get('/me')).toMatchObject({ status: 200, body: { claims: { role: 'admin' } } });
    }
  });

  it('are in the one access cookie of a response that replaces an unproven token', async () => {
    const app = await start();
    const browser = await app.signIn();
    pass('16m');
    await browser.get('/me');
    pass('90s');

    const answer = await browser.request('PUT', '/claims', { body: { role: 'admin' } });

    expect(setCookieNames(answer)).toEqual([ACCESS]);
    expect(accessTokenOf(browser)).toMatchObject({ role: 'admin' });
    expect(accessTokenOf(browser)).not.toHaveProperty('gen');
  });

  it('of any JSON come back as they were', async () => {
    const app = await start();
    for (const claims of [null, 'text', 7, true, [1, { a: null }], { nested: { deep: ['ü', '😀'] } }]) {
      const browser = await app.signIn({ userId: 'alice', claims });
      expect(await browser.get('/me')).toMatchObject({ body: { claims } });
      pass('16m');
      expect(await browser.get('/me')).toMatchObject({ body: { claims } });
    }
  });
});

describe.each(adapters)('endpoint mode over %s', (adapter) => {
  const start = accountApps(adapter);
  const REFRESH_COOKIE = '__Secure-session_refresh';

  describe.each([
    { prefix: '', route: '/auth/refresh' },
    { prefix: '/api', route: '/api/auth/refresh' },
    { prefix: '/api/v2', route: '/api/v2/auth/refresh' },
  ])('with global prefix "$prefix"', ({ prefix, route }) => {
    const startWithPrefix = () =>
      start(
        { refresh: 'endpoint', refreshPath: 'auth/refresh' },
        { configure: (app) => void (prefix && app.setGlobalPrefix(prefix)) },
      );

    async function signIn(app: AccountApp) {
      const browser = app.browser();
      expect((await browser.post(`${prefix}/login`, { userId: 'alice' })).status).toBe(200);
      return browser;
    }

    it('sends the refresh cookie to the refresh route only', async () => {
      const browser = await signIn(await startWithPrefix());
      expect(cookieOf(browser, 'session_refresh')).toMatchObject({ name: REFRESH_COOKIE, path: route });
      expect(browser.cookieHeader(`${prefix}/me`)).not.toContain('refresh');
      expect(browser.cookieHeader(route)).toContain(REFRESH_COOKIE);
    });

    it('asks for a refresh when the access token has expired, and takes the new one', async () => {
      const browser = await signIn(await startWithPrefix());
      expect((await browser.get(`${prefix}/me`)).status).toBe(200);
      const before = browser.cookies.map(({ value }) => value);
      pass('16m');

      const expired = await browser.get(`${prefix}/me`);
      expect(expired).toMatchObject(refusal(401, 'try_refresh'));
      expect(expired.setCookies).toEqual([]);

      const refreshed = await browser.post(route);
      expect(refreshed).toMatchObject({ status: 204, body: undefined });
      expect(setCookieNames(refreshed)).toEqual([ACCESS, REFRESH_COOKIE]);
      expect(cookieOf(browser, 'session_refresh').path).toBe(route);
      for (const { value } of browser.cookies) expect(before).not.toContain(value);

      expect(await browser.get(`${prefix}/me`)).toMatchObject({ status: 200, body: { userId: 'alice' } });
    });

    it('answers a refresh without cookie that nobody is signed in', async () => {
      const app = await startWithPrefix();
      const answer = await app.browser().post(route);
      expect(answer).toMatchObject(refusal(401, 'no_credentials'));
      expect(answer.setCookies).toEqual([]);
    });

    it('takes the refresh cookie from the path where it was set at sign-out', async () => {
      const browser = await signIn(await startWithPrefix());
      const answer = await browser.post(`${prefix}/logout`);
      expect(answer.status).toBe(204);
      expect(answer.setCookies).toMatchObject([
        { name: ACCESS, value: '', path: '/' },
        { name: REFRESH_COOKIE, value: '', path: route },
        { name: '__Secure-session_look_again', value: '', path: route },
      ]);
      expect(browser.cookies).toEqual([]);
    });
  });

  it('goes on when the client refreshes several times at once and loses a response', async () => {
    const app = await start({ refresh: 'endpoint', refreshPath: '/auth/refresh' });
    const browser = await app.signIn();
    for (let round = 0; round < 3; round++) {
      pass('16m');
      expect((await browser.post('/auth/refresh', undefined, { loseResponse: true })).status).toBe(204);
      const answers = await Promise.all(Array.from({ length: 5 }, () => browser.post('/auth/refresh')));
      expect(answers.map(({ status }) => status)).toEqual([204, 204, 204, 204, 204]);
      expect((await browser.get('/me')).status).toBe(200);
    }
  });

  it('refreshes ahead of time, too', async () => {
    const app = await start({ refresh: 'endpoint', refreshPath: '/auth/refresh' });
    const browser = await app.signIn();
    for (const pause of ['0s', '3s', '8s', '1m', '1s']) {
      pass(pause);
      expect((await browser.post('/auth/refresh')).status).toBe(204);
    }
    expect((await browser.get('/me')).status).toBe(200);
  });

  it('has the refresh route at its place when the application versions its routes', async () => {
    const app = await start(
      { refresh: 'endpoint', refreshPath: '/auth/refresh' },
      // VersioningType.URI, with which an unversioned controller gets the default version
      { configure: (nest) => void nest.enableVersioning({ type: 0, defaultVersion: '1' }) },
    );
    const browser = app.browser();
    expect((await browser.post('/v1/login', { userId: 'alice' })).status).toBe(200);
    pass('16m');
    expect((await browser.post(cookieOf(browser, 'session_refresh').path)).status).toBe(204);
  });

  it('has the refresh route at its place when the application excludes it from the global prefix', async () => {
    const app = await start(
      { refresh: 'endpoint', refreshPath: '/auth/refresh' },
      { configure: (nest) => void nest.setGlobalPrefix('api', { exclude: ['auth/refresh'] }) },
    );
    const browser = app.browser();
    expect((await browser.post('/api/login', { userId: 'alice' })).status).toBe(200);
    pass('16m');
    expect((await browser.post(cookieOf(browser, 'session_refresh').path)).status).toBe(204);
  });
});

function watchThefts(...apps: AccountApp[]): SessionEvent[] {
  const thefts: SessionEvent[] = [];
  for (const { sessions } of apps) {
    sessions.events.subscribe((event) => void (event.type === 'theft' && thefts.push(event)));
  }
  return thefts;
}

describe.each(databases)('on $name', (kind) => {
  describe.each(adapters)('over %s', (adapter) => {
    const start = accountApps(adapter, kind);

    it('answers 20 parallel requests after expiry in two processes, and every request after them', async () => {
      const first = await start();
      const second = await start({}, { database: first.database });
      const thefts = watchThefts(first, second);
      const browser = await first.signIn();
      for (let round = 0; round < 3; round++) {
        pass('16m');
        const answers = await Promise.all(
          Array.from({ length: 20 }, (_, index) =>
            browser.get('/me', { at: index % 2 ? first.url : second.url }),
          ),
        );
        expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200));
        expect((await browser.get('/me', { at: second.url })).status).toBe(200);
        expect((await browser.get('/me')).status).toBe(200);
      }
      expect(thefts).toEqual([]);
    });

    it('goes on with whichever of the parallel responses arrives last', async () => {
      const app = await start();
      const thefts = watchThefts(app);
      for (let last = 0; last < 4; last++) {
        const browser = await app.signIn();
        pass('16m');
        const answers = await Promise.all(
          Array.from({ length: 4 }, () => browser.get('/me', { loseResponse: true })),
        );
        answers[last]!.setCookies.forEach((cookie) => browser.set(cookie));
        for (const pause of ['1s', '1s', '16m', '1s']) {
          pass(pause);
          expect(await browser.get('/me'), `last ${last}, after ${pause}`).toMatchObject({ status: 200 });
        }
      }
      expect(thefts).toEqual([]);
    });

    it('survives lost responses, of refreshes and of first uses', async () => {
      const app = await start();
      const thefts = watchThefts(app);
      const browser = await app.signIn();
      for (let round = 0; round < 3; round++) {
        for (const pause of ['16m', '0s', '3s', '1m', '2h']) {
          pass(pause);
          expect((await browser.get('/me', { loseResponse: true })).status).toBe(200);
        }
        expect((await browser.get('/me')).status).toBe(200);
        expect((await browser.get('/me', { loseResponse: true })).status).toBe(200);
        pass('1m');
        expect((await browser.get('/me', { loseResponse: true })).status).toBe(200);
        expect((await browser.get('/me')).status).toBe(200);
      }
      expect(thefts).toEqual([]);
    });

    it.each([
      { revocation: 'none' as const, often: 'never', queries: 0 },
      { revocation: 'feed' as const, often: 'twice per interval', queries: 2 },
      { revocation: 'database' as const, often: 'once per request', queries: 100 },
    ])(
      'asks the database $often about proven tokens when revocation is $revocation, and about keys once per interval',
      async ({ revocation, queries }) => {
        const database = await kind.create();
        const log = new QueryLog();
        const app = await start({ revocation, database: { ...database.options, logger: log } }, { database });
        const browser = await app.signIn();
        pass('1m');
        const hundred = async () => {
          const answers: Answer[] = [];
          for (let burst = 0; burst < 10; burst++) {
            answers.push(...(await Promise.all(Array.from({ length: 10 }, () => browser.get('/me')))));
          }
          expect(answers).toMatchObject(Array.from({ length: 100 }, () => ({ status: 200, setCookies: [] })));
        };
        expect(log.take(), 'the log sees what sign-in does').not.toEqual([]);

        for (let interval = 0; interval < 2; interval++) {
          await hundred();
          const asked = log.take();
          expect(asked.filter((sql) => sql.includes('user_session_key'))).toHaveLength(1);
          expect(asked).toHaveLength(queries + 1);
          pass('1s');
        }

        await app.close();
        await database.remove();
      },
    );
  });
});
