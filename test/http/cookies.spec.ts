import { Controller, Get, Header, HttpCode, Inject, Post, Put, Req, Res, UseGuards } from '@nestjs/common';
import {
  ActiveSession,
  type HttpRequest,
  type HttpResponse,
  Session,
  type SessionCookieOptions,
  SessionGuard,
  SessionService,
} from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import type { Answer, Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import {
  ACCESS,
  accessTokenOf,
  accountApps,
  clearsCookies,
  cookieOf,
  MARKER,
  REFRESH,
} from './account-app.js';

/** Adds a cookie as an application does it on either adapter. */
function addCookie(response: HttpResponse, line: string): void {
  if ('append' in response) (response.append as (name: string, value: string) => void)('set-cookie', line);
  else if ('header' in response) response.header('set-cookie', line);
}

/** Handlers that set cookies and headers of their own. */
@Controller()
class OwnHeadersController {
  constructor(@Inject(SessionService) private readonly sessions: SessionService) {}

  @Post('own-cookies')
  @HttpCode(204)
  async ownCookies(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<void> {
    addCookie(response, 'first=1; Path=/');
    addCookie(response, 'second=2; Path=/; Expires=Thu, 01 Jan 2032 00:00:00 GMT');
    await this.sessions.create(request, response, { userId: 'alice' });
    addCookie(response, 'third=3; Path=/');
  }

  @UseGuards(SessionGuard)
  @Get('own-cookie')
  ownCookie(@Res({ passthrough: true }) response: HttpResponse): object {
    addCookie(response, 'theme=dark; Path=/');
    return {};
  }

  @Post('twice')
  @HttpCode(204)
  async twice(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<void> {
    await this.sessions.create(request, response, { userId: 'alice' });
    await this.sessions.create(request, response, { userId: 'bob' });
  }

  @UseGuards(SessionGuard)
  @Put('claims-twice')
  async claimsTwice(@Session() session: ActiveSession): Promise<object> {
    await session.updateClaims({ step: 1 });
    await session.updateClaims({ step: 2 });
    return {};
  }

  @Post('cached')
  @HttpCode(204)
  @Header('Cache-Control', 'private, no-cache')
  async cached(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<void> {
    await this.sessions.create(request, response, { userId: 'alice' });
  }

  @Post('cached-before')
  @HttpCode(204)
  async cachedBefore(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<void> {
    if ('header' in response) response.header('cache-control', 'private, no-cache');
    else response.setHeader('cache-control', 'private, no-cache');
    await this.sessions.create(request, response, { userId: 'alice' });
  }
}

const metadata = { controllers: [OwnHeadersController] };
const MONTH = 30 * 86_400;
const CLEARED = 'Max-Age=0';
const EPOCH = 'Expires=Thu, 01 Jan 1970 00:00:00 GMT';

const tokenOf = (browser: Browser, name: 'session_access' | 'session_refresh') =>
  cookieOf(browser, name).value;

const cookieHeader = (name: string, values: string[]) => values.map((each) => `${name}=${each}`).join('; ');

const claimsOfSize = (size: number) => ({ role: 'user', permissions: 'x'.repeat(size), theme: 'dark' });

const seconds = () => Math.floor(Date.now() / 1_000);

const cacheControl = (answer: Answer) => answer.headers.get('cache-control');

const maxAgesInDays = async (answer: Promise<Answer>) =>
  (await answer).setCookies.map(({ attributes }) => Number(attributes['max-age']) / 86_400);

type NamedAttributes = [name: string, attributes: string];

const setLine = ([name, attributes]: NamedAttributes) => `${name}=…; Max-Age=${MONTH}; ${attributes}`;

function clearedLine([name, attributes]: NamedAttributes): string {
  const [, placed, rest] = /^(Path=[^;]*(?:; Domain=[^;]*)?)(.*)$/.exec(attributes)!;
  return `${name}=; ${CLEARED}; ${placed}; ${EPOCH}${rest}`;
}

/** The lines of a cookie: before that of a partitioned one, a line clears the one that is not. */
function withTwin(named: NamedAttributes, line: (named: NamedAttributes) => string): string[] {
  const [name, attributes] = named;
  const twin = attributes.replace(/; Partitioned$/, '');
  return twin === attributes ? [line(named)] : [clearedLine([name, twin]), line(named)];
}

/** `Set-Cookie` lines, with a dot in place of each token. */
function lines(answer: Answer): string[] {
  return answer.headers.getSetCookie().map((line) => line.replace(/=[\w.-]{60,};/, '=…;'));
}

describe.each(adapters)('cookies over %s', (adapter) => {
  const start = accountApps(adapter);

  it.each<{
    when: string;
    cookies: SessionCookieOptions;
    access: NamedAttributes;
    refresh: NamedAttributes;
    /** A cookie that the sign-in cannot see, so that it clears it. */
    unseen?: NamedAttributes;
    /** Name of the marker. It has the attributes of the refresh cookie. */
    marker: string;
  }>([
    {
      when: 'nothing is configured',
      cookies: {},
      access: ['__Host-Http-session_access', 'Path=/; HttpOnly; Secure; SameSite=Lax'],
      refresh: ['__Host-Http-session_refresh', 'Path=/; HttpOnly; Secure; SameSite=Lax'],
      marker: '__Host-Http-session_look_again',
    },
    {
      when: 'they have a domain',
      cookies: { domain: 'example.com' },
      access: ['__Secure-session_access', 'Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax'],
      refresh: ['__Secure-session_refresh', 'Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax'],
      marker: '__Secure-session_look_again',
    },
    {
      when: 'they have a path',
      cookies: { path: '/app' },
      // The sign-in at another path does not see this cookie.
      unseen: ['__Secure-session_access_as', 'Path=/app; HttpOnly; Secure; SameSite=Lax'],
      access: ['__Secure-session_access', 'Path=/app; HttpOnly; Secure; SameSite=Lax'],
      refresh: ['__Secure-session_refresh', 'Path=/app; HttpOnly; Secure; SameSite=Lax'],
      marker: '__Secure-session_look_again',
    },
    {
      when: 'they have different paths',
      cookies: { path: '/app', refreshPath: '/' },
      access: ['__Secure-session_access', 'Path=/app; HttpOnly; Secure; SameSite=Lax'],
      refresh: ['__Host-Http-session_refresh', 'Path=/; HttpOnly; Secure; SameSite=Lax'],
      marker: '__Host-Http-session_look_again',
    },
    {
      when: 'they go over plain HTTP',
      cookies: { secure: false, sameSite: 'strict' },
      access: ['session_access', 'Path=/; HttpOnly; SameSite=Strict'],
      refresh: ['session_refresh', 'Path=/; HttpOnly; SameSite=Strict'],
      marker: 'session_look_again',
    },
    {
      when: 'they are for frames of other sites',
      cookies: { sameSite: 'none', partitioned: true },
      access: ['__Host-Http-session_access', 'Path=/; HttpOnly; Secure; SameSite=None; Partitioned'],
      refresh: ['__Host-Http-session_refresh', 'Path=/; HttpOnly; Secure; SameSite=None; Partitioned'],
      marker: '__Host-Http-session_look_again',
    },
    {
      when: 'they have names of their own',
      cookies: { accessName: 'sAccessToken', refreshName: 'sRefreshToken', lookAgainName: 'again' },
      access: ['__Host-Http-sAccessToken', 'Path=/; HttpOnly; Secure; SameSite=Lax'],
      refresh: ['__Host-Http-sRefreshToken', 'Path=/; HttpOnly; Secure; SameSite=Lax'],
      marker: '__Host-Http-again',
    },
    {
      when: 'prefixes are off',
      cookies: { prefix: 'none', accessName: 'a', refreshName: 'r' },
      access: ['a', 'Path=/; HttpOnly; Secure; SameSite=Lax'],
      refresh: ['r', 'Path=/; HttpOnly; Secure; SameSite=Lax'],
      marker: 'session_look_again',
    },
    {
      when: 'their names already have a prefix',
      cookies: { accessName: '__Secure-a', refreshName: '__Host-r', lookAgainName: '__Host-Http-again' },
      access: ['__Secure-a', 'Path=/; HttpOnly; Secure; SameSite=Lax'],
      refresh: ['__Host-r', 'Path=/; HttpOnly; Secure; SameSite=Lax'],
      marker: '__Host-Http-again',
    },
  ])(
    'are set and cleared with exactly the same attributes when $when',
    async ({ cookies, access, refresh, marker, unseen }) => {
      const app = await start({ cookies });
      const browser = app.browser();
      const login = await browser.post('/login', { userId: 'alice' });
      expect(lines(login)).toEqual([
        ...[access, refresh].flatMap((each) => withTwin(each, setLine)),
        ...(unseen ? [clearedLine(unseen)] : []),
      ]);

      const set = login.setCookies.filter(({ value }) => value !== '');
      const cookie = set.map(({ name, value }) => `${name}=${value}`).join('; ');
      const logout = await browser.post('/logout', undefined, { headers: { cookie } });
      expect(logout.status).toBe(204);
      expect(lines(logout)).toEqual(
        [access, refresh, [marker, refresh[1]] as NamedAttributes].flatMap((each) =>
          withTwin(each, clearedLine),
        ),
      );
      expect(browser.cookies).toEqual([]);

      const again = await browser.get('/me', { headers: { cookie }, follows: false });
      expect(again.status).toBe(307);
      expect(lines(again)).toEqual([
        expect.stringMatching(`^${marker}=[0-9a-f]{16}; Max-Age=${MONTH}; ${refresh[1]}$`),
      ]);
    },
  );

  it('tell scripts when asked to who long the session lasts, and no more', async () => {
    const app = await start({ cookies: { indicatorName: 'signed_in' } });
    const browser = app.browser();
    const login = await browser.post('/login', { userId: 'alice' });
    expect(login.headers.getSetCookie()).toContain(
      `__Host-signed_in=${seconds() + 900}.${seconds() + MONTH}; Max-Age=${MONTH}; Path=/; Secure; SameSite=Lax`,
    );
    pass('10d');
    await browser.get('/me');
    expect(browser.cookie('signed_in')!.value).toBe(`${seconds() + 900}.${seconds() + MONTH}`);
    const logout = await browser.post('/logout');
    expect(lines(logout)).toContain(`__Host-signed_in=; ${CLEARED}; Path=/; ${EPOCH}; Secure; SameSite=Lax`);
    expect(browser.cookies).toEqual([]);
  });

  it('outlive the access token, and follow the sliding expiry up to the absolute end', async () => {
    const app = await start({ refreshToken: { ttl: '30d', absoluteTtl: '40d' } });
    const browser = app.browser();

    expect(await maxAgesInDays(browser.post('/login', { userId: 'alice' }))).toEqual([30, 30]);
    expect(accessTokenOf(browser).exp! - Date.now() / 1_000).toBe(900);
    pass('5d');
    expect(await maxAgesInDays(browser.get('/me')), 'slides').toEqual([30, 30]);
    pass('90s');
    expect(await maxAgesInDays(browser.get('/me')), 'the proven access token').toEqual([30 - 90 / 86_400]);
    pass('15d');
    pass(-90_000);
    expect(await maxAgesInDays(browser.get('/me')), '20 days before the end').toEqual([20, 20]);
    pass('19d');
    expect(await maxAgesInDays(browser.get('/me')), 'one day before the end').toEqual([1, 1]);
  });

  it('leave the cookies of the application alone, whether it sets them before or after', async () => {
    const app = await start({}, { metadata });
    const browser = app.browser();
    expect(lines(await browser.post('/own-cookies'))).toEqual([
      'first=1; Path=/',
      'second=2; Path=/; Expires=Thu, 01 Jan 2032 00:00:00 GMT',
      expect.stringMatching(`^${ACCESS}=…`),
      expect.stringMatching(`^${REFRESH}=…`),
      'third=3; Path=/',
    ]);
    pass('16m');
    expect(lines(await browser.get('/own-cookie')), 'refreshed by the guard').toEqual([
      expect.stringMatching(`^${ACCESS}=…`),
      expect.stringMatching(`^${REFRESH}=…`),
      'theme=dark; Path=/',
    ]);
    pass('90s');
    expect(lines(await browser.get('/own-cookie')), 'replaced by the guard').toEqual([
      expect.stringMatching(`^${ACCESS}=…`),
      'theme=dark; Path=/',
    ]);
    expect(lines(await browser.get('/own-cookie')), 'untouched by the guard').toEqual(['theme=dark; Path=/']);
  });

  it('that are set twice in one response appear once, with the last value', async () => {
    const app = await start({}, { metadata });
    const browser = app.browser();
    const twice = await browser.post('/twice');
    expect(twice.setCookies.map(({ name }) => name)).toEqual([ACCESS, REFRESH]);
    expect(await browser.get('/me')).toMatchObject({ body: { userId: 'bob' } });

    pass('16m');
    const claims = await browser.request('PUT', '/claims-twice');
    expect(claims.setCookies.map(({ name }) => name).toSorted()).toEqual([ACCESS, REFRESH]);
    expect(accessTokenOf(browser)).toMatchObject({ step: 2 });

    pass('16m');
    const logout = await browser.post('/logout');
    expect(lines(logout).toSorted(), 'refreshed, then cleared').toEqual([
      expect.stringMatching(`^${ACCESS}=; ${CLEARED}`),
      expect.stringMatching(`^${MARKER}=; ${CLEARED}`),
      expect.stringMatching(`^${REFRESH}=; ${CLEARED}`),
    ]);
  });

  it('come with a prohibition to store the response, and only they', async () => {
    const app = await start();
    const browser = app.browser();
    expect(cacheControl(await browser.post('/login', { userId: 'alice' }))).toBe('private, no-store');
    expect(cacheControl(await browser.get('/me'))).toBe('private');
    pass('16m');
    expect(cacheControl(await browser.get('/me')), 'refreshed').toBe('private, no-store');
    expect(cacheControl(await browser.get('/me'))).toBe('private');
    pass('90s');
    expect(cacheControl(await browser.get('/me')), 'proven').toBe('private, no-store');
    expect(cacheControl(await browser.get('/me'))).toBe('private');
    expect(cacheControl(await browser.post('/logout'))).toBe('private, no-store');
  });

  it.each(['/cached', '/cached-before'])(
    'leave a Cache-Control header of the application that is as strict: %s',
    async (path) => {
      const app = await start({}, { metadata });
      const answer = await app.browser().post(path);
      expect(answer.setCookies).toHaveLength(2);
      expect(answer.headers.get('cache-control')).toBe('private, no-cache');
    },
  );
});

describe.each(adapters)('duplicates of a cookie over %s', (adapter) => {
  const start = accountApps(adapter);

  it('are all tried: an access token that is no longer good may come first', async () => {
    const app = await start();
    const expired = tokenOf(await app.signIn(), 'session_access');
    pass('16m');
    const other = await app.signIn();
    const revoked = tokenOf(other, 'session_access');
    await other.post('/logout');
    const browser = await app.signIn({ userId: 'bob' });

    const good = tokenOf(browser, 'session_access');
    for (const bad of [expired, revoked, 'junk', 'e30.e30.e30', `${good.slice(0, -3)}AAA`]) {
      for (const values of [
        [bad, good],
        [good, bad],
      ]) {
        const answer = await browser.get('/me', { headers: { cookie: cookieHeader(ACCESS, values) } });
        expect(answer).toMatchObject({ status: 200, body: { userId: 'bob' }, setCookies: [] });
      }
    }
  });

  it('are all tried: a refresh token of a session that is over may come first', async () => {
    const app = await start();
    const revoked = await app.signIn();
    const over = tokenOf(revoked, 'session_refresh');
    await revoked.post('/logout');
    const browser = await app.signIn({ userId: 'bob' });
    for (const bad of [over, 'junk', 'A'.repeat(92)]) {
      pass('16m');
      const header = cookieHeader(REFRESH, [bad, tokenOf(browser, 'session_refresh')]);
      const answer = await browser.get('/me', { headers: { cookie: header } });
      expect(answer).toMatchObject({ status: 200, body: { userId: 'bob' } });
      const set = answer.setCookies.filter(({ value }) => value !== '');
      expect(set.map(({ name }) => name)).toEqual([ACCESS, REFRESH]);
    }
  });

  it('with an older refresh token of the same session are no theft, in either order', async () => {
    const app = await start();
    const browser = await app.signIn();
    const oldest = tokenOf(browser, 'session_refresh');
    for (const order of [1, -1]) {
      pass('16m');
      await browser.get('/me');
      pass('90s');
      await browser.get('/me');
      pass('16m');
      const values = [oldest, tokenOf(browser, 'session_refresh')];
      const header = cookieHeader(REFRESH, order === 1 ? values : values.toReversed());
      expect(await browser.get('/me', { headers: { cookie: header } })).toMatchObject({ status: 200 });
      expect(await browser.get('/me')).toMatchObject({ status: 200 });
    }
    // Alone, this token is a theft. So the result of the other cases is not an accident.
    const thief = app.browser();
    thief.set({ ...cookieOf(browser, 'session_refresh'), value: oldest });
    expect(await thief.get('/me')).toMatchObject({ status: 401, body: { code: 'token_theft' } });
  });

  it('that are all of sessions that are over are cleared', async () => {
    const app = await start();
    const browsers = [await app.signIn(), await app.signIn()];
    const values = browsers.map((browser) => tokenOf(browser, 'session_refresh'));
    await app.sessions.revokeAllForUser('alice');
    pass('16m');
    const cookie = cookieHeader(REFRESH, values);
    const first = await app.browser().get('/me', { headers: { cookie }, follows: false });
    expect(first.status).toBe(307);
    // One marker has the ids of all of them, so the client need not look again for each.
    const [marker] = first.setCookies;
    expect(marker!.value).toMatch(/^[0-9a-f]{16}\.[0-9a-f]{16}$/);
    const headers = { cookie: `${cookie}; ${marker!.name}=${marker!.value}` };
    const answer = await app.browser().get('/me', { headers });
    expect(answer).toMatchObject({ status: 401, body: { code: 'session_over' } });
    expect(clearsCookies(answer)).toBe(true);
  });

  it('of former domains are cleared at the next sign-in and refresh', async () => {
    const app = await start({
      cookies: { domain: 'app.example.com', formerDomains: ['example.com', 'old.example.com'] },
    });
    const browser = await app.signIn();
    expect(browser.cookies, 'nothing to clear').toHaveLength(2);
    pass('16m');
    const [access, refresh] = ['__Secure-session_access', '__Secure-session_refresh'];
    const doubled = [access, refresh]
      .map((name) => cookieHeader(name, ['stale', browser.cookies.find((each) => each.name === name)!.value]))
      .join('; ');
    for (const request of [
      () => browser.get('/me', { headers: { cookie: doubled } }),
      () => browser.post('/login', { userId: 'alice' }, { headers: { cookie: doubled } }),
    ]) {
      const answer = lines(await request());
      for (const name of [access, refresh]) {
        for (const domain of ['', '; Domain=example.com', '; Domain=old.example.com']) {
          expect(answer).toContain(
            `${name}=; ${CLEARED}; Path=/${domain}; ${EPOCH}; HttpOnly; Secure; SameSite=Lax`,
          );
        }
        expect(answer).toContainEqual(
          expect.stringMatching(`^${name}=…; Max-Age=.*; Domain=app.example.com;`),
        );
      }
      // The others clear cookies that are partitioned, which may be duplicates as well.
      expect(answer.filter((line) => !line.endsWith('; Partitioned'))).toHaveLength(8);
      expect(answer).toHaveLength(10);
    }
  });

  it('of a former domain are cleared when the cookies have become host-only', async () => {
    // With a domain the names began with "__Secure-"; a browser accepts no "__Host-" cookie that has one.
    const before = await start({ cookies: { domain: 'example.com' } });
    const browser = await before.signIn();
    const ghosts = browser.cookieHeader('/');
    const after = await start({ cookies: { formerDomains: ['example.com'] } }, { database: before.database });
    const answer = await after.browser().post('/login', { userId: 'alice' }, { headers: { cookie: ghosts } });
    for (const name of ['__Secure-session_access', '__Secure-session_refresh']) {
      expect(lines(answer)).toContain(
        `${name}=; ${CLEARED}; Path=/; Domain=example.com; ${EPOCH}; HttpOnly; Secure; SameSite=Lax`,
      );
    }
  });
});

const PARTITIONED: SessionCookieOptions = { sameSite: 'none', partitioned: true };
const WHOLE: SessionCookieOptions = { sameSite: 'none', partitioned: false };

describe.each(adapters)('cookies that become partitioned, or not any more, over %s', (adapter) => {
  const start = accountApps(adapter);

  it.each<{
    what: string;
    before: SessionCookieOptions;
    after: SessionCookieOptions;
    /** How often the client comes until it has one cookie of each name. */
    visits: number;
  }>([
    { what: 'turned on', before: WHOLE, after: PARTITIONED, visits: 1 },
    { what: 'turned off', before: PARTITIONED, after: WHOLE, visits: 2 },
    {
      what: 'turned on, with a domain, a path and a cookie for scripts',
      before: { ...WHOLE, path: '/', domain: '127.0.0.1', indicatorName: 'info' },
      after: { ...PARTITIONED, path: '/', domain: '127.0.0.1', indicatorName: 'info' },
      visits: 1,
    },
    {
      what: 'turned on while a former domain is left',
      before: { ...WHOLE, domain: '127.0.0.1' },
      after: { ...PARTITIONED, formerDomains: ['127.0.0.1'] },
      visits: 1,
    },
  ])('are not left beside the others, and nobody is signed out: $what', async ({ before, after, visits }) => {
    for (const isNew of [true, false]) {
      const first = await start({ cookies: before });
      const browser = first.browser();
      if (!isNew) browser.ignorePartitioned();
      await browser.post('/login', { userId: 'alice' });
      const second = await start({ cookies: after }, { database: first.database });
      const at = second.url;
      const names = () => browser.cookies.map(({ name }) => name.replace(/^__(Host-Http|Secure)-/, ''));
      const once = () => [...new Set(names())];
      if ('formerDomains' in after) await browser.post('/login', { userId: 'alice' }, { at });
      for (let visit = 0; visit < visits; visit++) {
        pass('16m');
        expect((await browser.get('/me', { at })).status).toBe(200);
      }
      expect(names().toSorted()).toEqual(once().toSorted());
      const expected = isNew && after.partitioned === true;
      expect(browser.cookies.every(({ attributes }) => 'partitioned' in attributes)).toBe(expected);

      // The client keeps its refresh cookie here: it must not be cleared as a twin.
      browser.delete('session_access');
      expect((await browser.get('/me', { at })).status).toBe(200);
      const claims = await browser.request('PUT', '/claims', { body: { step: 1 }, at });
      expect(claims).toMatchObject({ status: 200 });
      expect(await browser.get('/me', { at })).toMatchObject({ body: { claims: { step: 1 } } });
      pass('16m');
      expect((await browser.get('/me', { at })).status).toBe(200);
      expect(await second.rows()).toHaveLength('formerDomains' in after ? 2 : 1);
      expect((await browser.post('/logout', undefined, { at })).status).toBe(204);
      expect(browser.cookies).toEqual([]);
    }
  });

  it('leave no twin at sign-in or sign-out, whoever was signed in before', async () => {
    for (const [before, after] of [
      [WHOLE, PARTITIONED],
      [PARTITIONED, WHOLE],
    ] as const) {
      const first = await start({ cookies: before });
      const browser = await first.signIn();
      const second = await start({ cookies: after }, { database: first.database });
      const at = second.url;
      await browser.post('/login', { userId: 'bob' }, { at });
      expect(await browser.get('/me', { at })).toMatchObject({ body: { userId: 'bob' } });
      expect((await browser.post('/sign-out', undefined, { at })).status).toBe(204);
      expect(browser.cookies).toEqual([]);
    }
  });
});

describe.each(adapters)('claims that are too large for a cookie over %s', (adapter) => {
  const start = accountApps(adapter);

  it('are refused at sign-in by a message that names the largest, and leave no session behind', async () => {
    const app = await start();
    const browser = app.browser();
    const answer = await browser.post('/login', { userId: 'alice', claims: claimsOfSize(4_000) });
    expect(answer).toMatchObject({
      status: 400,
      body: {
        statusCode: 400,
        code: 'invalid_claims',
        message: expect.stringContaining('"permissions" with 4002 bytes') as string,
      },
      setCookies: [],
    });
    expect(await app.rows()).toEqual([]);
  });

  it('are refused as new claims, and the old ones stay', async () => {
    const app = await start();
    const browser = await app.signIn({ userId: 'alice', claims: { role: 'user' } });
    const answer = await browser.request('PUT', '/claims', { body: claimsOfSize(4_000) });
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_claims' }, setCookies: [] });
    expect(await browser.get('/me')).toMatchObject({ body: { claims: { role: 'user' } } });
  });

  it('begin right where a browser would drop the cookie, of sign-in or of a refresh', async () => {
    const app = await start({ cookies: { domain: 'a-long-domain-name.example.com', sameSite: 'strict' } });
    // The largest accepted claims, found by binary search.
    let [fits, tooLarge] = [0, 4_096];
    while (tooLarge - fits > 1) {
      const size = Math.floor((fits + tooLarge) / 2);
      const { status } = await app.browser().post('/login', { userId: 'alice', claims: claimsOfSize(size) });
      if (status === 200) fits = size;
      else tooLarge = size;
    }
    const browser = await app.signIn({ userId: 'alice', claims: claimsOfSize(fits) });
    pass('16m');
    const refreshed = await browser.get('/me');
    expect(refreshed.status).toBe(200);
    const longest = Math.max(...refreshed.headers.getSetCookie().map((line) => line.length));
    expect(longest).toBeLessThanOrEqual(4_096);
    expect(longest, 'not much is given away').toBeGreaterThan(4_040);
    for (const pause of ['1s', '16m']) {
      pass(pause);
      expect((await browser.get('/me')).status).toBe(200);
    }
  });
});
