import { Body, Controller, HttpCode, Post, Req, Res, UseGuards } from '@nestjs/common';
import { decodeJwt, type JWTPayload } from 'jose';
import {
  type ActiveSession,
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  ImpersonationRefusedError,
  type ImpersonationInput,
  NoImpersonation,
  OptionalSession,
  RequireFresh,
  type SessionChanges,
  type SessionEvent,
  SessionGuard,
  type SessionModuleExtras,
  type SessionModuleOptions,
  SessionNotFoundError,
  SessionOverError,
  SessionService,
  SkipSession,
  type UserId,
} from 'nestjs-session-tokens';
import { describe, expect, it, vi } from 'vitest';
import { adapters } from '../support/app.js';
import type { Answer, Browser } from '../support/browser.js';
import { databases } from '../support/databases.js';
import { DAY, MINUTE, pass, SECOND, SETTLED, START, TTL } from '../support/time.js';
import { type AccountApp, accountApps, refusal, setCookieNames } from './account-app.js';

const ACTING = '__Host-Http-session_access_as';

@Controller('acting')
@UseGuards(SessionGuard)
class ActingController {
  constructor(private readonly sessions: SessionService) {}

  @Post('start')
  @HttpCode(200)
  async start(
    @Body() input: ImpersonationInput,
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<ActiveSession> {
    return this.sessions.impersonate(request, response, input);
  }

  @SkipSession()
  @Post('stop')
  @HttpCode(200)
  async stop(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<object> {
    return { ended: await this.sessions.endImpersonation(request, response) };
  }

  @SkipSession()
  @Post('refresh')
  @HttpCode(200)
  async refresh(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<ActiveSession> {
    return this.sessions.refresh(request, response);
  }

  @Post('reauthenticate')
  @HttpCode(200)
  async reauthenticate(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
    @Body() changes: SessionChanges,
  ): Promise<ActiveSession> {
    return this.sessions.reauthenticate(request, response, changes);
  }

  /** A form: whose data does it change? */
  @Post('form')
  @HttpCode(200)
  form(@CurrentSession('userId') savedFor: UserId, @CurrentSession('actor') by: object | undefined): object {
    return { savedFor, by };
  }

  @OptionalSession()
  @Post('comment')
  @HttpCode(200)
  comment(@CurrentSession('userId') savedFor?: UserId): object {
    return { savedFor: savedFor ?? 'nobody' };
  }

  @RequireFresh('1h')
  @Post('password')
  @HttpCode(200)
  password(@CurrentSession('userId') savedFor: UserId): object {
    return { savedFor };
  }

  @NoImpersonation()
  @Post('pay')
  @HttpCode(200)
  pay(@CurrentSession('userId') savedFor: UserId): object {
    return { savedFor };
  }
}

@Controller('private')
@UseGuards(SessionGuard)
@NoImpersonation()
class PrivateController {
  @Post('money')
  @HttpCode(200)
  money(): object {
    return {};
  }

  @NoImpersonation(false)
  @Post('name')
  @HttpCode(200)
  name(): object {
    return {};
  }
}

const metadata = { controllers: [ActingController, PrivateController] };

const over = (reason?: string) => ({
  status: 401,
  body: {
    statusCode: 401,
    code: 'session_over',
    message: 'You do not act as another user any more. End the impersonation to go on as yourself.',
    ...(reason !== undefined && { reason }),
    impersonation: true,
  },
});
const refused = refusal(403, 'impersonation_refused');
const savedFor = (userId: UserId) => ({ status: 200, body: { savedFor: userId } });

/** The cookie of an impersonation; undefined if the browser has none. */
const actingCookie = (browser: Browser) => browser.cookie('session_access_as');
const actingToken = (browser: Browser): JWTPayload => decodeJwt(actingCookie(browser)!.value);
const form = async (browser: Browser, init = {}) => browser.post('/acting/form', { name: 'new' }, init);
/** The request header with the CSRF token that a response has. */
const csrfOf = ({ headers }: Answer) => ({ headers: { 'anti-csrf': headers.get('anti-csrf')! } });
const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

describe.each(adapters.flatMap((adapter) => databases.map((kind) => ({ adapter, kind, name: kind.name }))))(
  'an administrator who acts as a user over $adapter on $name',
  ({ adapter, kind }) => {
    const apps = accountApps(adapter, kind);
    const start = async (
      options: SessionModuleOptions & SessionModuleExtras = {},
      settings: { database?: AccountApp['database'] } = {},
    ) => apps(options, { metadata, ...settings });

    /** A browser in which the administrator 7 acts as Ann. */
    const acting = async (
      options: SessionModuleOptions & SessionModuleExtras = {},
      input: object = {},
      admin: object = {},
    ) => {
      const app = await start(options);
      const events: SessionEvent[] = [];
      app.sessions.events.subscribe((event) => events.push(event));
      const browser = await app.signIn({ userId: 7, claims: { role: 'admin' }, amr: ['pwd'], ...admin });
      const before = await browser.get('/me');
      const own = (before.body as { id: string }).id;
      const answer = await browser.post('/acting/start', { userId: 'ann', ...input });
      expect(answer).toMatchObject({ status: 200, body: { userId: 'ann' } });
      const { id } = answer.body as { id: string };
      return { app, browser, events, own, id, answer };
    };

    describe('is shown beside the user', () => {
      it('in the session, in the access token, in lists and in events, with the type of the id', async () => {
        const input = { claims: { role: 'user' }, data: { theme: 'dark' }, reason: 'case 4711 – ü' };
        const { app, browser, events, own, id } = await acting({}, input);
        const actor = { userId: 7, sessionId: own };
        const told = { ...actor, reason: 'case 4711 – ü' };
        const me = await browser.get('/me');
        expect(me.body).toMatchObject({ id, userId: 'ann', claims: { role: 'user' }, actor, amr: ['pwd'] });
        expect((me.body as { actor: object }).actor).toEqual(actor);
        expect(actingToken(browser)).toEqual({
          sub: 'ann',
          sid: id,
          act: { sub: '7', uid: 7, sid: own },
          auth_time: START / SECOND,
          amr: ['pwd'],
          role: 'user',
          iat: START / SECOND,
          exp: (START + TTL) / SECOND,
        });
        expect((await app.sessions.findAllForUser('ann')).sessions).toMatchObject([
          { id, actor: told, data: { theme: 'dark' }, expiresAt: new Date(START + TTL) },
        ]);
        expect((await app.sessions.findAllForUser(7)).sessions.map((each) => [each.id, each.actor])).toEqual([
          [own, undefined],
        ]);
        await app.sessions.revoke(id, { reason: 'user', by: 'ann' });
        const parties = { sessionId: id, userId: 'ann', actor: told };
        expect(events.filter(({ sessionId }) => sessionId === id)).toMatchObject([
          { type: 'created', ...parties, device: { userAgent: 'Mozilla/5.0 (test)' } },
          { type: 'revoked', ...parties, reason: 'user', by: 'ann' },
        ]);
      });

      it('in the events of other processes', async () => {
        const { app, browser, id, own } = await acting({}, { reason: 'case 1' });
        const other = await start(
          { events: 'everywhere', revocationInterval: '50ms' },
          { database: app.database },
        );
        const heard: SessionEvent[] = [];
        other.sessions.events.subscribe((event) => heard.push(event));
        await browser.post('/acting/stop');
        await vi.waitFor(() => {
          expect(heard).toMatchObject([
            {
              type: 'revoked',
              sessionId: id,
              userId: 'ann',
              actor: { userId: 7, sessionId: own, reason: 'case 1' },
              elsewhere: true,
            },
          ]);
        });
      });

      it('and is named as the one who ends it', async () => {
        const { browser, events, id } = await acting();
        expect(await browser.post('/acting/stop')).toMatchObject({ body: { ended: true } });
        expect(events.at(-1)).toMatchObject({ type: 'revoked', sessionId: id, reason: 'logout', by: 7 });
      });
    });

    describe('has a form', () => {
      it.each([
        ['at once', 0, 'ann'],
        ['when the tokens have settled', SETTLED, 'ann'],
        ['a second before the end', TTL - SECOND, 'ann'],
        ['at the end', TTL, undefined],
        ['a second after', TTL + SECOND, undefined],
        ['when the keys have been rotated', 3 * DAY, undefined],
        ['while the refresh cookie lives', 29 * DAY, undefined],
      ])('that is saved for Ann or for nobody, %s', async (_when, wait, who) => {
        const { browser } = await acting();
        pass(wait);
        const first = await form(browser);
        expect(first).toMatchObject(
          who === undefined ? { ...over(), body: { impersonation: true } } : savedFor(who),
        );
        // A request of the page in the background, which is refused as well, must not open the way for the form.
        await browser.get('/me');
        expect((await form(browser)).status).toBe(first.status);
        expect(await browser.post('/acting/stop')).toMatchObject({ body: { ended: true } });
        expect(await form(browser)).toMatchObject(savedFor(7));
      });

      it('that is saved for nobody when all signing keys have been dropped', async () => {
        const { app, browser } = await acting();
        await app.sessions.rotateSigningKeys({ drop: 'all' });
        expect(await form(browser)).toMatchObject(over());
        await browser.post('/acting/stop');
        expect(await form(browser)).toMatchObject(savedFor(7));
      });

      it('that is not saved for the administrator by a late response with new tokens', async () => {
        const app = await start();
        const browser = await app.signIn({ userId: 7 });
        pass(TTL);
        const late = await browser.get('/me', { loseResponse: true });
        expect(await browser.post('/acting/start', { userId: 'ann' })).toMatchObject({ status: 200 });
        for (const cookie of late.setCookies) browser.set(cookie);
        expect(late.setCookies.length).toBeGreaterThan(1);
        expect(await form(browser)).toMatchObject(savedFor('ann'));
        pass(TTL);
        expect(await form(browser)).toMatchObject(over('expired'));
      });

      it('that is saved for nobody where signing in is optional, once it is over', async () => {
        const { browser } = await acting();
        expect(await browser.post('/acting/comment')).toMatchObject(savedFor('ann'));
        pass(TTL);
        expect(await browser.post('/acting/comment')).toMatchObject(savedFor('nobody'));
      });

      it('that is saved for nobody in endpoint mode, whatever the page refreshes', async () => {
        const { browser } = await acting({ refresh: 'endpoint', refreshPath: '/auth/refresh' });
        expect(await browser.post('/auth/refresh')).toMatchObject(refused);
        expect(await form(browser)).toMatchObject(savedFor('ann'));
        pass(TTL);
        expect(await form(browser)).toMatchObject(over('expired'));
        expect(await browser.post('/auth/refresh')).toMatchObject(over('expired'));
        expect(await form(browser)).toMatchObject(over('expired'));
        await browser.post('/acting/stop');
        expect(await form(browser)).toMatchObject(refusal(401, 'try_refresh'));
        expect((await browser.post('/auth/refresh')).status).toBe(204);
        expect(await form(browser)).toMatchObject(savedFor(7));
      });

      it('that is saved for nobody when it comes with an expired bearer token and the cookies of the administrator', async () => {
        const app = await start();
        const browser = await app.signIn({ userId: 7 });
        const { id } = (await browser.get('/me')).body as { id: string };
        const { accessToken } = await app.sessions.tokens.impersonate(id, { userId: 'ann' });
        const init = bearer(accessToken.token);
        expect(await form(browser, init)).toMatchObject(savedFor('ann'));
        expect(await browser.post('/acting/refresh', undefined, init)).toMatchObject(refused);
        pass(TTL);
        expect(await form(browser, init)).toMatchObject(over('expired'));
        expect(await browser.post('/acting/refresh', undefined, init)).toMatchObject(over('expired'));
        expect(await form(browser)).toMatchObject(savedFor(7));
      });

      it('that is saved for nobody at any path that the refresh cookie reaches', async () => {
        const { answer, browser } = await acting({ cookies: { path: '/app', refreshPath: '/' } });
        expect(answer.setCookies.at(-1)).toMatchObject({ name: '__Secure-session_access_as', path: '/' });
        expect(await form(browser)).toMatchObject(savedFor('ann'));
        pass(TTL);
        expect(await form(browser)).toMatchObject(over('expired'));
        await browser.post('/acting/stop');
        expect(await form(browser)).toMatchObject(savedFor(7));
      });

      it('whose CSRF token is of one of the two sessions alone', async () => {
        const app = await start({ csrf: { mode: 'token' } });
        const browser = app.browser();
        const admin = csrfOf(await browser.post('/login', { userId: 7 }));
        const ann = csrfOf(await browser.post('/acting/start', { userId: 'ann' }, admin));
        expect(await form(browser, ann)).toMatchObject(savedFor('ann'));
        expect(await form(browser, admin)).toMatchObject(refusal(403, 'csrf_failed'));
        const back = csrfOf(await browser.post('/acting/stop'));
        expect(await form(browser, ann)).toMatchObject(refusal(403, 'csrf_failed'));
        expect(await form(browser, back)).toMatchObject(savedFor(7));
        expect(back).toEqual(admin);
      });
    });

    describe('acts for a short time', () => {
      it('that the input may shorten, but nothing prolongs', async () => {
        const { app, browser, id } = await acting({}, { ttl: '5m' });
        pass('4m');
        // New claims, and new data.
        expect((await browser.request('PUT', '/claims', { body: { role: 'x' } })).body).toEqual({
          role: 'x',
        });
        expect((await browser.request('PUT', '/data', { body: { a: 1 } })).body).toEqual({ a: 1 });
        expect(await browser.get('/me')).toMatchObject({
          body: { userId: 'ann', claims: { role: 'x' }, actor: { userId: 7 } },
        });
        expect(actingToken(browser).exp).toBe((START + 5 * MINUTE) / SECOND);
        pass('1m');
        expect(await browser.get('/me')).toMatchObject(over('expired'));
        expect(await app.sessions.find(id)).toBeNull();
        expect(await app.sessions.removeExpired()).toBe(0);
        pass(1);
        expect(await app.sessions.removeExpired()).toBe(1);
        expect(await browser.post('/acting/stop')).toMatchObject({ body: { ended: true } });
      });

      it('that is no longer than the rest of their own session', async () => {
        const { browser } = await acting({}, {}, { ttl: '10m' });
        expect(actingToken(browser).exp).toBe((START + 10 * MINUTE) / SECOND);
        pass('10m');
        expect(await form(browser)).toMatchObject(over('expired'));
        await browser.post('/acting/stop');
        expect((await form(browser)).status).toBe(401);
      });

      it('and their cookie outlives every refresh cookie of theirs', async () => {
        const { answer, browser } = await acting({ refreshToken: { ttl: '10d', absoluteTtl: '20d' } });
        const [cookie] = answer.setCookies;
        expect(setCookieNames(answer)).toEqual([ACTING]);
        expect(cookie!.attributes).toEqual({
          path: '/',
          httponly: '',
          secure: '',
          samesite: 'Lax',
          'max-age': String((20 * DAY) / SECOND),
        });
        const refresh = browser.cookie('session_refresh')!;
        expect(actingCookie(browser)!.expiresAt).toBeGreaterThanOrEqual(refresh.expiresAt);
      });
    });

    describe('stops', () => {
      it.each<[how: string, path: string, status: number, after: object]>([
        ['by endImpersonation()', '/acting/stop', 200, savedFor(7)],
        ['by session.revoke()', '/logout', 204, savedFor(7)],
        ['by signOut(), with their own session', '/sign-out', 204, refusal(401, 'no_credentials')],
      ])('%s', async (_how, path, status, after) => {
        const { app, browser, id } = await acting();
        const thief = browser.copy();
        expect((await browser.post(path)).status).toBe(status);
        expect(actingCookie(browser)).toBeUndefined();
        expect(await app.sessions.find(id)).toBeNull();
        expect(await form(browser)).toMatchObject(after);
        expect(await form(thief)).toMatchObject(over('logout'));
      });

      it('by signing in as somebody else, on that client', async () => {
        const { app, browser, id, own } = await acting();
        pass(TTL);
        expect((await browser.post('/login', { userId: 'bob' })).status).toBe(200);
        expect(actingCookie(browser)).toBeUndefined();
        expect(await form(browser)).toMatchObject(savedFor('bob'));
        expect([await app.sessions.find(id), await app.sessions.find(own)]).toEqual([null, null]);
      });

      it('says so where nobody acts as anybody', async () => {
        const app = await start();
        const browser = await app.signIn();
        expect(await browser.post('/acting/stop')).toMatchObject({ status: 200, body: { ended: false } });
        expect(await form(browser)).toMatchObject(savedFor('alice'));
      });

      it('only by a page of the application', async () => {
        const { browser } = await acting();
        const foreign = { headers: { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' } };
        for (const path of ['/acting/stop', '/acting/form', '/acting/start']) {
          expect(await browser.post(path, { userId: 'bob' }, foreign)).toMatchObject(
            refusal(403, 'csrf_failed'),
          );
        }
        expect(await form(browser)).toMatchObject(savedFor('ann'));
      });
    });

    describe.each(['feed', 'database'] as const)('is stopped in mode %s', (revocation) => {
      type End = (each: Awaited<ReturnType<typeof acting>>) => Promise<unknown>;
      it.each<[how: string, end: End, reason: string]>([
        ['when their own session is revoked', async ({ app, own }) => app.sessions.revoke(own), 'revoked'],
        [
          'when they are signed out everywhere',
          async ({ app }) => app.sessions.revokeAllForUser(7, { reason: 'admin' }),
          'admin',
        ],
        [
          'when the user is signed out everywhere',
          async ({ app }) => app.sessions.revokeAllForUser('ann', { reason: 'user' }),
          'user',
        ],
        [
          'when the user ends that session',
          async ({ app, id }) => app.sessions.revoke(id, { reason: 'user' }),
          'user',
        ],
        [
          'when they sign out in another client with the same session',
          async ({ browser, app }) => {
            const tab = app.browser();
            for (const cookie of browser.cookies) if (cookie.name !== ACTING) tab.set(cookie);
            await tab.post('/sign-out');
          },
          'logout',
        ],
      ])('%s', async (_how, end, reason) => {
        const each = await acting({ revocation });
        const other = await start({ revocation }, { database: each.app.database });
        expect(await form(each.browser, { at: other.url })).toMatchObject(savedFor('ann'));
        const token = actingCookie(each.browser)!.value;
        await end(each);
        expect(await form(each.browser)).toMatchObject(over(reason));
        pass('1s');
        expect(await form(each.browser, { at: other.url })).toMatchObject(over(reason));
        await expect(other.sessions.tokens.verify(token)).rejects.toThrow(SessionOverError);
        expect(await each.browser.get('/me', bearer(token))).toMatchObject(over(reason));
      });

      it('when their own session is stolen', async () => {
        const app = await start({ revocation });
        const browser = await app.signIn({ userId: 7 });
        const thief = browser.copy();
        pass('16m');
        await browser.get('/me');
        pass('90s');
        await browser.get('/me');
        await browser.post('/acting/start', { userId: 'ann' });
        expect(await form(browser)).toMatchObject(savedFor('ann'));
        expect(await thief.get('/me')).toMatchObject(refusal(401, 'token_theft'));
        expect(await form(browser)).toMatchObject(over('theft'));
      });
    });

    it('is stopped in mode none when the time is over', async () => {
      const { app, browser, own } = await acting({ revocation: 'none' });
      await app.sessions.revoke(own);
      expect(await form(browser)).toMatchObject(savedFor('ann'));
      pass(TTL);
      expect(await form(browser)).toMatchObject(over('expired'));
    });

    it('may not do what is for the user alone, whenever they signed in', async () => {
      const { browser } = await acting();
      for (const path of ['/acting/password', '/acting/pay', '/private/money', '/acting/reauthenticate']) {
        expect({ path, ...(await browser.post(path, {})) }).toMatchObject({ path, ...refused });
      }
      expect(await browser.post('/acting/refresh')).toMatchObject(refused);
      expect((await browser.post('/private/name')).status).toBe(200);
      expect(await form(browser)).toMatchObject(savedFor('ann'));
      await browser.post('/acting/stop');
      for (const path of ['/acting/password', '/acting/pay']) {
        expect({ path, ...(await browser.post(path)) }).toMatchObject({ path, ...savedFor(7) });
      }
      expect((await browser.post('/private/money')).status).toBe(200);
    });

    it('may not act as a third user from there, nor as themselves', async () => {
      const { app, browser, id, own } = await acting();
      expect(await browser.post('/acting/start', { userId: 'bob' })).toMatchObject(refused);
      await expect(app.sessions.tokens.impersonate(id, { userId: 'bob' })).rejects.toThrow(
        new ImpersonationRefusedError(),
      );
      await browser.post('/acting/stop');
      expect(await browser.post('/acting/start', { userId: 7 })).toMatchObject(refusal(400, 'invalid_input'));
      // "7" is another user than 7.
      expect(await browser.post('/acting/start', { userId: '7' })).toMatchObject({ status: 200 });
      expect(await browser.get('/me')).toMatchObject({
        body: { userId: '7', actor: { userId: 7, sessionId: own } },
      });
    });

    it('takes no place of the user, and ends no session of theirs', async () => {
      for (const policy of ['oldest', 'refuse'] as const) {
        const app = await start({ maxSessionsPerUser: { limit: 1, policy } });
        const ann = await app.signIn({ userId: 'ann' });
        const admin = await app.signIn({ userId: 7 });
        expect((await admin.post('/acting/start', { userId: 'ann' })).status).toBe(200);
        expect(await form(ann)).toMatchObject(savedFor('ann'));
        await ann.post('/sign-out');
        const again = await app.signIn({ userId: 'ann' });
        expect(await form(again)).toMatchObject(savedFor('ann'));
        expect(await form(admin)).toMatchObject(savedFor('ann'));
        expect((await app.sessions.findAllForUser('ann')).sessions).toHaveLength(2);
      }
    });

    it.each<[what: string, input: object, code: string]>([
      ['no user', {}, 'invalid_user_id'],
      ['a user that is none', { userId: 1.5 }, 'invalid_user_id'],
      ['a member that is not known', { userId: 'ann', absoluteTtl: '1m' }, 'invalid_input'],
      ['a time that is too long', { userId: 'ann', ttl: '16m' }, 'invalid_input'],
      ['a time that is too short', { userId: 'ann', ttl: 0 }, 'invalid_input'],
      ['a time that is none', { userId: 'ann', ttl: 'soon' }, 'invalid_input'],
      ['a reason that is no text', { userId: 'ann', reason: 1 }, 'invalid_input'],
      ['a reason that is too long', { userId: 'ann', reason: 'x'.repeat(254) }, 'invalid_input'],
      ['a device that is none', { userId: 'ann', device: 1 }, 'invalid_input'],
      ['an actor of its own', { userId: 'ann', actor: { userId: 'root' } }, 'invalid_input'],
      ['a reserved claim', { userId: 'ann', claims: { act: { sub: 'root' } } }, 'invalid_claims'],
      ['claims that are too large', { userId: 'ann', claims: { x: 'x'.repeat(3_000) } }, 'invalid_claims'],
    ])('is told of wrong input: %s', async (_what, input, code) => {
      const app = await start();
      const browser = await app.signIn({ userId: 7 });
      const answer = await browser.post('/acting/start', input);
      expect(answer).toMatchObject(refusal(400, code));
      expect(answer.setCookies).toEqual([]);
      expect(await app.rows()).toHaveLength(1);
    });

    it('may have the longest ids and the longest reason there are', async () => {
      const [admin, user, reason] = ['a', 'b', 'c'].map((char) => char.repeat(253)) as [
        string,
        string,
        string,
      ];
      const app = await start();
      const browser = await app.signIn({ userId: admin });
      expect((await browser.post('/acting/start', { userId: user, reason })).status).toBe(200);
      expect((await app.sessions.findAllForUser(user)).sessions).toMatchObject([
        { actor: { userId: admin, reason } },
      ]);
    });

    it('needs a session of their own', async () => {
      const { app, own } = await acting();
      expect(await app.browser().post('/acting/start', { userId: 'ann' })).toMatchObject(
        refusal(401, 'no_credentials'),
      );
      await app.sessions.revoke(own);
      for (const id of [own, 'no id', '00000000-0000-7000-8000-000000000000']) {
        await expect(app.sessions.tokens.impersonate(id, { userId: 'ann' })).rejects.toThrow(
          SessionNotFoundError,
        );
      }
    });

    it('needs tokens without cookies where they have signed in without', async () => {
      const app = await start();
      const { accessToken, session } = await app.sessions.tokens.issue({ userId: 7 });
      const browser = app.browser();
      const answer = await browser.post('/acting/start', { userId: 'ann' }, bearer(accessToken.token));
      expect(answer).toMatchObject(refusal(400, 'invalid_input'));
      const made = await app.sessions.tokens.impersonate(session.id, { userId: 'ann', ttl: 60 });
      expect(made).toMatchObject({ session: { userId: 'ann', actor: { userId: 7, sessionId: session.id } } });
      expect(made).not.toHaveProperty('refreshToken');
      expect((await app.sessions.tokens.verify(made.accessToken.token)).actor).toEqual({
        userId: 7,
        sessionId: session.id,
      });
      pass('1m');
      // Not try_refresh: the client would refresh, and go on as themselves.
      await expect(app.sessions.tokens.verify(made.accessToken.token)).rejects.toThrow(SessionOverError);
    });
  },
);
