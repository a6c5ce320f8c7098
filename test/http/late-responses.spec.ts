import { setTimeout as delay } from 'node:timers/promises';
import { Controller, Get, Header, Post, Query, Req, Res, Sse, UseGuards } from '@nestjs/common';
import {
  ActiveSession,
  type HttpRequest,
  type HttpResponse,
  Session,
  SessionGuard,
  SessionService,
} from 'nestjs-session-tokens';
import { of } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import type { Answer, Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import { ACCESS, accountApps, MARKER, REFRESH, setCookieNames } from './account-app.js';

/** The gate for which handlers wait. A case opens it after the time and the events that it needs. */
let gate: { readonly reached: () => void; readonly opened: Promise<void> };

function closeGate(): { reached: Promise<void>; open: () => void } {
  let [reached, open] = [() => {}, () => {}];
  const isReached = new Promise<void>((resolve) => (reached = resolve));
  gate = { reached, opened: new Promise<void>((resolve) => (open = resolve)) };
  return { reached: isReached, open };
}

function ownCookie(response: HttpResponse): void {
  if ('append' in response)
    (response.append as (name: string, value: string) => void)('set-cookie', 'own=1; Path=/');
  else if ('header' in response) response.header('set-cookie', 'own=1; Path=/');
}

@Controller()
@UseGuards(SessionGuard)
class SlowController {
  constructor(private readonly sessions: SessionService) {}

  /** Does what `then` says, before or after a long time. */
  @Post('slow')
  @Header('x-own', 'stays')
  async slow(
    @Session() session: ActiveSession,
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
    @Query('first') first?: string,
    @Query('then') then?: string,
  ): Promise<object> {
    ownCookie(response);
    const present = await this.do(first, session, request, response);
    gate.reached();
    await gate.opened;
    await this.do(then, present, request, response);
    return { userId: session.userId };
  }

  @Sse('stream')
  stream(): unknown {
    return of({ data: 'first' });
  }

  @Get('quick')
  quick(): object {
    return {};
  }

  private async do(
    what: string | undefined,
    session: ActiveSession,
    request: HttpRequest,
    response: HttpResponse,
  ): Promise<ActiveSession> {
    if (what === 'create') return this.sessions.create(request, response, { userId: 'bob' });
    if (what === 'claims') await session.updateClaims({ role: 'admin' });
    if (what === 'revoke') await session.revoke();
    if (what === 'clear') this.sessions.clearCookies(response);
    return session;
  }
}

const metadata = { controllers: [SlowController] };

const OURS = [ACCESS, REFRESH];
/** Of somebody who acts as another user. */
const ACTING = `${ACCESS}_as`;

/** Sends a request to the slow handler; `meanwhile` runs while that waits. */
async function slowly(
  browser: Browser,
  query: string,
  meanwhile: () => unknown,
  init: { headers?: Record<string, string>; at?: string } = {},
): Promise<Answer> {
  const { reached, open } = closeGate();
  const answer = browser.post(`/slow${query}`, undefined, init);
  await Promise.race([reached, answer]);
  await meanwhile();
  open();
  return answer;
}

describe.each(adapters)('a response that leaves late over %s', (adapter) => {
  const start = accountApps(adapter);

  it.each<[what: string, query: string, pause: string, ours: string[]]>([
    ['of a refresh in time has its tokens', '', '10s', OURS],
    ['of a refresh has none', '', '10001ms', []],
    ['of a refresh has none, nor new claims', '?then=claims', '11s', []],
    ['of a refresh has none, nor claims from before', '?first=claims', '11s', []],
    ['of a sign-in has its tokens', '?first=create', '1h', OURS],
    ['of a sign-in at its end has its tokens', '?then=create', '1h', OURS],
    ['of a sign-in with new claims has its tokens', '?first=create&then=claims', '1h', OURS],
    ['of a sign-out takes the cookies', '?first=revoke', '1h', [...OURS, MARKER]],
    ['of a sign-out at its end takes the cookies', '?then=revoke', '1h', [...OURS, MARKER]],
    ['that clears the cookies clears them', '?then=clear', '1h', [...OURS, ACTING, MARKER]],
  ])('%s', async (_, query, pause, ours) => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    pass('16m');
    const answer = await slowly(browser, query, () => pass(pause));
    expect(answer).toMatchObject({ status: 201, body: { userId: 'alice' } });
    expect(answer.headers.get('x-own')).toBe('stays');
    expect(setCookieNames(answer)).toEqual([...ours, 'own'].toSorted());
    // With or without tokens in the response, nobody is signed out by mistake.
    expect((await browser.get('/me')).status).toBe(/revoke|clear/.test(query) ? 401 : 200);
  });

  it('goes on with the next request, which refreshes again', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    for (let round = 0; round < 3; round++) {
      pass('16m');
      await slowly(browser, '', () => pass('1m'));
      expect(setCookieNames(await browser.get('/me'))).toEqual(OURS);
      pass('90s');
      expect(setCookieNames(await browser.get('/me'))).toEqual([ACCESS]);
    }
  });

  it('has no proven access token either, and no tokens in headers', async () => {
    const app = await start({ csrf: { mode: 'token' } }, { metadata });
    const browser = await app.signIn();
    const csrf = (await browser.post('/login', { userId: 'alice' })).headers.get('anti-csrf')!;
    const init = { headers: { 'anti-csrf': csrf } };
    pass('16m');
    const refreshed = await slowly(browser, '', () => pass('11s'), init);
    expect(refreshed.status).toBe(201);
    expect(refreshed.headers.get('anti-csrf')).toBeNull();
    const inTime = await slowly(browser, '', () => pass('9s'), init);
    expect(inTime.headers.get('anti-csrf')).toBe(csrf);
    pass('90s');
    expect(setCookieNames(await slowly(browser, '', () => pass('11s'), init))).toEqual(['own']);
    expect(setCookieNames(await slowly(browser, '', () => pass('9s'), init))).toEqual([ACCESS, 'own']);
  });

  it('has no token in a header for a client without cookies', async () => {
    const app = await start({}, { metadata });
    const { refreshToken } = await app.sessions.tokens.issue({ userId: 'carol' });
    pass('16m');
    const { accessToken } = await app.sessions.tokens.refresh(refreshToken.token);
    const init = { headers: { authorization: `Bearer ${accessToken.token}` } };
    pass('90s');
    const client = app.browser();
    const late = await slowly(client, '', () => pass('11s'), init);
    expect(late).toMatchObject({ status: 201, body: { userId: 'carol' } });
    expect(late.headers.get('access-token')).toBeNull();
    const inTime = await slowly(client, '', () => pass('9s'), init);
    expect(inTime.headers.get('access-token')).toMatch(/^eyJ/);
  });

  it('keeps what left with its headers at once', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    pass('16m');
    const answer = await browser.get('/stream');
    expect(answer).toMatchObject({ status: 200, body: expect.stringContaining('data: first') as string });
    expect(setCookieNames(answer)).toEqual(OURS);
  });

  describe('of a session that has ended meanwhile', () => {
    it.each<[what: string, query: string, isExpired: boolean]>([
      ['a refresh', '', true],
      ['a refresh with new claims', '?first=claims', true],
      ['new claims alone', '?first=claims', false],
    ])('has no tokens: %s', async (_, query, isExpired) => {
      const app = await start({}, { metadata });
      const browser = await app.signIn();
      if (isExpired) pass('16m');
      const [session] = (await app.sessions.findAllForUser('alice')).sessions;
      const answer = await slowly(browser, query, () => app.sessions.revoke(session!.id));
      expect(answer.status).toBe(201);
      expect(setCookieNames(answer)).toEqual(['own']);
    });

    it('does not sign out another user who has signed in with the same browser', async () => {
      const app = await start({}, { metadata });
      const browser = await app.signIn();
      pass('16m');
      const answer = await slowly(browser, '', () => browser.post('/login', { userId: 'bob' }));
      expect(answer.body).toEqual({ userId: 'alice' });
      expect(setCookieNames(answer)).toEqual(['own']);
      expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'bob' } });
    });

    it('nor where that was in another process', async () => {
      const app = await start({ revocation: 'none' }, { metadata });
      const other = await start({ revocation: 'none' }, { database: app.database });
      const browser = await app.signIn();
      pass('16m');
      const answer = await slowly(browser, '', async () => {
        await browser.post('/login', { userId: 'bob' }, { at: other.url });
        await delay(1_500); // this process looks once a second
      });
      expect(setCookieNames(answer)).toEqual(['own']);
      expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'bob' } });
    });
  });

  it('costs nothing where the client has gone', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    pass('16m');
    const { reached, open } = closeGate();
    const controller = new AbortController();
    const request = fetch(`${app.url}/slow`, {
      method: 'POST',
      headers: { cookie: browser.cookieHeader('/') },
      signal: controller.signal,
    }).catch((error: unknown) => error);
    await reached;
    controller.abort();
    await request;
    open();
    await app.sessions.revokeAllForUser('alice');
    expect((await app.browser().get('/quick')).status).toBe(401);
  });
});
