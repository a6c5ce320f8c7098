import { type ArgumentsHost, Catch, type ExceptionFilter } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { SESSION_ENTITIES, SessionError, type SessionEvent } from 'nestjs-session-tokens';
import { DataSource } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import type { Answer, Browser } from '../support/browser.js';
import { connect, databases } from '../support/databases.js';
import {
  ACCESS,
  type AccountApp,
  accountApps,
  clearsCookies,
  cookieOf,
  MARKER,
  refusal,
  REFRESH,
  setCookieNames,
} from './account-app.js';
import { asModule } from '../support/as-module.js';
import { LogCapture } from '../support/log-capture.js';
import { pass } from '../support/time.js';

async function idOf(browser: Browser): Promise<string> {
  return ((await browser.get('/me')).body as { id: string }).id;
}

const OVER = refusal(401, 'session_over');
const DEVICE = { userAgent: expect.any(String) as string, ip: '127.0.0.1' };
const UNAVAILABLE = refusal(503, 'storage_unavailable');

/** A thief has copied the cookies, and both parties have gone on until one of them is caught. */
async function split(first: Browser, second: Browser): Promise<Answer> {
  pass('16m');
  expect((await first.get('/me')).status).toBe(200);
  pass('90s');
  expect((await first.get('/me')).status).toBe(200);
  return second.get('/me');
}

/** While the database is down, no client of any kind is signed out, and none loses a cookie. */
async function expectOutage(app: AccountApp, expired: Browser, unproven: Browser): Promise<void> {
  for (const request of [
    () => expired.get('/me'),
    () => expired.get('/visitor'),
    () => expired.post('/orders', {}),
    () => expired.post('/logout'),
    () => unproven.get('/me'),
    () => app.browser().post('/login', { userId: 'bob' }),
    () => expired.post('/login', { userId: 'bob' }),
  ]) {
    const answer = await request();
    expect(answer).toMatchObject(UNAVAILABLE);
    expect(answer.setCookies).toEqual([]);
  }
}

async function clients(app: AccountApp): Promise<{ expired: Browser; unproven: Browser }> {
  const [expired, unproven] = [await app.signIn(), await app.signIn()];
  pass('16m');
  expect((await unproven.get('/me')).status).toBe(200);
  pass('90s');
  return { expired, unproven };
}

