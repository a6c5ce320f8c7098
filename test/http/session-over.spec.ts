import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import { type AccountApp, accountApps, refusal } from './account-app.js';

const NOT_A_BROWSER = { 'user-agent': 'HttpClient/1.0' };

/** The ways in which a session ends. Each returns the cookies of the ended session. */
const ENDS: Record<string, (app: AccountApp, browser: Browser) => Promise<string>> = {
  async 'logout, by its user'(_app, browser) {
    const cookie = browser.cookieHeader('/');
    await browser.post('/sign-out');
    return cookie;
  },
  async revoked(app, browser) {
    await app.sessions.revokeAllForUser('alice');
    return browser.cookieHeader('/');
  },
  async 'over_the_limit_1, which the application has made up'(app, browser) {
    await app.sessions.revokeAllForUser('alice', { reason: 'over_the_limit_1' });
    return browser.cookieHeader('/');
  },
  async expired(_app, browser) {
    const cookie = browser.cookieHeader('/');
    pass('31d');
    return cookie;
  },
  async replaced(_app, browser) {
    const cookie = browser.cookieHeader('/');
    await browser.post('/login', { userId: 'alice' });
    return cookie;
  },
  async theft(_app, browser) {
    const stolen = browser.cookieHeader('/');
    for (const pause of ['16m', '91s']) {
      pass(pause);
      await browser.get('/me');
    }
    await lookAgainWith(browser.url, stolen);
    return browser.cookieHeader('/');
  },
};

/** A client that comes back with the same cookies, and with the marker. */
async function lookAgainWith(url: string, cookie: string) {
  const first = await fetch(`${url}/me`, { headers: { ...NOT_A_BROWSER, cookie } });
  const markers = first.headers.getSetCookie().map((line) => line.split(';')[0]);
  const again = [cookie, ...markers].join('; ');
  return fetch(`${url}/me`, { headers: { ...NOT_A_BROWSER, cookie: again } });
}

/** Sends a request with the access token alone. */
async function getByAccessToken(app: AccountApp, cookie: string) {
  const access = /[^ ]*session_access=([^;]+)/.exec(cookie)![1];
  return app.browser().get('/me', { headers: { authorization: `Bearer ${access}` } });
}

describe.each(adapters)('session_over says why over %s', (adapter) => {
  const start = accountApps(adapter);

  describe.each(Object.entries(ENDS))('%s', (what, end) => {
    const reason = what.split(',')[0]!;
    const over = { status: 401, body: { statusCode: 401, code: 'session_over', reason } };

    // An expired access token is refused for another reason.
    const refused = reason === 'expired' ? refusal(401, 'try_refresh') : over;

    it.each(['feed', 'database'] as const)(
      'an access token that is still good otherwise, mode %s',
      async (mode) => {
        const app = await start({ revocation: mode, refresh: 'transparent' });
        const browser = await app.signIn();
        const cookie = await end(app, browser);
        expect(await getByAccessToken(app, cookie)).toMatchObject(refused);
      },
    );

    it('a process that has learnt of it from the database', async () => {
      const app = await start();
      const browser = await app.signIn();
      const cookie = await end(app, browser);
      const another = await start({}, { database: app.database });
      expect(await getByAccessToken(another, cookie)).toMatchObject(refused);
    });

    it('a refresh token, when the client has looked again', async () => {
      const app = await start();
      const browser = await app.signIn();
      const cookie = await end(app, browser);
      pass('16m');
      const answer = await lookAgainWith(app.url, cookie);
      expect({ status: answer.status, body: await answer.json() }).toMatchObject(over);
    });
  });

  it('and says nothing where nothing is known', async () => {
    const app = await start({ lookAgain: false });
    const cookie = '__Host-Http-session_refresh=junk';
    const answer = await app.browser().get('/me', { headers: { cookie } });
    expect(answer).toMatchObject(refusal(401, 'session_over'));
    expect(answer.body).not.toHaveProperty('reason');
  });
});
