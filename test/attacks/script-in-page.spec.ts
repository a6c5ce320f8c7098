import { Body, Controller, Headers, HttpCode, Post, Put, Req, Res, UseGuards } from '@nestjs/common';
import {
  ActiveSession,
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  SessionGuard,
  type SessionModuleExtras,
  type SessionModuleOptions,
  SessionService,
} from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { accountApps, cookieOf } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import type { Answer } from '../support/browser.js';
import { foreignTokens } from '../support/foreign-tokens.js';
import { pass } from '../support/time.js';

/*
 * A script of an attacker runs in the page of a user who is signed in with cookies (XSS). It can send any request, with any
 * header, and read any response. It must not get a token that it can take away: cookies are HttpOnly, and stay so.
 */

@Controller('page')
class PageController {
  constructor(private readonly sessions: SessionService) {}

  /** Handlers make sessions of whoever is signed in: to change accounts, or for a new role. */
  @UseGuards(SessionGuard)
  @Post('switch')
  @HttpCode(200)
  async switch(
    @CurrentSession('userId') userId: string,
    @Req() req: HttpRequest,
    @Res({ passthrough: true }) res: HttpResponse,
  ) {
    return this.sessions.create(req, res, { userId });
  }

  @UseGuards(SessionGuard)
  @Post('again')
  @HttpCode(200)
  async again(@Req() req: HttpRequest, @Res({ passthrough: true }) res: HttpResponse) {
    return this.sessions.reauthenticate(req, res);
  }

  @UseGuards(SessionGuard)
  @Post('act')
  @HttpCode(200)
  async act(@Req() req: HttpRequest, @Res({ passthrough: true }) res: HttpResponse) {
    return this.sessions.impersonate(req, res, { userId: 'ann' });
  }

  @Post('stop')
  @HttpCode(200)
  async stop(@Req() req: HttpRequest, @Res({ passthrough: true }) res: HttpResponse) {
    await this.sessions.endImpersonation(req, res);
  }

  @UseGuards(SessionGuard)
  @Put('claims')
  async claims(@CurrentSession() session: ActiveSession, @Body() claims: object) {
    await session.updateClaims(claims);
  }

  /** The application's own header, to see that a script could read one. */
  @Post('echo')
  echo(@Headers('x-own') own: string, @Res({ passthrough: true }) res: HttpResponse) {
    if ('setHeader' in res) res.setHeader('x-own', own);
    else res.header('x-own', own);
  }
}

const ROUTES: readonly (readonly [method: string, path: string, body?: object])[] = [
  ['GET', '/me'],
  ['POST', '/orders'],
  ['POST', '/page/switch'],
  ['POST', '/page/again'],
  ['POST', '/page/act'],
  ['GET', '/me'],
  ['POST', '/page/stop'],
  ['PUT', '/page/claims', { role: 'user' }],
  ['POST', '/auth/refresh'],
  ['POST', '/logout'],
];

const JUNK = 'A'.repeat(95);

/** What a script may add to its requests. */
const HEADERS: readonly Record<string, string>[] = [
  { 'session-transport': 'header' },
  { 'session-transport': 'header', authorization: `Bearer ${foreignTokens[3]![1]}` },
  { 'session-transport': 'header', 'refresh-token': '' },
  { 'session-transport': 'header', 'look-again': '0123456789abcdef' },
  { 'session-transport': 'header', 'refresh-token': JUNK },
];

/** Everything of a response that a script can read. */
const readable = ({ headers, body }: Answer) =>
  [...headers].filter(([name]) => name !== 'set-cookie').join('\n') + JSON.stringify(body ?? '');

/** An access token, or a refresh token. */
const TOKEN = /eyJ[\w-]{8,}\.[\w-]{8,}\.|(?<![\w-])AQ[\w-]{93}(?![\w-])/;

describe.each(adapters)('a script in the page of somebody else over %s', (adapter) => {
  const apps = accountApps(adapter);
  const start = async (options: SessionModuleOptions & SessionModuleExtras) =>
    apps({ refreshPath: '/auth/refresh', ...options }, { metadata: { controllers: [PageController] } });

  it('would be seen here if it got a token', async () => {
    const app = await start({});
    const { accessToken, refreshToken } = await app.sessions.tokens.issue({ userId: 'alice' });
    for (const { token } of [accessToken, refreshToken]) {
      const answer = await app.browser().post('/page/echo', {}, { headers: { 'x-own': token } });
      expect(readable(answer)).toMatch(TOKEN);
    }
  });

  it.each<[string, SessionModuleOptions]>([
    ['transparent refresh', {}],
    ['endpoint refresh', { refresh: 'endpoint' }],
    ['a CSRF token, which scripts can read', { csrf: { mode: 'token' } }],
  ])('gets no token that it can read, with %s', async (_what, options) => {
    for (const added of HEADERS) {
      const app = await start(options);
      for (const pause of ['0s', '16m', '90s']) {
        const browser = app.browser();
        const login = await browser.post('/login', { userId: 'alice' });
        let csrf: Record<string, string> = {};
        for (const [method, path, body] of ROUTES) {
          pass(pause);
          const headers = { ...added, ...csrf };
          const answer = await browser.request(method, path, { headers, ...(body && { body }) });
          expect(readable(answer), `${method} ${path} ${JSON.stringify(added)}`).not.toMatch(TOKEN);
          csrf = { 'anti-csrf': answer.headers.get('anti-csrf') ?? login.headers.get('anti-csrf') ?? '' };
        }
      }
    }
  });

  it('cannot have a session made for the cookies with its tokens in headers, however good they are', async () => {
    const app = await start({});
    for (const pause of ['0s', '16m']) {
      const browser = await app.signIn();
      const before = (await app.rows()).length;
      pass(pause);
      const headers = { 'session-transport': 'header' };
      const answer = await browser.post('/page/switch', {}, { headers });
      expect(answer).toMatchObject({
        status: 400,
        body: { code: 'invalid_input', message: expect.stringContaining('without cookies') },
      });
      expect(await app.rows()).toHaveLength(before);
      expect((await browser.get('/me')).status).toBe(200);
      const login = await browser.post('/login', { userId: 'alice' }, { headers });
      expect(login).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
    }
  });

  it('renews and proves in cookies what came in cookies', async () => {
    const app = await start({});
    const browser = await app.signIn();
    const headers = { 'session-transport': 'header' };
    for (const [pause, path] of [
      ['16m', '/orders'],
      ['90s', '/orders'],
      ['1m', '/page/again'],
      ['16m', '/auth/refresh'],
    ] as const) {
      const before = cookieOf(browser, 'session_access').value;
      pass(pause);
      const answer = await browser.post(path, {}, { headers });
      expect(answer.status).toBeLessThan(300);
      expect(answer.headers.has('access-token')).toBe(false);
      expect(cookieOf(browser, 'session_access').value).not.toBe(before);
    }
  });

  it('of another site ends no session by adding a token in a header', async () => {
    const app = await start({});
    const { accessToken, refreshToken } = await app.sessions.tokens.issue({ userId: 'mallory' });
    const added: Record<string, string>[] = [
      { authorization: `Bearer ${accessToken.token}` },
      { 'refresh-token': refreshToken.token },
      { 'session-transport': 'header' },
    ];
    for (const own of added) {
      const browser = await app.signIn();
      const headers = { ...own, origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' };
      for (const path of ['/sign-out', '/login', '/page/again', '/page/switch']) {
        const answer = await browser.post(path, { userId: 'mallory' }, { headers });
        expect([path, (answer.body as { code?: string }).code]).toEqual([path, 'csrf_failed']);
      }
      expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
    }
  });
});
