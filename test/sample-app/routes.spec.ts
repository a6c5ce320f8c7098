import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { adapters } from '../support/app.js';
import { type Answer, Browser } from '../support/browser.js';
import { databases, type TestDatabase } from '../support/databases.js';
import { pass, stopClock } from '../support/time.js';
import { withCheapPasswords } from './cheap-users.js';
import { type Environment, type Sample, startSample } from './sample.js';

vi.mock('../../sample-app/users/demo-users.js', async (original) => {
  const { DEMO_USERS } = await original<typeof import('../../sample-app/users/demo-users.js')>();
  return { DEMO_USERS: withCheapPasswords(DEMO_USERS) };
});

const ALICE = { username: 'alice', password: 'wonderland' };
const BOB = { username: 'bob', password: 'builder' };
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const UNKNOWN = '00000000-0000-7000-8000-000000000000';

// Every behaviour is tested on both adapters and on every database, but not on each pair, because they are independent.
const matrix = databases.flatMap((database) =>
  (database.name === 'sqlite'
    ? adapters
    : ([database.name === 'mysql' ? 'fastify' : 'express'] as const)
  ).map((adapter) => ({ database, adapter })),
);

describe.each(matrix)(
  'the sample application on $adapter and $database.name',
  ({ database: kind, adapter }) => {
    let database: TestDatabase;
    let sample: Sample;
    const more: Sample[] = [];

    beforeAll(async () => {
      database = await kind.create();
      sample = await startSample(database, { HTTP_ADAPTER: adapter });
    });
    afterAll(async () => {
      for (const each of [sample, ...more]) await each.close();
      await database.remove();
    });
    beforeEach(() => {
      stopClock(Date.now());
    });
    afterEach(() => {
      vi.useRealTimers();
    });

    /** Another process of the application with other settings. */
    async function start(env: Environment): Promise<string> {
      const another = await startSample(database, { HTTP_ADAPTER: adapter, ...env });
      more.push(another);
      return another.url;
    }

    async function signIn(user = ALICE, url = sample.url): Promise<Browser> {
      const browser = new Browser(url);
      expect(await browser.post('/login', user)).toMatchObject({ status: 200 });
      return browser;
    }

    it('signs a user in with cookies and says who that is', async () => {
      const browser = new Browser(sample.url);
      const login = await browser.post('/login', ALICE);
      expect(login.status).toBe(200);
      expect(login.body).toEqual({ userId: 'alice', sessionId: expect.stringMatching(UUID) });
      expect(login.setCookies.map(({ name }) => name).toSorted()).toEqual([
        '__Host-Http-session_access',
        '__Host-Http-session_refresh',
        '__Host-session_info',
      ]);

      const me = await browser.get('/me');
      expect(me.status).toBe(200);
      expect(me.body).toEqual({ ...(login.body as object), claims: { name: 'Alice', role: 'admin' } });
    });

    it.each([
      ['a wrong password', { username: 'alice', password: 'wonder' }],
      ['an unknown name', { username: 'mallory', password: 'wonderland' }],
      ['the name of something every object has', { username: 'constructor', password: 'x' }],
      ['empty strings', { username: '', password: '' }],
    ])('answers %s with 401 and the same body', async (_, credentials) => {
      const answer = await new Browser(sample.url).post('/login', credentials);
      expect(answer.status).toBe(401);
      expect(answer.body).toMatchObject({ statusCode: 401, code: 'wrong_credentials' });
      expect(answer.setCookies).toEqual([]);
    });

    it.each([
      ['no body', undefined],
      ['null', null],
      ['a list', [ALICE]],
      ['a string', 'alice'],
      ['no password', { username: 'alice' }],
      ['a number for a password', { username: 'alice', password: 1 }],
      ['an object for a name', { username: { $ne: '' }, password: 'x' }],
    ])('answers a login with %s with 400', async (_, body) => {
      const answer = await new Browser(sample.url).post('/login', body);
      expect(answer.status).toBe(400);
      expect(answer.body).toMatchObject({ statusCode: 400, code: 'invalid_body' });
    });

    it.each([
      ['malformed JSON', 'application/json', '{"username":', 400],
      ['a form', 'application/x-www-form-urlencoded', 'username=alice&password=wonderland', 400],
      ['plain text', 'text/plain', JSON.stringify(ALICE), 400],
      ['an empty body', 'application/json', '', 400],
      ['a body that is too large', 'application/json', JSON.stringify('x'.repeat(200_000)), 413],
    ])('answers a login with %s with a client error', async (_, type, body, status) => {
      const response = await fetch(`${sample.url}/login`, {
        method: 'POST',
        headers: { 'content-type': type },
        body,
      });
      expect(response.status).toBe(status);
      expect(await response.json()).toMatchObject({ statusCode: status });
    });

    it('lets nobody in who is not signed in', async () => {
      const stranger = new Browser(sample.url);
      const answers = [
        await stranger.get('/me'),
        await stranger.get('/sessions'),
        await stranger.request('DELETE', '/sessions'),
        await stranger.request('DELETE', `/sessions/${UNKNOWN}`),
        await stranger.request('PATCH', `/sessions/${UNKNOWN}`, { body: { label: 'x' } }),
        await stranger.get('/data'),
        await stranger.request('PUT', '/data', { body: 1 }),
        await stranger.post('/logout'),
      ];
      for (const { status, body } of answers) {
        expect(status).toBe(401);
        expect(body).toMatchObject({ code: 'no_credentials' });
      }
    });

    it('lists the devices of a user, and of nobody else', async () => {
      const phone = await signIn();
      await signIn(BOB);
      const laptop = new Browser(sample.url);
      await laptop.post('/login', ALICE, { headers: { 'user-agent': 'Laptop/1.0' } });
      const me = (await laptop.get('/me')).body as { sessionId: string };

      const { status, body } = await laptop.get('/sessions');
      expect(status).toBe(200);
      const { sessions, next } = body as { sessions: Record<string, unknown>[]; next: unknown };
      expect(next).toBeNull();
      expect(sessions.find(({ current }) => current)).toEqual({
        id: me.sessionId,
        current: true,
        createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
        lastSeenAt: expect.stringMatching(/Z$/),
        expiresAt: expect.stringMatching(/Z$/),
        remember: true,
        userId: 'alice',
        authenticatedAt: expect.stringMatching(/Z$/),
        amr: [],
        label: null,
        browser: 'Laptop',
        system: null,
        userAgent: 'Laptop/1.0',
        ip: expect.stringContaining('127.0.0.1'),
      });
      expect(sessions.filter(({ current }) => current)).toHaveLength(1);
      const ids = (await listOf(phone)).map(({ id }) => id);
      expect(sessions.map(({ id }) => id)).toEqual(ids);
      expect(new Set(ids).size).toBe(ids.length);
    });

    it('lists them in pages', async () => {
      const browser = await signIn();
      const { sessionId } = (await browser.get('/me')).body as Id;
      const ids = (await listOf(browser)).map(({ id }) => id);
      const older = (await browser.get(`/sessions?after=${sessionId}`)).body as { sessions: Device[] };
      expect(older.sessions.map(({ id }) => id)).toEqual(ids.slice(ids.indexOf(sessionId) + 1));
      const answer = await browser.get('/sessions?after=nonsense');
      expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
    });

    it('gives a device a name, from itself and from another', async () => {
      const [laptop, phone] = [await signIn(), await signIn()];
      const { sessionId: id } = (await phone.get('/me')).body as Id;
      for (const [browser, label] of [
        [laptop, 'Alice’s phone'],
        [phone, '電話'],
        [laptop, null],
      ] as const) {
        const answer = await browser.request('PATCH', `/sessions/${id}`, { body: { label } });
        expect(answer).toMatchObject({ status: 204, body: undefined });
        expect((await listOf(laptop)).find((each) => each.id === id)).toMatchObject({ label });
      }
    });

    it.each([[null], [{}], [{ label: '' }], [{ label: 'a\nb' }], [{ label: 1 }], ['name'], [[]]])(
      'answers 400 for the name in %j',
      async (body) => {
        const browser = await signIn();
        const { sessionId } = (await browser.get('/me')).body as Id;
        const answer = await browser.request('PATCH', `/sessions/${sessionId}`, { body });
        expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
      },
    );

    it('signs out one device from another, at once', async () => {
      const [laptop, phone] = [await signIn(), await signIn()];
      const { sessionId } = (await phone.get('/me')).body as { sessionId: string };
      const answer = await laptop.request('DELETE', `/sessions/${sessionId}`);
      expect(answer).toMatchObject({ status: 204, body: undefined });
      expect(await phone.get('/me')).toMatchObject({ status: 401, body: { code: 'session_over' } });
      expect(await laptop.get('/me')).toMatchObject({ status: 200 });
      expect(await laptop.request('DELETE', `/sessions/${sessionId}`)).toMatchObject({ status: 404 });
    });

    it('signs out its own device with the cookies', async () => {
      const browser = await signIn();
      const { sessionId } = (await browser.get('/me')).body as { sessionId: string };
      expect(await browser.request('DELETE', `/sessions/${sessionId}`)).toMatchObject({ status: 204 });
      expect(browser.cookies).toEqual([]);
    });

    it.each([
      ['an unknown id', () => UNKNOWN],
      ['what is no id', () => 'nonsense'],
      ['a very long id', () => 'x'.repeat(90)],
      ['an id with characters that databases refuse', () => '%00'],
      ['another user’s id', async () => ((await (await signIn(BOB)).get('/me')).body as Id).sessionId],
    ])('answers 404 for %s', async (_, id) => {
      const browser = await signIn();
      const path = `/sessions/${await id()}`;
      for (const answer of [
        await browser.request('DELETE', path),
        await browser.request('PATCH', path, { body: { label: 'mine' } }),
      ]) {
        expect(answer).toMatchObject({ status: 404, body: { statusCode: 404, code: 'session_not_found' } });
      }
    });

    it('signs out all other devices', async () => {
      const bob = await signIn(BOB);
      const [first, second, third] = [await signIn(BOB), await signIn(BOB), await signIn()];
      const before = (await listOf(bob)).length;
      expect(await bob.request('DELETE', '/sessions')).toMatchObject({
        status: 200,
        body: { revoked: before - 1 },
      });
      expect(before).toBeGreaterThanOrEqual(3);
      expect(await first.get('/me')).toMatchObject({ status: 401 });
      expect(await second.get('/me')).toMatchObject({ status: 401 });
      expect(await third.get('/me')).toMatchObject({ status: 200 });
      expect(await listOf(bob)).toHaveLength(1);
      expect((await bob.request('DELETE', '/sessions')).body).toEqual({ revoked: 0 });
    });

    it.each([
      [null],
      [true],
      [0],
      [-1.5e-7],
      [''],
      ['text with "quotes" and 😀'],
      [[]],
      [[1, [null, { a: 'b' }]]],
      [{}],
      [{ deep: { list: [1, '2', null] }, ключ: 'ü' }],
    ])('keeps %j as session data', async (data) => {
      const browser = await signIn();
      expect(await browser.request('PUT', '/data', { body: data })).toMatchObject({
        status: 204,
        body: undefined,
      });
      const answer = await browser.get('/data');
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
      expect(answer.body).toEqual(data);
    });

    it('has an empty object for data at first', async () => {
      expect((await (await signIn()).get('/data')).body).toEqual({});
    });

    it.each([
      ['malformed JSON', 'application/json', '{oops', 400],
      ['nothing', 'application/json', '', 400],
      ['text', 'text/plain', 'hello', 400],
      ['an image', 'image/png', 'hello', 400],
      ['more than fits', 'application/json', JSON.stringify('x'.repeat(70_000)), 400],
    ])('refuses %s as session data and keeps what it had', async (_, type, body, status) => {
      const browser = await signIn();
      await browser.request('PUT', '/data', { body: 'before' });
      const response = await fetch(`${sample.url}/data`, {
        method: 'PUT',
        headers: { 'content-type': type, cookie: browser.cookieHeader('/data') },
        body,
      });
      expect(response.status).toBe(status);
      expect((await browser.get('/data')).body).toBe('before');
    });

    it('signs out, and takes the cookies', async () => {
      const browser = await signIn();
      const copy = browser.copy();
      expect(await browser.post('/logout')).toMatchObject({ status: 204, body: undefined });
      expect(browser.cookies).toEqual([]);
      expect(await copy.get('/me')).toMatchObject({ status: 401, body: { code: 'session_over' } });
      expect(await browser.post('/logout')).toMatchObject({ status: 401 });
    });

    it('signs out also where a client says JSON but sends none', async () => {
      const browser = await signIn();
      const headers = { 'content-type': 'application/json' };
      expect(await browser.request('POST', '/logout', { headers })).toMatchObject({ status: 204 });
    });

    it('renews the tokens within the request that met an expired one', async () => {
      const browser = await signIn();
      pass('61s');
      const before = browser.cookie('session_refresh')!.value;
      const answers = await Promise.all(Array.from({ length: 20 }, () => browser.get('/me')));
      expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200));
      expect(browser.cookie('session_refresh')!.value).not.toBe(before);
      const [accessExpiry] = browser.cookie('session_info')!.value.split('.');
      // Jitter makes it up to five per cent shorter.
      expect([29, 30]).toContain(Number(accessExpiry) - Math.floor(Date.now() / 1_000));
    });

    it('is well while the database is', async () => {
      const answer = await new Browser(sample.url).get('/health');
      expect(answer).toMatchObject({
        status: 200,
        body: { status: 'ok', details: { sessions: { status: 'up', database: 'up' } } },
      });
    });

    it('refuses what another site’s page sends, except from trusted origins', async () => {
      const url = await start({ TRUSTED_ORIGINS: 'https://trusted.example' });
      const browser = await signIn(ALICE, url);
      expect(await browser.post('/logout', undefined, from('https://evil.example'))).toMatchObject({
        status: 403,
        body: { code: 'csrf_failed' },
      });
      const trusted = await browser.get('/me', { headers: { origin: 'https://trusted.example' } });
      expect(trusted.headers.get('access-control-allow-origin')).toBe('https://trusted.example');
      expect(trusted.headers.get('access-control-allow-credentials')).toBe('true');
      expect(await browser.post('/logout', undefined, from('https://trusted.example'))).toMatchObject({
        status: 204,
      });
    });

    it('serves a page that may load nothing but its own files', async () => {
      const browser = new Browser(sample.url);
      const page = await browser.get('/');
      expect(page.status).toBe(200);
      expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
      const policy = page.headers.get('content-security-policy');
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("script-src 'self'");
      expect(policy).not.toContain('unsafe');
      expect(policy).toContain("frame-ancestors 'none'");

      const html = page.body as string;
      const names = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path!);
      expect(names.length).toBeGreaterThan(2);
      expect(names.filter((path) => !path.startsWith('/page/'))).toEqual([]);
      for (const path of names) expect(await browser.get(path)).toMatchObject({ status: 200 });
      expect(html).not.toMatch(/ style="| on\w+="/);
      expect((await browser.get('/page/style.css')).headers.get('content-type')).toContain('text/css');
    });

    it.each(['/page/nothing.js', '/page/..%2fpage.controller.js', '/page/%2e%2e%2fmain.js', '/nothing'])(
      'has nothing at %s',
      async (path) => {
        const answer = await new Browser(sample.url).get(path);
        expect(answer.status).toBe(404);
        expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'");
      },
    );

    it.each([
      ['1', '203.0.113.9'],
      ['true', '203.0.113.9'],
      ['loopback', '203.0.113.9'],
      ['false', '127.0.0.1'],
      ['192.0.2.0/24', '127.0.0.1'],
    ])('with TRUST_PROXY=%s shows %s as the device’s address', async (TRUST_PROXY, expected) => {
      const browser = new Browser(await start({ TRUST_PROXY }));
      await browser.post('/login', ALICE, { headers: { 'x-forwarded-for': '203.0.113.9' } });
      const sessions = (await listOf(browser)) as (Device & { current: boolean; ip: string })[];
      expect(sessions.find(({ current }) => current)!.ip).toContain(expected);
    });

    it('sets cookies that work without https where told to', async () => {
      const browser = await signIn(ALICE, await start({ COOKIE_SECURE: 'false' }));
      for (const { name, attributes } of browser.cookies) {
        expect(name).not.toMatch(/^__/);
        expect(attributes).not.toHaveProperty('secure');
      }
      expect(await browser.get('/me')).toMatchObject({ status: 200 });
    });

    it('with REFRESH_MODE=endpoint refreshes on its own route', async () => {
      const browser = await signIn(ALICE, await start({ REFRESH_MODE: 'endpoint' }));
      expect(browser.cookie('session_refresh')!.path).toBe('/auth/refresh');
      pass('61s');
      expect(await browser.get('/me')).toMatchObject({ status: 401, body: { code: 'try_refresh' } });
      expect(await browser.post('/auth/refresh')).toMatchObject({ status: 204 });
      expect(await browser.get('/me')).toMatchObject({ status: 200 });
    });

    it('with CSRF=token wants the token back that came with the cookies', async () => {
      const browser = new Browser(await start({ CSRF: 'token' }));
      const token = (await browser.post('/login', ALICE)).headers.get('anti-csrf')!;
      expect(await browser.request('PUT', '/data', { body: 1 })).toMatchObject({ status: 403 });
      const headers = { 'anti-csrf': token };
      expect(await browser.request('PUT', '/data', { body: 1, headers })).toMatchObject({ status: 204 });
    });

    describe('the theft demonstration', () => {
      const works = { status: 200, body: { status: 200, userId: 'alice' } };

      it('shows the owner’s next refresh give away a thief who refreshed first', async () => {
        const owner = await signIn();
        const thief = await steal(owner);
        expect(await thief('use')).toMatchObject(works);
        pass('31s');
        expect(await thief('refresh')).toMatchObject({ body: { status: 200, refreshToken: 'renewed' } });
        pass('6s');
        expect(await thief('use')).toMatchObject({ body: { status: 200, refreshToken: 'kept' } });
        expect(await owner.get('/me')).toMatchObject({ status: 401, body: { code: 'token_theft' } });
        expect(owner.cookies).toEqual([]);
        expect(await thief('use')).toMatchObject({ body: { status: 401, code: 'session_over' } });
        expect(await thief('refresh')).toMatchObject({ body: { status: 401, code: 'session_over' } });
      });

      it('shows a thief get caught at once who refreshes after the owner', async () => {
        const owner = await signIn();
        const thief = await steal(owner);
        pass('31s');
        expect(await owner.get('/me')).toMatchObject({ status: 200 });
        pass('6s');
        expect(await owner.get('/me')).toMatchObject({ status: 200 });
        expect(await thief('refresh')).toMatchObject({
          body: { status: 401, code: 'token_theft', accessToken: 'lost', refreshToken: 'lost' },
        });
        expect(await owner.get('/me')).toMatchObject({ status: 401, body: { code: 'session_over' } });
      });

      it('makes the access token unusable where the page asks for that', async () => {
        const owner = await signIn();
        const { name } = owner.cookie('session_access')!;
        expect(await owner.post('/demo/theft/owner-refresh')).toMatchObject({ status: 204 });
        expect(owner.cookie('session_access')).toMatchObject({ name, value: 'expired' });
        expect(await owner.get('/me')).toMatchObject({ status: 200 });
      });

      it('says when a refresh token was too young to be exchanged', async () => {
        const thief = await steal(await signIn());
        expect(await thief('refresh')).toMatchObject({
          body: { status: 200, accessToken: 'renewed', refreshToken: 'kept' },
        });
      });

      it('copies what the browser has after the request, where that renewed the tokens', async () => {
        const owner = await signIn();
        pass('31s');
        const thief = await steal(owner);
        expect(await thief('use')).toMatchObject({ body: { status: 200, refreshToken: 'kept' } });
        pass('31s');
        expect(await thief('refresh')).toMatchObject({ body: { status: 200, refreshToken: 'renewed' } });
      });

      it.each<Environment>([{ REFRESH_MODE: 'endpoint' }, { REFRESH_MODE: 'endpoint', CSRF: 'token' }])(
        'works with %j',
        async (env) => {
          const owner = new Browser(await start(env));
          const csrf = (await owner.post('/login', ALICE)).headers.get('anti-csrf');
          const headers: Record<string, string> = csrf === null ? {} : { 'anti-csrf': csrf };
          const copied = await owner.post('/auth/refresh/theft-copy', undefined, { headers });
          const { thiefId } = copied.body as { thiefId: string };
          const thief = (step: string) => new Browser(owner.url).post('/demo/theft/act', { thiefId, step });
          pass('31s');
          expect(await thief('refresh')).toMatchObject({ body: { status: 204, refreshToken: 'renewed' } });
          pass('6s');
          expect(await thief('use')).toMatchObject(works);
          expect(await owner.post('/auth/refresh', undefined, { headers })).toMatchObject({
            status: 401,
            body: { code: 'token_theft' },
          });
          expect(await thief('use')).toMatchObject({ body: { status: 401 } });
        },
      );

      it('sends no token to the page', async () => {
        const owner = await signIn();
        const secrets = owner.cookies.map(({ value }) => value);
        const copied = await owner.post('/demo/theft/copy');
        const { thiefId } = copied.body as { thiefId: string };
        pass('31s');
        const acted = await owner.post('/demo/theft/act', { thiefId, step: 'refresh' });
        for (const { body, setCookies } of [copied, acted]) {
          expect(setCookies).toEqual([]);
          for (const secret of secrets) expect(JSON.stringify(body)).not.toContain(secret);
          expect(JSON.stringify(body)).not.toMatch(/eyJ|[\w-]{60,}/);
        }
      });

      it('lets only a thief act whose name is known', async () => {
        const page = new Browser(sample.url);
        expect(await page.post('/demo/theft/copy')).toMatchObject({ status: 401 });
        expect(await page.post('/demo/theft/act', { thiefId: UNKNOWN, step: 'use' })).toMatchObject({
          status: 404,
          body: { code: 'thief_not_found' },
        });
        for (const body of [
          undefined,
          null,
          1,
          {},
          { thiefId: 1, step: 'use' },
          { thiefId: 'x', step: 'run' },
        ]) {
          expect(await page.post('/demo/theft/act', body)).toMatchObject({
            status: 400,
            body: { code: 'invalid_body' },
          });
        }
      });

      it('forgets a thief after half an hour, and when the session is copied again', async () => {
        const owner = await signIn();
        const first = await steal(owner);
        const second = await steal(owner);
        expect(await first('use')).toMatchObject({ status: 404 });
        expect(await second('use')).toMatchObject({ status: 200 });
        pass('31m');
        expect(await second('use')).toMatchObject({ status: 404 });
      });

      it('is absent with THEFT_DEMO=off', async () => {
        const owner = await signIn(ALICE, await start({ THEFT_DEMO: 'off' }));
        expect(await owner.post('/demo/theft/copy')).toMatchObject({ status: 404 });
        expect(await owner.post('/demo/theft/act', {})).toMatchObject({ status: 404 });
        expect(await owner.post('/demo/theft/owner-refresh')).toMatchObject({ status: 404 });
        expect((await owner.get('/page/settings.json')).body).toMatchObject({ theftDemo: false });
      });
    });
  },
);

type Id = { sessionId: string };
type Device = { id: string };

async function listOf(browser: Browser): Promise<Device[]> {
  return ((await browser.get('/sessions')).body as { sessions: Device[] }).sessions;
}

async function steal(owner: Browser): Promise<(step: string) => Promise<Answer>> {
  const copied = await owner.post('/demo/theft/copy');
  expect(copied).toMatchObject({ status: 200, body: { thiefId: expect.any(String) } });
  const { thiefId } = copied.body as { thiefId: string };
  const page = new Browser(owner.url); // without cookies: the thief has them
  return (step) => page.post('/demo/theft/act', { thiefId, step });
}

/** The headers of a browser for a request from a page of another site. */
function from(origin: string) {
  return { headers: { origin, 'sec-fetch-site': 'cross-site' } };
}
