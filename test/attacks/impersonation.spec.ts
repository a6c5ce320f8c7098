import { Controller, HttpCode, Post, Req, Res, UseGuards } from '@nestjs/common';
import {
  type ActiveSession,
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  InjectSessionService,
  SessionGuard,
  SessionModule,
  SessionService,
  type UserId,
} from 'nestjs-session-tokens';
import { afterEach, describe, expect, it } from 'vitest';
import { accountApps, ACCESS, cookieOf, refusal, REFRESH } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { databases } from '../support/databases.js';
import { pass, TTL } from '../support/time.js';

const ACTING = `${ACCESS}_as`;

@Controller('support')
class SupportController {
  constructor(
    private readonly users: SessionService,
    @InjectSessionService('admin') private readonly admins: SessionService,
  ) {}

  @UseGuards(SessionGuard)
  @Post('start')
  @HttpCode(200)
  async start(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<ActiveSession> {
    return this.users.impersonate(request, response, { userId: 'ann' });
  }

  @Post('admin-login')
  @HttpCode(200)
  async login(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<ActiveSession> {
    return this.admins.create(request, response, { userId: 'root' });
  }

  @UseGuards(SessionGuard.of('admin'))
  @Post('admin-start')
  @HttpCode(200)
  async adminStart(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<ActiveSession> {
    return this.admins.impersonate(request, response, { userId: 'other admin' });
  }

  @UseGuards(SessionGuard.of('admin'))
  @Post('admin-form')
  @HttpCode(200)
  adminForm(@CurrentSession('userId') savedFor: UserId): object {
    return { savedFor };
  }

  @UseGuards(SessionGuard)
  @Post('form')
  @HttpCode(200)
  form(@CurrentSession('userId') savedFor: UserId): object {
    return { savedFor };
  }
}

const form = async (browser: Browser, init = {}) => browser.post('/support/form', undefined, init);
const saved = (savedFor: string) => ({ status: 200, body: { savedFor } });
const over = { status: 401, body: { code: 'session_over', impersonation: true } };

/** An access token with another payload, under its old signature. */
function forged(token: string, change: object): string {
  const [header, payload, signature] = token.split('.') as [string, string, string];
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object;
  const changed = Buffer.from(JSON.stringify({ ...claims, ...change })).toString('base64url');
  return [header, changed, signature].join('.');
}

const removals: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const remove of removals.splice(0)) await remove();
});

describe.each(adapters)('impersonation over %s', (adapter) => {
  const apps = accountApps(adapter);
  const start = async () => {
    const database = await databases[0]!.create();
    removals.push(async () => database.remove());
    const cookies = {
      accessName: 'admin_access',
      refreshName: 'admin_refresh',
      lookAgainName: 'admin_again',
    };
    const admins = SessionModule.forRoot({ name: 'admin', database: database.options, cookies });
    const app = await apps({}, { metadata: { imports: [admins], controllers: [SupportController] } });
    return app;
  };
  /** A browser in which Eve acts as Ann, and the access tokens of both. */
  const acting = async () => {
    const app = await start();
    const browser = await app.signIn({ userId: 'eve' });
    expect((await browser.post('/support/start')).status).toBe(200);
    const own = cookieOf(browser, 'session_access').value;
    const refresh = cookieOf(browser, 'session_refresh').value;
    return { app, browser, own, refresh, token: browser.cookie('session_access_as')!.value };
  };

  it('cannot be forged: not who is impersonated, not by whom, and not that it is one', async () => {
    const { app, own, token } = await acting();
    const sid = '0190abcd-0000-7000-8000-000000000002';
    for (const text of [
      forged(token, { sub: 'bob' }),
      forged(token, { act: { sub: 'root', sid } }),
      forged(token, { act: undefined }),
      forged(token, { exp: 2_000_000_000 }),
      forged(own, { act: { sub: 'root', sid } }),
      forged(own, { sub: 'ann', act: { sub: 'eve', sid } }),
    ]) {
      for (const headers of [
        { cookie: `${ACTING}=${text}` },
        { cookie: `${ACCESS}=${text}` },
        { authorization: `Bearer ${text}` },
      ]) {
        expect((await form(app.browser(), { headers })).status).toBe(401);
      }
    }
  });

  it.each<[what: string, cookie: (of: Awaited<ReturnType<typeof acting>>) => string]>([
    ['nothing', () => ''],
    ['junk', () => 'junk'],
    ['what begins like a token', () => 'eyJ.e30.x'],
    [
      'the token of somebody else',
      () => `eyJhbGciOiJIUzI1NiJ9.${Buffer.from('{"sub":"ann"}').toString('base64url')}.x`,
    ],
    ['their access token', ({ own }) => own],
    ['their refresh token', ({ refresh }) => refresh],
  ])('does not begin with %s in its cookie', async (_what, cookie) => {
    const each = await acting();
    const headers = { cookie: `${ACCESS}=${each.own}; ${ACTING}=${cookie(each)}` };
    expect(await form(each.app.browser(), { headers })).toMatchObject(saved('eve'));
  });

  it('is found among cookies that somebody else has set', async () => {
    const { app, own, token } = await acting();
    const bad = forged(token, { sub: 'bob' });
    for (const values of [
      ['junk', token],
      [own, token],
      [bad, token],
      [token, bad],
    ]) {
      const cookie = [`${ACCESS}=${own}`, ...values.map((value) => `${ACTING}=${value}`)].join('; ');
      expect(await form(app.browser(), { headers: { cookie } })).toMatchObject(saved('ann'));
    }
    // It is not known what the client means. So it is nobody.
    const headers = { cookie: `${ACCESS}=${own}; ${ACTING}=${bad}` };
    expect(await form(app.browser(), { headers })).toMatchObject(over);
  });

  it('is the same in other places, and gives nobody a session of their own there', async () => {
    const { app, own, refresh, token } = await acting();
    const others = [
      { cookie: `${ACCESS}=${token}; ${REFRESH}=${refresh}` },
      { authorization: `Bearer ${token}`, cookie: `${ACCESS}=${own}; ${REFRESH}=${refresh}` },
    ];
    for (const headers of others) expect(await form(app.browser(), { headers })).toMatchObject(saved('ann'));
    pass(TTL);
    for (const headers of others) {
      const answer = await form(app.browser(), { headers });
      expect(answer).toMatchObject(over);
      expect(answer.setCookies).toEqual([]);
    }
    const inRefreshCookie = { headers: { cookie: `${REFRESH}=${token}` } };
    expect((await form(app.browser(), inRefreshCookie)).status).toBe(401);
    await expect(app.sessions.tokens.refresh(token)).rejects.toThrow('The session is over. Sign in again.');
  });

  it('of one module is none of another', async () => {
    const { app, browser, token } = await acting();
    expect(await browser.post('/support/admin-form')).toMatchObject(refusal(401, 'no_credentials'));
    expect((await browser.post('/support/admin-login')).status).toBe(200);
    expect(await browser.post('/support/admin-form')).toMatchObject(saved('root'));
    expect(await form(browser)).toMatchObject(saved('ann'));
    const init = { headers: { authorization: `Bearer ${token}` } };
    expect((await app.browser().post('/support/admin-form', undefined, init)).status).toBe(401);
    expect((await browser.post('/support/admin-start')).status).toBe(200);
    expect(await browser.post('/support/admin-form')).toMatchObject(saved('other admin'));
    expect(browser.cookie('admin_access_as')).toBeDefined();
    pass(TTL);
    expect(await browser.post('/support/admin-form')).toMatchObject(over);
    expect(await form(browser)).toMatchObject(over);
  });
});
