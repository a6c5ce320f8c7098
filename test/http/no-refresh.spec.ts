import { Controller, Get, Post, Req, Res, UseGuards } from '@nestjs/common';
import {
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  NoRefresh,
  OptionalSession,
  SessionGuard,
  SessionService,
} from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { pass } from '../support/time.js';
import { ACCESS, accountApps, refusal, setCookieNames } from './account-app.js';

@Controller('pages')
@NoRefresh()
export class PagesController {
  constructor(private readonly sessions: SessionService) {}

  @UseGuards(SessionGuard)
  @Get('me')
  me(@CurrentSession('userId') userId: string): object {
    return { userId };
  }

  @OptionalSession()
  @UseGuards(SessionGuard)
  @Get('visitor')
  visitor(@CurrentSession('userId') userId?: string): object {
    return { userId: userId ?? null };
  }

  @NoRefresh(false)
  @UseGuards(SessionGuard)
  @Get('refreshing')
  refreshing(@CurrentSession('userId') userId: string): object {
    return { userId };
  }

  @NoRefresh(false)
  @NoRefresh(true, 'other')
  @UseGuards(SessionGuard)
  @Get('other')
  other(@CurrentSession('userId') userId: string): object {
    return { userId };
  }

  @UseGuards(SessionGuard)
  @Post('order')
  order(@CurrentSession('userId') userId: string): object {
    return { userId };
  }

  /** Without the guard. */
  @Get('asked')
  async asked(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<object> {
    const { userId } = await this.sessions.authenticate(request, response, { refresh: false });
    return { userId };
  }
}

describe.each(adapters)('a route that must not exchange, over %s', (adapter) => {
  const start = accountApps(adapter);
  const metadata = { controllers: [PagesController] };
  const ALICE = { status: 200, body: { userId: 'alice' } };

  it.each(['me', 'visitor', 'asked'])(
    'tells a client to refresh whose access token has expired, and changes nothing: %s',
    async (path) => {
      const app = await start({}, { metadata });
      const browser = await app.signIn();
      expect(await browser.get(`/pages/${path}`)).toMatchObject(ALICE);
      pass('16m');
      const [row] = await app.rows();
      for (const lost of [undefined, 'session_access']) {
        if (lost) browser.delete(lost);
        const answer = await browser.get(`/pages/${path}`);
        expect(answer).toMatchObject(refusal(401, 'try_refresh'));
        expect(answer.setCookies).toEqual([]);
      }
      expect(await app.rows()).toEqual([row]);
      expect(await browser.get('/me')).toMatchObject({ status: 200 });
      expect(await browser.get(`/pages/${path}`)).toMatchObject(ALICE);
    },
  );

  it.each(['refreshing', 'other'])('may be excepted: %s', async (path) => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    pass('16m');
    expect(await browser.get(`/pages/${path}`)).toMatchObject(ALICE);
  });

  it('lets through who has nothing to refresh where signing in is optional', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    pass('16m');
    browser.delete('session_refresh');
    expect(await browser.get('/pages/visitor')).toMatchObject({ status: 200, body: { userId: null } });
    expect(await browser.get('/pages/me')).toMatchObject(refusal(401, 'try_refresh'));
    browser.delete('session_access');
    expect(await browser.get('/pages/me')).toMatchObject(refusal(401, 'no_credentials'));
  });

  it('proves a generation as every route does: the client has sent the token itself', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    pass('16m');
    await browser.get('/me');
    pass('91s');
    expect(setCookieNames(await browser.get('/pages/me'))).toEqual([ACCESS]);
    expect(await app.rows()).toMatchObject([{ generation: 1 }]);
  });

  it('leaves it to the refresh token whether the session is over', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    await app.sessions.revokeAllForUser('alice');
    expect(await browser.get('/pages/me')).toMatchObject(refusal(401, 'try_refresh'));
    expect((await browser.get('/me')).body).toMatchObject({ code: 'session_over' });
  });

  it('refuses what another site may have sent first', async () => {
    const app = await start({ csrf: { mode: 'token' } }, { metadata });
    const browser = await app.signIn();
    expect(await browser.post('/pages/order')).toMatchObject(refusal(403, 'csrf_failed'));
    pass('16m');
    expect(await browser.post('/pages/order')).toMatchObject(refusal(401, 'try_refresh'));
    browser.delete('session_access');
    expect(await browser.post('/pages/order')).toMatchObject(refusal(401, 'try_refresh'));
  });
});
