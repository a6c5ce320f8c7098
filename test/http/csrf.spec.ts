import { Controller, Get, HttpCode, Post, Req, Res, UseGuards } from '@nestjs/common';
import {
  type ActiveSession,
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  SessionGuard,
  SessionService,
} from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { pass } from '../support/time.js';
import { accountApps, cookieOf, refusal, REFRESH } from './account-app.js';

const TRUSTED = 'https://app.example.com';
const FORGED = refusal(403, 'csrf_failed');

@Controller()
class CallbackController {
  constructor(private readonly sessions: SessionService) {}

  @Post('callback')
  @HttpCode(204)
  async callback(@Req() request: HttpRequest, @Res({ passthrough: true }) response: HttpResponse) {
    await this.sessions.create(request, response, { userId: 'from the provider' }, { csrf: false });
  }

  @Post('checked')
  @HttpCode(204)
  checked(@Req() request: HttpRequest) {
    this.sessions.checkOrigin(request);
  }

  @UseGuards(SessionGuard)
  @Get('csrf-token')
  async token(@CurrentSession() session: ActiveSession) {
    return { token: await session.csrfToken() };
  }
}

describe.each(adapters)('CSRF mode "origin" over %s', (adapter) => {
  const start = accountApps(adapter);

  it.each<{ site?: string; origin?: string; passes: boolean }>([
    { site: 'same-origin', passes: true },
    { site: 'none', passes: true },
    { site: 'same-site', passes: false },
    { site: 'cross-site', passes: false },
    { site: 'something new', passes: false },
    { site: 'same-origin', origin: 'own', passes: true },
    { site: 'cross-site', origin: 'own', passes: false },
    { site: 'cross-site', origin: 'https://evil.example', passes: false },
    { site: 'cross-site', origin: 'null', passes: false },
    { site: 'cross-site', origin: TRUSTED, passes: true },
    { site: 'same-site', origin: TRUSTED, passes: true },
    { origin: 'own', passes: true },
    { origin: TRUSTED, passes: true },
    { origin: 'https://evil.example', passes: false },
    { origin: `${TRUSTED}.evil.example`, passes: false },
    { origin: `${TRUSTED}:8443`, passes: false },
    { origin: 'http://app.example.com', passes: false },
    { origin: 'null', passes: false },
    { origin: 'not a url', passes: false },
    // Every browser sends at least one of them. A client that sends neither does not have a victim's cookies.
    { passes: true },
  ])('Sec-Fetch-Site "$site", Origin "$origin": passes $passes', async ({ site, origin, passes }) => {
    const app = await start({ csrf: { trustedOrigins: [TRUSTED] } });
    const browser = await app.signIn();
    const headers = {
      ...(site !== undefined && { 'sec-fetch-site': site }),
      ...(origin !== undefined && { origin: origin === 'own' ? app.url : origin }),
    };
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const path = { POST: '/orders', PUT: '/data', DELETE: '/sessions/unknown' }[method]!;
      const body = method === 'PUT' ? { body: {} } : {};
      const answer = await browser.request(method, path, { headers, ...body });
      expect(answer, `method ${method}`).toMatchObject(passes ? { status: 200 } : FORGED);
      expect(answer.setCookies).toEqual([]);
    }
  });

  it('does not look at safe methods, at open routes, and where it is told not to', async () => {
    const app = await start();
    const browser = await app.signIn();
    const headers = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' };
    expect((await browser.get('/me', { headers })).status).toBe(200);
    expect((await browser.request('HEAD', '/me', { headers })).status).toBe(200);
    expect((await browser.post('/hook', {}, { headers })).status).toBe(200);
  });

  it('protects sign-in, so that no form of another site makes its visitor somebody else', async () => {
    const app = await start({}, { metadata: { controllers: [CallbackController] } });
    const browser = await app.signIn();
    for (const headers of <Record<string, string>[]>[
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { origin: 'https://evil.example' },
      { origin: 'null' },
    ]) {
      const answer = await browser.post('/login', { userId: 'mallory' }, { headers });
      expect(answer).toMatchObject(FORGED);
      expect(answer.setCookies).toEqual([]);
      expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
      // An identity provider posts its answer; the application has checked its state.
      const callback = await browser.post('/callback', undefined, { headers });
      expect(callback.status).toBe(204);
      expect(await browser.get('/me')).toMatchObject({ body: { userId: 'from the provider' } });
      await browser.post('/login', { userId: 'alice' });
    }
    expect((await app.sessions.findAllForUser('mallory')).sessions).toEqual([]);
  });

  it('can be called on its own', async () => {
    const app = await start({}, { metadata: { controllers: [CallbackController] } });
    const headers = { origin: 'https://evil.example' };
    expect(await app.browser().post('/checked', undefined, { headers })).toMatchObject(FORGED);
    expect((await app.browser().post('/checked')).status).toBe(204);
  });

  it('checks upgrades to WebSockets, which may do anything', async () => {
    const app = await start();
    const browser = await app.signIn();
    const request = (origin: string, upgrade?: string) => ({
      method: 'GET',
      headers: { cookie: browser.cookieHeader('/'), host: 'app.example.com', origin, upgrade },
    });
    const response = { headersSent: true, getHeader: () => undefined, setHeader: () => undefined };
    const authenticate = (origin: string, upgrade?: string) =>
      app.sessions.authenticate(request(origin, upgrade), response);
    await expect(authenticate('https://evil.example', 'websocket')).rejects.toMatchObject({
      code: 'csrf_failed',
    });
    await expect(authenticate('https://app.example.com', 'websocket')).resolves.toBeDefined();
    await expect(authenticate('https://evil.example')).resolves.toBeDefined();
  });

  it('refuses nobody who is not signed in for another reason than that', async () => {
    const app = await start();
    const headers = { 'sec-fetch-site': 'cross-site' };
    expect(await app.browser().post('/orders', {}, { headers })).toMatchObject(
      refusal(401, 'no_credentials'),
    );
  });

  it('compares with the host that the client asked for, behind a proxy that is trusted', async () => {
    const headers = { 'x-forwarded-host': 'app.example.com', origin: TRUSTED };
    const behindProxy = await start({}, { trustProxy: true });
    const browser = await behindProxy.signIn();
    expect((await browser.post('/orders', {}, { headers })).status).toBe(200);
    const foreign = { ...headers, origin: 'https://evil.example' };
    expect(await browser.post('/orders', {}, { headers: foreign })).toMatchObject(FORGED);
  });

  it('believes no header about the host where no proxy is trusted', async () => {
    const app = await start();
    const browser = await app.signIn();
    const headers = { 'x-forwarded-host': 'evil.example', origin: 'https://evil.example' };
    expect(await browser.post('/orders', {}, { headers })).toMatchObject(FORGED);
  });

  it('comes before a refresh', async () => {
    const app = await start();
    const browser = await app.signIn();
    pass('16m');
    const before = await app.rows();
    const headers = { 'sec-fetch-site': 'cross-site' };
    for (const cookie of [
      browser.cookieHeader('/'),
      `${REFRESH}=${cookieOf(browser, 'session_refresh').value}`,
    ]) {
      const answer = await browser.post('/orders', {}, { headers: { ...headers, cookie } });
      expect(answer).toMatchObject(FORGED);
      expect(answer.setCookies).toEqual([]);
    }
    expect(await app.rows()).toEqual(before);
    expect((await browser.post('/orders', {})).status, 'the same request of our own page').toBe(200);
    expect(await app.rows()).not.toEqual(before);
  });

  it('protects sign-out, which needs no guard', async () => {
    const app = await start();
    const browser = await app.signIn();
    const headers = { 'sec-fetch-site': 'cross-site' };
    for (const passed of ['0s', '16m']) {
      pass(passed);
      const answer = await browser.post('/sign-out', undefined, { headers });
      expect(answer, `after ${passed}`).toMatchObject(FORGED);
      expect(answer.setCookies).toEqual([]);
    }
    expect((await browser.get('/me')).status).toBe(200);
    expect((await browser.post('/sign-out')).status).toBe(204);
    expect((await browser.post('/sign-out', undefined, { headers })).status, 'nobody is signed in').toBe(204);
  });

  it('protects the refresh route as well', async () => {
    const app = await start({ refresh: 'endpoint', refreshPath: '/refresh' });
    const browser = await app.signIn();
    pass('16m');
    const before = await app.rows();
    const headers = { origin: 'https://evil.example' };
    expect(await browser.post('/refresh', undefined, { headers })).toMatchObject(FORGED);
    expect(await app.rows()).toEqual(before);
    expect((await browser.post('/refresh')).status).toBe(204);
  });
});

