import { describe, expect, it } from 'vitest';
import { accountApps, cookieOf } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import { RememberMeModule } from './remember-me.recipe.js';

const signIn = { userId: 'ann', password: 'wonderland' };

/** Forgets the cookies without an expiry, as a browser does that restores no tabs. */
function close(browser: Browser): void {
  for (const { name, expiresAt } of browser.cookies) {
    if (expiresAt === Number.POSITIVE_INFINITY) browser.delete(name.replace(/^__Host-Http-/, ''));
  }
}

describe.each(adapters)('the recipe for "remember me" over %s', (adapter) => {
  const apps = accountApps(adapter);
  const signedIn = async (remember?: unknown) => {
    const app = await apps({}, { metadata: { imports: [RememberMeModule] } });
    const browser = app.browser();
    expect((await browser.post('/account/login', { ...signIn, remember })).status).toBe(204);
    return browser;
  };

  it.each<[remember: unknown, isRemembered: boolean]>([
    [true, true],
    [false, false],
    [undefined, false],
    ['false', false],
    [null, false],
  ])('a box that says %o', async (remember, isRemembered) => {
    const browser = await signedIn(remember);
    for (const wait of ['0s', '16m', '90s']) {
      pass(wait);
      expect((await browser.get('/me')).status).toBe(200);
      const { attributes } = cookieOf(browser, 'session_refresh');
      expect('max-age' in attributes || 'expires' in attributes).toBe(isRemembered);
    }
    close(browser);
    expect((await browser.get('/me')).status).toBe(isRemembered ? 200 : 401);
  });

  it('a browser that restores its tabs, and with them the cookies, finds the session over after two hours', async () => {
    const browser = await signedIn(false);
    pass('119m');
    expect((await browser.get('/me')).status).toBe(200);
    pass('2h');
    expect(await browser.get('/me')).toMatchObject({
      status: 401,
      body: { code: 'session_over', reason: 'expired' },
    });
  });

  it('a session in use goes on, for twelve hours', async () => {
    const browser = await signedIn(false);
    for (let hour = 1; hour < 12; hour++) {
      pass('1h');
      expect((await browser.get('/me')).status).toBe(200);
    }
    pass('1h');
    expect((await browser.get('/me')).status).toBe(401);
  });

  it('one that is remembered goes on after weeks', async () => {
    const browser = await signedIn(true);
    for (let weeks = 4; weeks < 52; weeks += 4) {
      pass('28d');
      close(browser);
      expect((await browser.get('/me')).status).toBe(200);
    }
    pass('31d');
    expect((await browser.get('/me')).status).toBe(401);
  });
});