describe.each(databases)('on $name', (kind) => {
  describe.each(adapters)("the older suites' scenarios over %s", (adapter) => {
    const start = accountApps(adapter, kind);

    it('4: a wrong CSRF token is refused, and accepted where the check is switched off', async () => {
      const app = await start({ csrf: { mode: 'token' } });
      const browser = await app.signIn();
      const headers = { 'anti-csrf': 'wrong' };
      expect(await browser.post('/orders', {}, { headers })).toMatchObject(refusal(403, 'csrf_failed'));
      expect((await browser.post('/hook', {}, { headers })).status).toBe(200);
    });

    it('19: login, expiry, refresh, and then the old refresh token', async () => {
      const app = await start(
        {
          reuseWindow: 0,
          lookAgain: false,
          refresh: 'endpoint',
          refreshPath: '/auth/refresh',
          cookies: { path: '/app', prefix: 'none' },
        },
        { configure: (nest) => void nest.setGlobalPrefix('app') },
      );
      const browser = app.browser();
      const login = await browser.post('/app/login', { userId: 'alice' });
      expect(login.setCookies).toMatchObject([
        { name: 'session_access', path: '/app' },
        { name: 'session_refresh', path: '/app/auth/refresh' },
        { name: 'session_look_again', value: '', path: '/app/auth/refresh' },
      ]);
      const before = browser.copy();
      const { id } = (await browser.get('/app/me')).body as { id: string };

      pass('16m');
      expect(await browser.get('/app/me')).toMatchObject(refusal(401, 'try_refresh'));
      expect((await browser.post('/app/auth/refresh')).status).toBe(204);
      for (const { name, value } of browser.cookies) {
        expect(value).not.toBe(before.cookies.find((cookie) => cookie.name === name)!.value);
      }
      expect((await browser.get('/app/me')).status).toBe(200);

      pass('1s');
      const thefts: SessionEvent[] = [];
      app.sessions.events.subscribe((event) => thefts.push(event));
      const theft = await before.post('/app/auth/refresh');
      expect(theft).toMatchObject(refusal(401, 'token_theft'));
      expect(thefts).toEqual([
        {
          type: 'theft',
          sessionId: id,
          userId: 'alice',
          tokenId: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
          kind: 'superseded',
          behind: 1,
          age: 16 * 60_000 + 1_000,
          sinceRotation: 1_000,
          device: DEVICE,
          request: DEVICE,
          at: new Date(),
          module: 'default',
        },
      ]);
      expect(theft.setCookies.toSorted((a, b) => a.name.localeCompare(b.name))).toMatchObject([
        { value: '', path: '/app', attributes: { expires: 'Thu, 01 Jan 1970 00:00:00 GMT' } },
        { value: '', path: '/app/auth/refresh', attributes: { expires: 'Thu, 01 Jan 1970 00:00:00 GMT' } },
        { value: '', path: '/app/auth/refresh', attributes: { expires: 'Thu, 01 Jan 1970 00:00:00 GMT' } },
      ]);
      // The refresh route knows why the session has ended.
      expect(await browser.get('/app/me')).toMatchObject(refusal(401, 'try_refresh'));
      expect(await browser.post('/app/auth/refresh')).toMatchObject(OVER);
    });

    it.each([
      // Without look-ups, a copy of the access token is accepted until it expires.
      { revocation: 'none' as const, atOnce: { status: 200 } },
      { revocation: 'feed' as const, atOnce: OVER },
      { revocation: 'database' as const, atOnce: OVER },
    ])('20: logout, with revocation $revocation', async ({ revocation, atOnce }) => {
      const app = await start({ revocation });
      const browser = await app.signIn();
      const copy = browser.copy();
      const logout = await browser.post('/logout');
      expect(logout.status).toBe(204);
      expect(clearsCookies(logout)).toBe(true);
      expect(await browser.get('/me')).toMatchObject(refusal(401, 'no_credentials'));

      expect(await copy.copy().get('/me')).toMatchObject(atOnce);
      pass('16m');
      expect(await copy.get('/me')).toMatchObject(OVER);
    });
  });

  describe.each(adapters)('theft over %s', (adapter) => {
    const start = accountApps(adapter, kind);

    it.each([
      { caught: 'the thief who comes after the owner', ownerIsFirst: true },
      { caught: 'the owner who comes after the thief', ownerIsFirst: false },
    ])('is answered to $caught, and both are out', async ({ ownerIsFirst }) => {
      const app = await start();
      const owner = await app.signIn();
      const id = await idOf(owner);
      const thief = owner.copy();
      const bystander = await app.signIn();
      const events: SessionEvent[] = [];
      app.sessions.events.subscribe((event) => events.push(event));
      const [first, second] = ownerIsFirst ? [owner, thief] : [thief, owner];

      const answer = await split(first, second);

      expect(answer).toMatchObject(refusal(401, 'token_theft'));
      expect(clearsCookies(answer)).toBe(true);
      expect(second.cookies).toEqual([]);
      const stale = {
        sessionId: id,
        userId: 'alice',
        tokenId: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
        kind: 'superseded',
        behind: 1,
        age: 16 * 60_000 + 90_000,
        sinceRotation: 0,
        device: DEVICE,
        request: DEVICE,
        at: new Date(),
        module: 'default',
      };
      const told = events.filter(({ type }) => type === 'stale' || type === 'theft');
      expect(told).toEqual([
        { type: 'stale', ...stale },
        { type: 'theft', ...stale },
      ]);
      expect((told[0] as { tokenId: string }).tokenId).toBe((told[1] as { tokenId: string }).tokenId);
      // The other client is refused at its next request, although its access token has not expired.
      const other = await first.get('/me');
      expect(other).toMatchObject(OVER);
      pass('20s');
      expect(clearsCookies(await first.get('/me'))).toBe(true);
      expect(first.cookies).toEqual([]);
      expect((await bystander.get('/me')).status, 'the other device').toBe(200);
    });

    it('is caught when both work on in lock step, too', async () => {
      const app = await start();
      const owner = await app.signIn();
      const thief = owner.copy();
      const answers: Answer[] = [];
      for (let round = 0; round < 3; round++) {
        pass('16m');
        answers.push(...(await Promise.all([owner.get('/me'), thief.get('/me')])));
        pass('2m');
        answers.push(...(await Promise.all([owner.get('/me'), thief.get('/me')])));
      }
      const codes = answers.map(({ body }) => (body as { code?: string }).code);
      expect(codes.filter((code) => code === 'token_theft')).toHaveLength(1);
      expect((await owner.get('/me')).status).toBe(401);
      expect((await thief.get('/me')).status).toBe(401);
    });
  });

  describe.each(adapters)('a database that is down over %s', (adapter) => {
    const start = accountApps(adapter, kind);

    it('is 503 and clears nothing, and the same cookies work when its table is back', async () => {
      const app = await start();
      const { expired, unproven } = await clients(app);
      const admin = await connect(app.database);
      try {
        await admin.query('ALTER TABLE user_session RENAME TO user_session_away');
        await expectOutage(app, expired, unproven);
        await admin.query('ALTER TABLE user_session_away RENAME TO user_session');
      } finally {
        await admin.destroy();
      }
      for (const browser of [expired, unproven]) {
        expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
      }
    });

    it('is 503 and clears nothing, and the same cookies work when its connection is back', async () => {
      const database = await kind.create();
      await (await connect(database)).destroy();
      const dataSource = new DataSource({ ...database.options, entities: [...SESSION_ENTITIES] });
      await dataSource.initialize();
      const app = await start(
        { database: undefined, dataSourceToken: 'APPLICATION', sqliteConnection: 'shared' },
        {
          database,
          metadata: {
            imports: [
              {
                module: asModule({}),
                global: true,
                providers: [{ provide: 'APPLICATION', useValue: dataSource }],
                exports: ['APPLICATION'],
              },
            ],
          },
        },
      );
      try {
        const { expired, unproven } = await clients(app);
        await dataSource.destroy();
        await expectOutage(app, expired, unproven);
        await dataSource.initialize();
        for (const browser of [expired, unproven]) {
          expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
        }
      } finally {
        await app.close();
        await dataSource.destroy();
        await database.remove();
      }
    });

    it('does not keep proven tokens from working where revocations are a feed, but where each is looked up', async () => {
      const feed = await start({ revocation: 'feed' });
      const lookUp = await start({ revocation: 'database' }, { database: feed.database });
      const [byFeed, byLookUp] = [await feed.signIn(), await lookUp.signIn()];
      const admin = await connect(feed.database);
      try {
        await admin.query('ALTER TABLE user_session RENAME TO user_session_away');
        pass('5m');
        expect(await byFeed.get('/me')).toMatchObject({ status: 200, setCookies: [] });
        expect(await byLookUp.get('/me')).toMatchObject({ ...UNAVAILABLE, setCookies: [] });
        await admin.query('ALTER TABLE user_session_away RENAME TO user_session');
      } finally {
        await admin.destroy();
      }
      expect((await byLookUp.get('/me')).status).toBe(200);
    });

    const servers = kind.name === 'sqlite' ? [] : [kind.name];
    it.each(servers)('that drops its connections signs nobody out: %s', async () => {
      const app = await start();
      const { expired, unproven } = await clients(app);
      const admin = await connect(app.database);
      try {
        for (let round = 0; round < 3; round++) {
          if (kind.name === 'postgres') {
            await admin.query(
              'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
            );
          } else {
            const others = await admin.query<{ id: number }[]>(
              'SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()',
            );
            for (const { id } of others) await admin.query(`KILL ${id}`);
          }
          // A request may or may not meet a dead connection. In both cases nobody is signed out.
          for (const answer of [await expired.get('/me'), await unproven.get('/me')]) {
            expect([200, 503]).toContain(answer.status);
          }
        }
      } finally {
        await admin.destroy();
      }
      for (const browser of [expired, unproven]) expect((await browser.get('/me')).status).toBe(200);
    });

    it('puts no token, cookie or secret into answers or log lines', async () => {
      const secret = 'a-secret-of-the-application-that-nobody-may-see';
      const logs = new LogCapture();
      const app = await start(
        { secret, csrf: { mode: 'token' } },
        { configure: (nest) => nest.useLogger(logs) },
      );
      const answers: Answer[] = [];
      const seen = new Set<string>([secret]);
      const ask = async (answer: Promise<Answer>) => {
        answers.push(await answer);
        for (const { value } of (await answer).setCookies) if (value !== '') seen.add(value);
        const csrf = (await answer).headers.get('anti-csrf');
        if (csrf !== null) seen.add(csrf);
      };
      const [owner, other] = [app.browser(), app.browser()];
      await ask(owner.post('/login', { userId: 'alice' }));
      await ask(other.post('/login', { userId: 'bob' }));
      const thief = owner.copy();
      await ask(owner.post('/orders', {}));
      pass('16m');
      await ask(owner.get('/me'));
      pass('2m');
      await ask(owner.get('/me'));
      await ask(thief.get('/me', { headers: { 'user-agent': 'curl' } }));
      await ask(thief.get('/me'));
      await ask(owner.get('/me'));
      await ask(owner.get('/me', { headers: { cookie: `${ACCESS}=e30.e30.e30` } }));
      await ask(app.browser().post('/login', { userId: '' }));
      await ask(app.browser().post('/login', { userId: 'alice', claims: { sub: 'x' } }));
      await ask(app.browser().post('/login', { userId: 'alice', claims: { large: 'x'.repeat(4_096) } }));
      for (const { secretHash } of await app.rows()) if (secretHash !== '') seen.add(secretHash);
      const admin = await connect(app.database);
      await admin.query('ALTER TABLE user_session RENAME TO user_session_away');
      await admin.destroy();
      await ask(other.get('/me'));
      await ask(app.browser().post('/login', { userId: 'carol' }));
      pass('1m');
      await ask(thief.copy().get('/me'));

      const codes = answers.map(({ body }) => (body as { code?: string } | undefined)?.code).filter(Boolean);
      expect(new Set(codes)).toEqual(
        new Set([
          'csrf_failed',
          'token_theft',
          'look_again',
          'session_over',
          'try_refresh',
          'invalid_user_id',
          'invalid_claims',
          'storage_unavailable',
          'no_credentials',
        ]),
      );
      expect(logs.lines.join('\n'), 'the theft is in the log').toContain('Token theft');
      const text = [...logs.lines, ...answers.map(({ body }) => JSON.stringify(body))].join('\n');
      expect(seen.size).toBeGreaterThan(8);
      for (const value of seen) {
        expect(text).not.toContain(value);
        for (const part of value.split('.')) expect(text).not.toContain(part);
      }
    });
  });
});