describe.each(adapters)('CSRF mode "token" over %s', (adapter) => {
  const start = accountApps(adapter);

  it('gives the token at sign-in and at refresh, and takes it in the same header', async () => {
    const app = await start({ csrf: { mode: 'token' } });
    const browser = app.browser();
    const login = await browser.post('/login', { userId: 'alice' });
    const atSignIn = login.headers.get('anti-csrf')!;
    expect(atSignIn).toMatch(/^[\w-]{22}$/);
    const order = (token: string) => browser.post('/orders', {}, { headers: { 'anti-csrf': token } });
    expect((await order(atSignIn)).status).toBe(200);

    pass('16m');
    const refreshed = await browser.get('/me');
    const atRefresh = refreshed.headers.get('anti-csrf')!;
    expect((await order(atRefresh)).status).toBe(200);
    // A page in another tab goes on with the token that it has.
    expect((await order(atSignIn)).status).toBe(200);
    expect((await browser.get('/me')).headers.has('anti-csrf')).toBe(false);
  });

  it('takes the header that the application has named', async () => {
    const app = await start({ csrf: { mode: 'token', header: 'X-XSRF' } });
    const browser = app.browser();
    const token = (await browser.post('/login', { userId: 'alice' })).headers.get('x-xsrf')!;
    expect((await browser.post('/orders', {}, { headers: { 'x-xsrf': token } })).status).toBe(200);
    expect(await browser.post('/orders', {}, { headers: { 'anti-csrf': token } })).toMatchObject(FORGED);
  });

  it("refuses a token that is missing, wrong, or another session's, whatever the browser says", async () => {
    const app = await start({ csrf: { mode: 'token' } });
    const browser = app.browser();
    const own = (await browser.post('/login', { userId: 'alice' })).headers.get('anti-csrf')!;
    const other = (await app.browser().post('/login', { userId: 'alice' })).headers.get('anti-csrf')!;
    const changed = own.startsWith('A') ? `B${own.slice(1)}` : `A${own.slice(1)}`;
    for (const token of [undefined, '', 'wrong', other, changed, own.slice(1), `${own}AAAA`]) {
      const headers = { 'sec-fetch-site': 'same-origin', ...(token !== undefined && { 'anti-csrf': token }) };
      expect(await browser.post('/orders', {}, { headers }), `token ${token}`).toMatchObject(FORGED);
      expect((await browser.get('/me', { headers })).status, 'a safe method').toBe(200);
      expect((await browser.post('/hook', {}, { headers })).status, 'opted out').toBe(200);
    }
    expect((await browser.post('/orders', {}, { headers: { 'anti-csrf': own } })).status).toBe(200);
  });

  it('comes before a refresh', async () => {
    const app = await start({ csrf: { mode: 'token' } });
    const browser = app.browser();
    const token = (await browser.post('/login', { userId: 'alice' })).headers.get('anti-csrf')!;
    pass('16m');
    const before = await app.rows();
    const answer = await browser.post('/orders', {});
    expect(answer).toMatchObject(FORGED);
    expect(answer.setCookies).toEqual([]);
    expect(await app.rows()).toEqual(before);
    expect((await browser.post('/orders', {}, { headers: { 'anti-csrf': token } })).status).toBe(200);
  });

  it('refuses before it judges refresh cookies, so that no other site can have them cleared', async () => {
    const app = await start({ csrf: { mode: 'token' } });
    const browser = app.browser();
    const token = (await browser.post('/login', { userId: 'alice' })).headers.get('anti-csrf')!;
    const { name, value } = cookieOf(browser, 'session_access');
    for (const refresh of ['damaged', cookieOf(browser, 'session_refresh').value.slice(1)]) {
      const cookie = `${name}=${value}; ${REFRESH}=${refresh}`;
      const answer = await browser.post('/orders', {}, { headers: { cookie } });
      expect(answer).toMatchObject(FORGED);
      expect(answer.setCookies).toEqual([]);
      const headers = { cookie, 'anti-csrf': token };
      expect((await browser.post('/orders', {}, { headers })).status, 'of our own page').toBe(200);
    }
  });

  it.each<[when: string, pause: string, refresh: 'endpoint' | 'transparent']>([
    ['its access token has expired', '16m', 'endpoint'],
    ['its access token is still good', '1m', 'endpoint'],
    ['the guard refreshes', '16m', 'transparent'],
    ['the guard would refresh', '1m', 'transparent'],
  ])('gives it at the refresh route to a page that has lost it: %s', async (_, pause, refresh) => {
    const app = await start({ csrf: { mode: 'token' }, refresh, refreshPath: '/refresh' });
    const browser = app.browser();
    const token = (await browser.post('/login', { userId: 'alice' })).headers.get('anti-csrf')!;
    pass(pause);
    for (const [name, value] of [
      ['sec-fetch-site', 'cross-site'],
      ['origin', 'https://evil.example'],
    ] as const) {
      const headers = { [name]: value };
      const forged = await browser.post('/refresh', undefined, { headers });
      expect(forged).toMatchObject(FORGED);
      expect(forged.headers.has('anti-csrf')).toBe(false);
    }
    const refreshed = await browser.post('/refresh');
    expect(refreshed.status).toBe(204);
    expect(refreshed.headers.get('anti-csrf')).toBe(token);
    expect((await browser.post('/orders', {}, { headers: { 'anti-csrf': token } })).status).toBe(200);
  });

  it('gives it to the handler, which can write it into its page', async () => {
    const app = await start({ csrf: { mode: 'token' } }, { metadata: { controllers: [CallbackController] } });
    const browser = app.browser();
    const atSignIn = (await browser.post('/login', { userId: 'alice' })).headers.get('anti-csrf');
    for (const pause of ['0s', '16m', '91s']) {
      pass(pause);
      expect(await browser.get('/csrf-token')).toMatchObject({ body: { token: atSignIn } });
    }
  });

  it('protects sign-in and sign-out by the origin', async () => {
    const app = await start({ csrf: { mode: 'token' } });
    const browser = await app.signIn();
    const headers = { 'sec-fetch-site': 'cross-site' };
    expect(await browser.post('/login', { userId: 'mallory' }, { headers })).toMatchObject(FORGED);
    expect(await browser.post('/sign-out', undefined, { headers })).toMatchObject(FORGED);
    expect((await browser.get('/me')).status).toBe(200);
    expect((await browser.post('/sign-out')).status).toBe(204);
  });

  it('can be checked without HTTP', async () => {
    const { sessions } = await start({ csrf: { mode: 'token' } });
    const { tokens } = sessions;
    const [own, other] = [await tokens.issue({ userId: 'alice' }), await tokens.issue({ userId: 'bob' })];
    const verify = (options?: object) => tokens.verify(own.accessToken.token, options);
    await expect(verify({ csrfToken: own.csrfToken })).resolves.toMatchObject({ userId: 'alice' });
    await expect(verify()).resolves.toMatchObject({ userId: 'alice' });
    const spellings = [`${own.csrfToken}=`, `${own.csrfToken}==`, ` ${own.csrfToken}`, `${own.csrfToken}!`];
    for (const csrfToken of [other.csrfToken, '', 'wrong', undefined, null, 5, {}, ...spellings]) {
      await expect(verify({ csrfToken })).rejects.toMatchObject({ code: 'csrf_failed' });
    }
  });

  it('finds among duplicate cookies the session that the token belongs to', async () => {
    const app = await start({ csrf: { mode: 'token' } });
    const [ghost, browser] = [await app.signIn({ userId: 'bob' }), app.browser()];
    const token = (await browser.post('/login', { userId: 'alice' })).headers.get('anti-csrf')!;
    for (const pause of ['1m', '16m']) {
      pass(pause);
      const cookie = `${ghost.cookieHeader('/')}; ${browser.cookieHeader('/')}`;
      expect(
        await browser.post('/orders', {}, { headers: { cookie, 'anti-csrf': token } }),
        `after ${pause}`,
      ).toMatchObject({ status: 200 });
    }
  });
});

describe.each(adapters)('CSRF modes "header" and "off" over %s', (adapter) => {
  const start = accountApps(adapter);

  it('"header" asks for the header, of any value, before a refresh', async () => {
    const app = await start({ csrf: { mode: 'header', header: 'x-requested-by' } });
    const browser = await app.signIn();
    for (const pause of ['1m', '16m']) {
      pass(pause);
      const before = await app.rows();
      for (const [name, value] of [
        ['x-requested-by', ''],
        ['anti-csrf', '1'],
        ['accept', '*/*'],
      ] as const) {
        expect(await browser.post('/orders', {}, { headers: { [name]: value } })).toMatchObject(FORGED);
      }
      expect(await app.rows()).toEqual(before);
      expect((await browser.post('/hook', {})).status).toBe(200);
      expect((await browser.get('/me')).status).toBe(200);
      const headers = { 'x-requested-by': 'the page' };
      expect((await browser.post('/orders', {}, { headers })).status).toBe(200);
    }
  });

  it('"off" checks nothing', async () => {
    const app = await start({ csrf: { mode: 'off' } });
    const browser = await app.signIn();
    const headers = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' };
    expect((await browser.post('/orders', {}, { headers })).status).toBe(200);
  });
});
