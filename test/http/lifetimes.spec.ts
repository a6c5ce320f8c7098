import type { SessionInput, SessionModuleOptions } from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { SESSION_RUNTIME } from '../../lib/module/session.constants.js';
import type { SessionRuntime } from '../../lib/module/session.runtime.js';
import { adapters } from '../support/app.js';
import { DAY, HOUR, MINUTE, pass } from '../support/time.js';
import { accountApps, cookieOf, refusal } from './account-app.js';

type Lifetimes = Pick<SessionInput, 'ttl' | 'absoluteTtl' | 'remember'>;

describe.each(adapters)('a session with lifetimes of its own over %s', (adapter) => {
  const start = accountApps(adapter);

  const setUp = async (lifetimes: Lifetimes, options: SessionModuleOptions = {}) => {
    const app = await start(options);
    const browser = app.browser();
    const answer = await browser.post('/login', { userId: 'alice', ...lifetimes });
    expect(answer.status).toBe(200);
    return { app, browser, answer };
  };

  it.each<[string, Lifetimes, idle: number]>([
    ['shorter than that of the options', { ttl: '1h' }, HOUR],
    ['longer', { ttl: '90d' }, 90 * DAY],
    ['as number of seconds', { ttl: 7_200 }, 2 * HOUR],
  ])('lasts without a refresh for its own time: %s', async (_, lifetimes, idle) => {
    const { app, browser } = await setUp(lifetimes);
    const seconds = Number(cookieOf(browser, 'session_refresh').attributes['max-age']);
    expect(seconds).toBe(idle / 1_000);
    // A refresh starts it again.
    for (let turn = 0; turn < 2; turn++) {
      pass(idle - MINUTE);
      expect((await browser.get('/me')).status).toBe(200);
    }
    browser.keepExpired();
    pass(idle);
    expect((await browser.get('/me')).status).toBe(401);
    expect((await app.sessions.findAllForUser('alice')).sessions).toEqual([]);
  });

  it('ends at its own end, however often it is refreshed', async () => {
    const { app, browser } = await setUp({ absoluteTtl: '2h' });
    browser.keepExpired();
    for (let minutes = 0; minutes < 119; minutes += 17) {
      expect((await browser.get('/me')).status).toBe(200);
      pass('17m');
    }
    pass('1m');
    expect((await browser.get('/me')).status).toBe(401);
    expect((await app.sessions.findAllForUser('alice')).sessions).toEqual([]);
  });

  it.each<[string, SessionModuleOptions]>([
    ['when the options have become longer', { refreshToken: { ttl: '60d' } }],
    ['when the options have become shorter', { refreshToken: { ttl: '1d' } }],
  ])('keeps its own idle time %s', async (_, later) => {
    const { app } = await setUp({ ttl: '7d' });
    const after = await start(later, { database: app.database });
    const [session] = (await after.sessions.findAllForUser('alice')).sessions;
    expect(session!.expiresAt.getTime()).toBe(Date.now() + 7 * DAY);
    pass(7 * DAY - 1);
    expect((await after.sessions.findAllForUser('alice')).sessions).toHaveLength(1);
    pass(1);
    expect((await after.sessions.findAllForUser('alice')).sessions).toEqual([]);
  });

  it('keeps the key of its refresh token for as long as it lasts', async () => {
    const { app, browser } = await setUp({ ttl: '300d' });
    const { core } = app.app.get<SessionRuntime>(SESSION_RUNTIME, { strict: false });
    for (let day = 0; day < 299; day += 13) {
      pass('13d');
      await app.signIn({ userId: 'bob' });
      await core.refreshTokens.removeRetiredKeys(Date.now());
    }
    expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
  });

  describe('that is not remembered', () => {
    it('has cookies that a browser forgets when it is closed, after sign-in, refresh, first use and new claims', async () => {
      const { browser, answer } = await setUp(
        { remember: false },
        { cookies: { indicatorName: 'signed_in' } },
      );
      const answers = [answer];
      pass('16m');
      answers.push(await browser.get('/me'));
      pass('90s');
      answers.push(
        await browser.get('/me'),
        await browser.request('PUT', '/claims', { body: { role: 'admin' } }),
      );
      for (const { status, setCookies } of answers) {
        expect(status).toBe(200);
        expect(setCookies.length).toBeGreaterThan(0);
        for (const { attributes } of setCookies) {
          expect(attributes).not.toHaveProperty('max-age');
          expect(attributes).not.toHaveProperty('expires');
        }
      }
    });

    it('is no other than one that is, where nothing says so', async () => {
      for (const remember of [true, undefined]) {
        const { answer } = await setUp({ ...(remember && { remember }) });
        for (const { attributes } of answer.setCookies) expect(attributes).toHaveProperty('max-age');
      }
    });

    it('says so in the list', async () => {
      const { app } = await setUp({ remember: false });
      expect((await app.sessions.findAllForUser('alice')).sessions).toMatchObject([{ remember: false }]);
    });
  });

  it.each<[unknown, RegExp]>([
    [{ ttl: '366d' }, /"ttl" is longer than .*refreshToken\.absoluteTtl/],
    [{ absoluteTtl: '366d' }, /"absoluteTtl" is longer than/],
    [{ ttl: 0 }, /"ttl" must be at least one second/],
    [{ ttl: '500ms' }, /"ttl" must be at least one second/],
    [{ ttl: 'soon' }, /"ttl" must be at least one second/],
    [{ ttl: -1 }, /"ttl" must be at least one second/],
    [{ ttl: null }, /"ttl" must be at least one second/],
    [{ absoluteTtl: Number.NaN }, /"absoluteTtl" must be at least one second/],
    [{ remember: 'no' }, /"remember" must be true or false/],
    [{ remember: 0 }, /"remember" must be true or false/],
    [{ userID: 'alice' }, /"userID" is not known\. Known here: userId, claims/],
    [{ expiresIn: '1h' }, /"expiresIn" is not known/],
    [{ device: { agent: 'x' } }, /"device\.agent" is not known\. Known here: userAgent, ip/],
    [{ device: 'x' }, /device must be an object/],
  ])('is refused with a clear error, and nothing is made: %o', async (wrong, message) => {
    const app = await start();
    const input = { userId: 'alice', ...(wrong as object) } as SessionInput;
    await expect(app.sessions.tokens.issue(input)).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringMatching(message) as string,
    });
    expect((await app.sessions.findAllForUser('alice')).sessions).toEqual([]);
    const answer = await app.browser().post('/login', { userId: 'alice', ...(wrong as object) });
    expect(answer.setCookies).toEqual([]);
  });

  it('answers a client that sends such a value like any other wrong value', async () => {
    const app = await start();
    const answer = await app.browser().post('/login', { userId: 'alice', ttl: '9999d' });
    expect(answer).toMatchObject(refusal(400, 'invalid_input'));
  });
});
