import { Controller, HttpCode, Post, Req, Res, UseGuards } from '@nestjs/common';
import {
  type ActiveSession,
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  OptionalSession,
  RequireFresh,
  type SessionChanges,
  SessionGuard,
  type SessionInput,
  SessionService,
} from 'nestjs-session-tokens';
import { describe, expect, it, vi } from 'vitest';
import { SessionStore } from '../../lib/storage/session.store.js';
import { SessionManager } from '../../lib/session/session-manager.js';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { databases } from '../support/databases.js';
import { DAY, HOUR, MINUTE, pass, SETTLED, TTL } from '../support/time.js';
import { useWorld } from '../support/world.js';
import { accessTokenOf, type AccountApp, accountApps, refusal } from './account-app.js';

@Controller('fresh')
@UseGuards(SessionGuard)
@RequireFresh('5m')
class FreshController {
  constructor(private readonly sessions: SessionService) {}

  @Post('email')
  @HttpCode(200)
  email(@CurrentSession() session: ActiveSession): object {
    return { userId: session.userId, amr: session.amr, at: session.authenticatedAt };
  }

  @RequireFresh(60)
  @Post('password')
  @HttpCode(200)
  password(@CurrentSession('authenticatedAt') at: Date): object {
    return { at };
  }

  @RequireFresh(false)
  @Post('nickname')
  @HttpCode(200)
  nickname(@CurrentSession('id') id: string): object {
    return { id };
  }

  @OptionalSession()
  @Post('visitor')
  @HttpCode(200)
  visitor(@CurrentSession('userId') userId?: string): object {
    return { userId: userId ?? null };
  }

  @RequireFresh(false)
  @Post('confirm')
  @HttpCode(200)
  async confirm(
    @Req() request: HttpRequest & { body?: SessionChanges & { keeps?: boolean } },
    @Res({ passthrough: true }) response: HttpResponse,
    @CurrentSession() present: ActiveSession,
  ): Promise<object> {
    const { keeps, ...changes } = request.body ?? {};
    const kept = keeps ? { authenticatedAt: present.authenticatedAt } : {};
    const session = await this.sessions.reauthenticate(request, response, { ...changes, ...kept });
    return { id: session.id, amr: session.amr, claims: session.claims, at: session.authenticatedAt };
  }
}

const reauthenticate = async (browser: Browser, changes: object = {}) =>
  browser.post('/fresh/confirm', changes);

const insufficient = (maxAge: number) => ({
  status: 401,
  body: {
    statusCode: 401,
    code: 'insufficient_user_authentication',
    message: expect.any(String) as string,
    maxAge,
  },
});

