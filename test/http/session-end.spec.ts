import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { accessTokenOf, accountApps } from './account-app.js';
import { pass } from '../support/time.js';

describe.each(adapters)('the end of a session over %s', (adapter) => {
  const start = accountApps(adapter);

  it.each([
    ['absoluteTtl', { ttl: '24s', absoluteTtl: '24s' }],
    ['absoluteTtl, after refreshes', { ttl: '23s', absoluteTtl: '24s' }],
  ] as const)('is the end of its access tokens: %s', async (_, refreshToken) => {
    const app = await start({
      refreshToken,
      accessToken: { ttl: '20s' },
      reuseWindow: '2s',
      signingKeys: { rotation: '1h' },
    });
    const browser = await app.signIn();
    const seen: [second: number, status: number, isFound: boolean][] = [];
    for (let second = 1; second <= 40; second++) {
      pass('1s');
      const { status } = await browser.get('/me');
      seen.push([second, status, (await app.sessions.findAllForUser('alice')).sessions.length === 1]);
    }
    // Served, found and revocable to the end, and not a second longer.
    expect(seen).toEqual(
      Array.from({ length: 40 }, (__, index) => {
        const isAlive = index + 1 < 24;
        return [index + 1, isAlive ? 200 : 401, isAlive];
      }),
    );
  });

  it.each(['0s', '10s', '21s', '22s', '23s'])('is in tokens of every kind, made after %s', async (pause) => {
    const app = await start({
      refreshToken: { ttl: '24s', absoluteTtl: '24s' },
      accessToken: { ttl: '20s' },
      reuseWindow: '2s',
    });
    const browser = await app.signIn();
    const end = Math.floor((Date.now() + 24_000) / 1_000);
    pass(pause);
    await browser.get('/me');
    expect(accessTokenOf(browser).exp).toBeLessThanOrEqual(end);
    await browser.request('PUT', '/claims', { body: { role: 'admin' } });
    expect(accessTokenOf(browser).exp).toBeLessThanOrEqual(end);
  });

  it('can be brought about while a token lives', async () => {
    const app = await start({
      refreshToken: { ttl: '24s', absoluteTtl: '24s' },
      accessToken: { ttl: '20s' },
      reuseWindow: '2s',
    });
    const browser = await app.signIn();
    pass('23s');
    expect((await browser.get('/me')).status).toBe(200);
    expect(await app.sessions.revokeAllForUser('alice')).toBe(1);
    expect((await browser.get('/me')).status).toBe(401);
  });

  it('is final for tokens that were issued when they lived longer', async () => {
    const before = await start({ accessToken: { ttl: '1h' } });
    const browser = await before.signIn();
    const other = await before.signIn({ userId: 'bob' });
    const now = await start({ accessToken: { ttl: '5s' }, reuseWindow: '2s' }, { database: before.database });
    const get = async (cookie: string) => (await now.browser().get('/me', { headers: { cookie } })).status;
    const accessCookie = browser
      .cookieHeader('/')
      .split('; ')
      .find((each) => each.includes('access'))!;
    expect(await get(accessCookie)).toBe(200);
    await now.sessions.revokeAllForUser('alice');
    for (const pause of ['0s', '35s', '3m', '20m', '35m']) {
      pass(pause);
      expect(await get(accessCookie), `after ${pause}`).toBe(401);
      await now.sessions.removeExpired();
    }
    // Who has not been revoked refreshes, and goes on.
    expect((await other.get('/me', { at: now.url })).status).toBe(200);
  });
});