describe.each(adapters)('a session that is over over %s', (adapter) => {
  const start = accountApps(adapter);

  it.each([
    { revocation: 'feed' as const, pause: '20s' },
    { revocation: 'database' as const, pause: '20s' },
    { revocation: 'none' as const, pause: '16m' },
    { revocation: 'feed' as const, pause: '16m' },
  ])(
    'loses its cookies when the client has looked again: $pause after revocation $revocation',
    async ({ revocation, pause }) => {
      const app = await start({ revocation });
      const browser = await app.signIn();
      await app.sessions.revoke(await idOf(browser));
      pass(pause);
      const first = await browser.get('/me', { follows: false });
      expect(first).toMatchObject(refusal(307, 'look_again'));
      expect(setCookieNames(first)).toEqual([MARKER]);
      const second = await browser.get('/me');
      expect(second).toMatchObject(OVER);
      expect(clearsCookies(second)).toBe(true);
      expect(await browser.get('/me')).toMatchObject(refusal(401, 'no_credentials'));
    },
  );

  it.each(['0s', '19999ms'])(
    'keeps them right after it ended: the response to a sign-in may be on its way (%s)',
    async (pause) => {
      const app = await start();
      const browser = await app.signIn();
      const { cookies } = browser;
      // The session is replaced; meanwhile another request comes with its tokens, and looks again with them.
      const login = await browser.post('/login', { userId: 'bob' }, { loseResponse: true });
      pass(pause);
      const other = await browser.get('/me', { loseResponse: true });
      expect(other).toMatchObject(OVER);
      expect(other.setCookies).toEqual([]);
      // Whichever of the two responses comes first, the client has its new session.
      for (const answers of [
        [login, other],
        [other, login],
      ]) {
        const client = app.browser();
        cookies.forEach((cookie) => client.set(cookie));
        for (const { setCookies } of answers) setCookies.forEach((cookie) => client.set(cookie));
        expect(await client.get('/me')).toMatchObject({ status: 200, body: { userId: 'bob' } });
      }
    },
  );

  it('loses its cookies at once without looking again', async () => {
    const app = await start({ lookAgain: false });
    const browser = await app.signIn();
    await app.sessions.revoke(await idOf(browser));
    const answer = await browser.get('/me', { follows: false });
    expect(answer).toMatchObject(OVER);
    expect(clearsCookies(answer)).toBe(true);
  });

  it.each(['0s', '1s', '5s', '2m', '16m'])(
    'takes nothing from a client that has signed in anew: a request that is %s late',
    async (pause) => {
      const app = await start();
      const browser = await app.signIn();
      const cookie = browser.cookieHeader('/');
      await browser.post('/login', { userId: 'bob' });
      const before = browser.cookies.map(({ value }) => value);
      pass(pause);
      const late = await browser.get('/me', { headers: { cookie }, follows: false });
      expect(late.status).toBe(307);
      expect(setCookieNames(late)).toEqual([MARKER]);
      const followed = await browser.get('/me', { headers: { cookie } });
      expect(followed).toMatchObject({ status: 200, body: { userId: 'bob' } });
      // Some time later the tokens have been renewed. No session is lost.
      const kept = pause === '16m' ? [] : before;
      for (const value of kept) expect(browser.cookieHeader('/')).toContain(value);
    },
  );

  it('is refused in another process within the interval of the feed, at once where each token is looked up', async () => {
    const first = await start();
    const feed = await start({ revocationInterval: '5s' }, { database: first.database });
    const lookUp = await start({ revocation: 'database' }, { database: first.database });
    const browser = await first.signIn();
    const id = await idOf(browser);
    expect((await browser.get('/me', { at: feed.url })).status).toBe(200);
    await browser.request('DELETE', `/sessions/${id}`);
    const other = browser.copy();
    expect(await browser.copy().get('/me'), 'here').toMatchObject(OVER);
    expect(await browser.copy().get('/me', { at: lookUp.url })).toMatchObject(OVER);
    expect((await other.get('/me', { at: feed.url })).status, 'has not asked yet').toBe(200);
    pass('5s');
    expect(await browser.get('/me', { at: feed.url })).toMatchObject(OVER);
  });

  it('is so for one device when another signs it out, and goes on for the others', async () => {
    const app = await start();
    const [phone, laptop] = [await app.signIn(), await app.signIn()];
    const revoke = await laptop.request('DELETE', `/sessions/${await idOf(phone)}`);
    expect(revoke).toMatchObject({ status: 200, body: { revoked: true }, setCookies: [] });
    expect(await phone.get('/me')).toMatchObject(OVER);
    expect((await laptop.get('/me')).status).toBe(200);
    const again = await laptop.request('DELETE', `/sessions/${await idOf(laptop)}`);
    expect(again).toMatchObject({ body: { revoked: true } });
  });

  it('does not come back by a request that was under way when the client signed out', async () => {
    const app = await start();
    const browser = await app.signIn();
    const late = browser.copy();
    await browser.post('/logout');
    pass('16m');
    const answer = await late.get('/me');
    expect(answer).toMatchObject(OVER);
    expect((await app.sessions.findAllForUser('alice')).sessions).toEqual([]);
  });
});