describe.each(adapters)('a route that needs a recent proof over %s', (adapter) => {
  const apps = accountApps(adapter);
  const start = async (options = {}) => apps(options, { metadata: { controllers: [FreshController] } });

  it('is open for as long as the proof is recent, and then says so; the session goes on', async () => {
    const app = await start();
    const browser = await app.signIn();
    pass('60s');
    expect((await browser.post('/fresh/password')).status).toBe(200);
    pass('1s');
    const answer = await browser.post('/fresh/password');
    expect(answer).toMatchObject(insufficient(60));
    expect(answer.headers.get('www-authenticate')).toBe(
      'Bearer error="insufficient_user_authentication", max_age=60',
    );
    expect((await browser.post('/fresh/email')).status).toBe(200);
    pass('4m');
    expect(await browser.post('/fresh/email')).toMatchObject(insufficient(300));
    for (const path of ['/fresh/nickname', '/orders']) expect((await browser.post(path)).status).toBe(200);
  });

  it('is not opened by a refresh, nor by the first use of its token, nor by new claims', async () => {
    const app = await start();
    const browser = await app.signIn({ userId: 'alice', amr: ['pwd'] });
    const at = accessTokenOf(browser)['auth_time'];
    for (let turn = 0; turn < 3; turn++) {
      pass(TTL + MINUTE);
      expect(await browser.post('/fresh/email')).toMatchObject(insufficient(300));
      pass(SETTLED);
      await browser.request('PUT', '/claims', { body: { turn } });
      expect(await browser.post('/fresh/email')).toMatchObject(insufficient(300));
      expect(accessTokenOf(browser)).toMatchObject({ amr: ['pwd'], turn });
      expect(accessTokenOf(browser)['auth_time']).toBe(at);
    }
  });

  it('is for nobody who is not signed in, also where signing in is optional', async () => {
    const app = await start();
    expect(await app.browser().post('/fresh/email')).toMatchObject(refusal(401, 'no_credentials'));
    expect(await app.browser().post('/fresh/visitor')).toMatchObject({ status: 200, body: { userId: null } });
    const browser = await app.signIn();
    expect(await browser.post('/fresh/visitor')).toMatchObject({ status: 200, body: { userId: 'alice' } });
    pass('6m');
    expect(await browser.post('/fresh/visitor')).toMatchObject(insufficient(300));
  });

  it('goes by the time of the identity provider', async () => {
    const app = await start();
    const { accessToken } = await app.sessions.tokens.issue({
      userId: 'alice',
      authenticatedAt: new Date(Date.now() - 4 * MINUTE),
      amr: ['pwd', 'otp'],
    });
    const post = async () =>
      app
        .browser()
        .post('/fresh/email', undefined, { headers: { authorization: `Bearer ${accessToken.token}` } });
    expect(await post()).toMatchObject({ status: 200, body: { amr: ['pwd', 'otp'] } });
    pass('61s');
    expect(await post()).toMatchObject(insufficient(300));
  });

  describe('is opened by another proof', () => {
    it('with a new session that has what the old one had, which ends', async () => {
      const app = await start({ csrf: { mode: 'origin' } });
      const browser = await app.signIn({
        userId: 'alice',
        claims: { role: 'user' },
        data: { cart: [1] },
        remember: false,
        ttl: '7d',
        absoluteTtl: '20d',
      });
      const [before] = await app.rows();
      const copy = browser.copy();
      pass(TTL + MINUTE);
      const answer = await reauthenticate(browser, { amr: ['pwd'] });
      expect(answer).toMatchObject({ status: 200, body: { amr: ['pwd'], claims: { role: 'user' } } });
      expect(await browser.post('/fresh/email')).toMatchObject({ status: 200 });
      const [old, next] = await app.rows();
      expect(old).toMatchObject({ id: before!.id, revokedReason: 'replaced' });
      const { id: _id, secretHash, createdAt, lastSeenAt, expiresAt, endsAt, amr, ...same } = before!;
      expect(next).toMatchObject({
        ...same,
        amr: '["pwd"]',
        createdAt: Date.now(),
        lastSeenAt: Date.now(),
        expiresAt: Date.now() + 7 * DAY,
        endsAt: Date.now() + 20 * DAY,
      });
      expect([next!.secretHash === secretHash, createdAt, lastSeenAt, expiresAt, endsAt, amr]).toEqual([
        false,
        old!.createdAt,
        old!.createdAt,
        old!.createdAt + 7 * DAY,
        old!.createdAt + 20 * DAY,
        null,
      ]);
      pass(HOUR);
      // Who holds a copy of the old tokens has nothing.
      expect((await copy.get('/me')).status).toBe(401);
      expect((await browser.get('/me')).status).toBe(200);
    });

    it('and requests under way with the old tokens go on with the new ones', async () => {
      const app = await start();
      const browser = await app.signIn();
      const late = { cookie: browser.cookieHeader('/') };
      pass('6m');
      await reauthenticate(browser);
      for (const wait of [0, MINUTE, 10 * MINUTE, HOUR]) {
        pass(wait);
        expect(await browser.get('/me', { headers: late })).toMatchObject({
          status: 200,
          body: { userId: 'alice' },
        });
        expect((await browser.get('/me')).status).toBe(200);
      }
    });

    it('or by a change of privilege, which is no proof', async () => {
      const app = await start();
      const browser = await app.signIn({ userId: 'alice', claims: { role: 'user' }, amr: ['pwd'] });
      pass('4m');
      const answer = await reauthenticate(browser, { claims: { role: 'admin' }, keeps: true });
      expect(answer.body).toMatchObject({ claims: { role: 'admin' } });
      expect((await browser.post('/fresh/email')).status).toBe(200);
      pass('61s');
      expect(await browser.post('/fresh/email')).toMatchObject(insufficient(300));
    });

    it.each<[string, number, (app: AccountApp, id: string) => Promise<unknown>]>([
      ['revoke', 401, async ({ sessions }, id) => sessions.revoke(id, { reason: 'admin' })],
      ['revokeMany', 401, async ({ sessions }, id) => sessions.revokeMany([id], { reason: 'admin' })],
      [
        'revokeAllForUser',
        401,
        async ({ sessions }) => sessions.revokeAllForUser('alice', { reason: 'admin' }),
      ],
      ['revokeAll', 401, async ({ sessions }) => sessions.revokeAll({ reason: 'admin' })],
      [
        'revokeAllForUser, whose process dies before a row has ended,',
        401,
        async ({ sessions }) => {
          const ending = vi.spyOn(SessionStore.prototype, 'endMany').mockRejectedValueOnce(new Error('dead'));
          await sessions.revokeAllForUser('alice', { reason: 'admin' }).catch(() => undefined);
          ending.mockRestore();
        },
      ],
      [
        'revokeAllForUser of all others',
        200,
        async ({ sessions }, except) => sessions.revokeAllForUser('alice', { except, reason: 'admin' }),
      ],
    ])('and %s in the middle of it counts (%i)', async (_, status, revoke) => {
      const app = await start({});
      const browser = await app.signIn();
      const { id } = (await browser.get('/me')).body as { id: string };
      pass('10s');
      // The old session has been read, and the new one is not there yet.
      const inputForNext = Reflect.get(SessionManager.prototype, 'inputForNext');
      const reading = vi.spyOn(SessionManager.prototype, 'inputForNext');
      reading.mockImplementationOnce(async function (this: SessionManager, ...parameters) {
        const input = await inputForNext.apply(this, parameters);
        await revoke(app, id);
        pass(1);
        return input;
      });
      const answer = await reauthenticate(browser, { amr: ['pwd'] });
      reading.mockRestore();
      expect(answer.status).toBe(status);
      const live = (await app.sessions.findAllForUser('alice')).sessions;
      expect(live.filter((each) => each.id !== id)).toHaveLength(status === 200 ? 1 : 0);
      const over = status === 200 ? {} : { body: { code: 'session_over', reason: 'admin' } };
      expect(answer).toMatchObject(over);
      pass('1s');
      expect((await browser.get('/me')).status).toBe(status);
    });

    it('but not without a session', async () => {
      const app = await start();
      const answer = await app.browser().post('/fresh/confirm');
      expect(answer).toMatchObject(refusal(401, 'no_credentials'));
      expect(await app.rows()).toEqual([]);
    });
  });
});

