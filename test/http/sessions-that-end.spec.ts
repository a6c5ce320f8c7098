import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import { ACCESS, accountApps, cookieOf, REFRESH } from './account-app.js';

/** What a request can carry of a session that its client has. */
const CARRIED: Record<string, (browser: Browser) => Record<string, string>> = {
  'both cookies': (browser) => ({ cookie: browser.cookieHeader('/') }),
  'its access cookie': (browser) => ({ cookie: `${ACCESS}=${cookieOf(browser, 'session_access').value}` }),
  'its refresh cookie': (browser) => ({ cookie: `${REFRESH}=${cookieOf(browser, 'session_refresh').value}` }),
  'its access token as a bearer token': (browser) => ({
    authorization: `Bearer ${cookieOf(browser, 'session_access').value}`,
  }),
};

describe.each(adapters)('a session that a request carries over %s', (adapter) => {
  const start = accountApps(adapter);

  it.each<[carried: string, pause: string, endsAtSignIn: boolean, endsAtSignOut: boolean]>([
    ['both cookies', '1m', true, true],
    ['both cookies', '16m', true, true],
    ['its access cookie', '1m', true, true],
    // An expired access token opens nothing: who has no more than that must not end a session of somebody else.
    ['its access cookie', '16m', false, true],
    ['its refresh cookie', '1m', true, true],
    ['its refresh cookie', '16m', true, true],
    ['its access token as a bearer token', '1m', true, true],
    ['its access token as a bearer token', '16m', false, true],
  ])(
    'by %s, after %s: ends at sign-in %s, at sign-out %s',
    async (carried, pause, endsAtSignIn, endsAtSignOut) => {
      for (const [path, ends] of [
        ['/login', endsAtSignIn],
        ['/sign-out', endsAtSignOut],
      ] as const) {
        const app = await start();
        const browser = await app.signIn({ userId: 'alice' });
        pass(pause);
        const headers = CARRIED[carried]!(browser);
        expect((await app.browser().post(path, { userId: 'bob' }, { headers })).status).toBeLessThan(300);
        expect((await app.sessions.findAllForUser('alice')).sessions).toHaveLength(ends ? 0 : 1);
      }
    },
  );
});