describe.each(adapters)('signing in over %s', (adapter) => {
  const start = accountApps(adapter);

  it.each([
    { holding: 'both tokens', without: undefined, pause: '1m' },
    { holding: 'the access token only', without: 'session_refresh', pause: '1m' },
    { holding: 'the refresh token only', without: 'session_access', pause: '16m' },
  ])('ends the session that the client was in, holding $holding', async ({ without, pause }) => {
    const app = await start();
    // An attacker has signed in and put the cookies into the victim's browser.
    const attacker = await app.signIn({ userId: 'mallory' });
    const planted = await idOf(attacker);
    const victim = attacker.copy();
    if (without !== undefined) victim.delete(without);
    pass(pause);

    const login = await victim.post('/login', { userId: 'alice' });

    expect(login).toMatchObject({ status: 200, body: { userId: 'alice' } });
    expect((login.body as { id: string }).id).not.toBe(planted);
    expect(await victim.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
    expect(await attacker.get('/me')).toMatchObject(OVER);
    expect(await app.sessions.find(planted)).toBeNull();
    expect((await app.sessions.findAllForUser('alice')).sessions).toHaveLength(1);
  });

  it('leaves other devices of the same user alone', async () => {
    const app = await start();
    const [phone, laptop] = [await app.signIn(), await app.signIn()];
    await laptop.post('/login', { userId: 'alice' });
    expect((await phone.get('/me')).status).toBe(200);
    expect((await app.sessions.findAllForUser('alice')).sessions).toHaveLength(2);
  });

  it('that fails leaves the client in the session that it was in', async () => {
    const app = await start();
    const browser = await app.signIn();
    const answer = await browser.post('/login', { userId: 'bob', claims: { exp: 1 } });
    expect(answer).toMatchObject({ status: 400, setCookies: [] });
    expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
  });

  it('stores what the list of devices shows', async () => {
    const app = await start();
    const browser = app.browser();
    await browser.post('/login', { userId: 'alice' }, { headers: { 'user-agent': 'Phone/1.0' } });
    expect((await app.sessions.findAllForUser('alice')).sessions).toMatchObject([
      { userAgent: 'Phone/1.0', ip: '127.0.0.1' },
    ]);
  });

  it.each([
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['::FFFF:192.0.2.7', '192.0.2.7'],
    ['192.0.2.7', '192.0.2.7'],
    ['2001:db8::1', '2001:db8::1'],
    ['::1', '::1'],
    ['::ffff:c000:207', '::ffff:c000:207'],
    [undefined, null],
  ])('stores the address %s as %s', async (ip, stored) => {
    const app = await start();
    const response = { headersSent: false, getHeader: () => undefined, setHeader: () => undefined };
    await app.sessions.create({ method: 'POST', headers: {}, ip }, response, { userId: 'alice' });
    expect((await app.sessions.findAllForUser('alice')).sessions).toMatchObject([{ ip: stored }]);
  });
});

@Catch(SessionError)
class OwnFilter implements ExceptionFilter<SessionError> {
  catch(error: SessionError, host: ArgumentsHost): void {
    const response = host.switchToHttp().getResponse<{
      status(code: number): { send(body: object): void };
    }>();
    response.status(418).send({ answeredBy: 'the application', code: error.code });
  }
}

describe.each(adapters)('an error that a handler does not catch over %s', (adapter) => {
  const start = accountApps(adapter);
  const UNKNOWN = '/sessions/01a20a8a-a015-700f-b8cf-7cbcd753c3eb/data';

  it('is answered with its own status and code, never with 500', async () => {
    const app = await start();
    const browser = await app.signIn();
    const cyclic = JSON.parse('['.repeat(70) + ']'.repeat(70)) as object;
    for (const [method, path, body, status, code] of [
      ['PUT', UNKNOWN, {}, 404, 'session_not_found'],
      ['PUT', '/sessions/nonsense/data', {}, 404, 'session_not_found'],
      ['PUT', '/claims', { exp: 1 }, 400, 'invalid_claims'],
      ['PUT', '/claims', { deep: cyclic }, 400, 'invalid_claims'],
      ['PUT', '/data', { large: 'x'.repeat(65_536) }, 400, 'invalid_data'],
      ['POST', '/login', { userId: '' }, 400, 'invalid_user_id'],
      ['POST', '/login', { userId: 1.5 }, 400, 'invalid_user_id'],
      ['POST', '/login', {}, 400, 'invalid_user_id'],
      ['POST', '/login', undefined, 400, 'invalid_user_id'],
      ['POST', '/login', { userId: 'bob', claims: { sid: 'mine' } }, 400, 'invalid_claims'],
      ['POST', '/login', { userId: 'bob', data: 'x'.repeat(65_536) }, 400, 'invalid_data'],
    ] as const) {
      const answer = await browser.request(method, path, { body });
      expect(answer, `${method} ${path}`).toMatchObject(refusal(status, code));
      expect(Object.keys(answer.body as object)).toEqual(['statusCode', 'code', 'message']);
      expect(answer.setCookies).toEqual([]);
    }
    expect((await browser.get('/me')).status).toBe(200);
  });

  it('goes to a filter of the application that is made for it: useGlobalFilters', async () => {
    const app = await start({}, { configure: (nest) => void nest.useGlobalFilters(new OwnFilter()) });
    const browser = await app.signIn();
    expect(await browser.request('PUT', UNKNOWN, { body: {} })).toMatchObject({
      status: 418,
      body: { answeredBy: 'the application', code: 'session_not_found' },
    });
  });

  it('goes to a filter of the application that is made for it: APP_FILTER', async () => {
    const app = await start({}, { metadata: { providers: [{ provide: APP_FILTER, useClass: OwnFilter }] } });
    const browser = await app.signIn();
    expect(await browser.request('PUT', UNKNOWN, { body: {} })).toMatchObject({
      status: 418,
      body: { answeredBy: 'the application', code: 'session_not_found' },
    });
  });
});

describe.each(adapters)('a request over %s', (adapter) => {
  const start = accountApps(adapter);

  it('without cookies, or with strange ones, is refused and no more', async () => {
    const app = await start();
    const browser = await app.signIn();
    const good = cookieOf(browser, 'session_refresh').value;
    for (const [cookie, code] of [
      ['', 'no_credentials'],
      ['theme=dark', 'no_credentials'],
      [';;; =; session_access; x=;', 'no_credentials'],
      [`${ACCESS}=`, 'no_credentials'],
      [`${ACCESS}=%00; ${REFRESH}=%`, 'session_over'],
      [`${REFRESH}=${good.slice(1)}`, 'session_over'],
      [`${REFRESH}=${good}A`, 'session_over'],
      [`${REFRESH}=${good.slice(0, 40)}${good[40] === 'A' ? 'B' : 'A'}${good.slice(41)}`, 'session_over'],
      [`${ACCESS}=${good}`, 'try_refresh'],
    ] as const) {
      const answer = await app.browser().get('/me', { headers: { cookie } });
      expect(answer, `cookie ${cookie}`).toMatchObject(refusal(401, code));
    }
    expect((await browser.get('/me')).status).toBe(200);
  });
});