describe.each(databases)('when and how a user proved who they are, on $name', (kind) => {
  const world = useWorld(kind);

  it('is in lists and tokens', async () => {
    const sessions = await world.process();
    const plain = await sessions.tokens.issue({ userId: 1 });
    expect(plain.session).toMatchObject({ authenticatedAt: new Date(), amr: [] });
    const verified = await sessions.tokens.verify(plain.accessToken.token);
    expect(verified).toMatchObject({ authenticatedAt: new Date(), amr: [] });
    const authenticatedAt = new Date(Date.now() - HOUR);
    const { session, refreshToken } = await sessions.tokens.issue({
      userId: 2,
      authenticatedAt,
      amr: ['hwk', 'pin'],
    });
    pass(TTL);
    const refreshed = await sessions.tokens.refresh(refreshToken.token);
    pass(SETTLED);
    const { newAccessToken } = await sessions.tokens.verify(refreshed.accessToken.token);
    const expected = { authenticatedAt, amr: ['hwk', 'pin'] };
    for (const each of [
      session,
      refreshed.session,
      await sessions.find(session.id),
      (await sessions.findAllForUser(2)).sessions[0],
      await sessions.tokens.verify(newAccessToken!.token),
    ]) {
      expect(each).toMatchObject(expected);
    }
  });

  it.each<[unknown, RegExp]>([
    [{ authenticatedAt: new Date(Number.NaN) }, /"authenticatedAt" must be a Date/],
    [{ authenticatedAt: 5 }, /"authenticatedAt" must be a Date/],
    [{ authenticatedAt: null }, /"authenticatedAt" must be a Date/],
    [{ amr: 'pwd' }, /"amr" must be a list/],
    [{ amr: [1] }, /"amr" must be a list/],
    [{ amr: [''] }, /"amr" must be a list/],
    [{ amr: ['päss'] }, /"amr" must be a list/],
    [{ amr: Array(100).fill('pwd') }, /"amr" must be a list/],
  ])('is refused where it cannot be: %o', async (wrong, message) => {
    const sessions = await world.process();
    const input = { userId: 1, ...(wrong as object) } as SessionInput;
    await expect(sessions.tokens.issue(input)).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringMatching(message) as string,
    });
  });

  it('is not in the future', async () => {
    const sessions = await world.process();
    const ahead = { userId: 1, authenticatedAt: new Date(Date.now() + 5 * MINUTE) };
    expect((await sessions.tokens.issue(ahead)).session.authenticatedAt).toEqual(new Date());
    const future = { userId: 1, authenticatedAt: new Date(Date.now() + 5 * MINUTE + 1) };
    await expect(sessions.tokens.issue(future)).rejects.toMatchObject({ code: 'invalid_input' });
  });
});

describe('@RequireFresh', () => {
  it.each(['soon', -1, Number.NaN, undefined])('refuses what is no duration: %o', (maxAge) => {
    expect(() => RequireFresh(maxAge as string)).toThrow(/RequireFresh.*needs a duration/);
  });
});
