import { describe, expect, it, vi } from 'vitest';
import { accessTokenOf, accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { DAY, pass } from '../support/time.js';
import { SeveralAccountsModule } from './several-accounts.recipe.js';

const password = 'wonderland';

const add = async (browser: Browser, userId: string) =>
  (await browser.post('/accounts', { userId, password })).status;
const switchTo = async (browser: Browser, userId: string) =>
  (await browser.post('/accounts/switch', { userId })).status;
const listed = async (browser: Browser) => (await browser.get('/accounts')).body;

describe.each(adapters)('the recipe for several accounts over %s', (adapter) => {
  const apps = accountApps(adapter);
  const start = async () => {
    const app = await apps({}, { metadata: { imports: [SeveralAccountsModule] } });
    const of = async (userId: string) => (await app.sessions.findAllForUser(userId)).sessions;
    return { ...app, of };
  };
  /** A browser in which both accounts are signed in, and ann's is the active one. */
  const withTwo = async () => {
    const app = await start();
    const browser = await app.signIn({
      userId: 'ann',
      claims: { plan: 'gold' },
      data: { cart: [1] },
      device: { label: 'Desk' },
    });
    expect(await add(browser, 'bob')).toBe(204);
    expect(await switchTo(browser, 'ann')).toBe(204);
    return { app, sessions: app.sessions, of: app.of, ann: browser };
  };

  it('adds accounts, lists them, and switches between them', async () => {
    const app = await start();
    const browser = await app.signIn({ userId: 'ann' });
    expect(await listed(browser)).toEqual({ active: 'ann', others: [] });
    expect([await add(browser, 'bob'), await add(browser, 'cyd')]).toEqual([204, 204]);
    expect(await listed(browser)).toEqual({ active: 'cyd', others: ['ann', 'bob'] });
    expect(await switchTo(browser, 'ann')).toBe(204);
    expect(await listed(browser)).toEqual({ active: 'ann', others: ['bob', 'cyd'] });
    expect(await browser.get('/me')).toMatchObject({ body: { userId: 'ann' } });
    for (const userId of ['ann', 'bob', 'cyd']) expect(await app.of(userId)).toHaveLength(1);
  });

  it('keeps what belongs to an account, and gives it to no other', async () => {
    const { ann, of } = await withTwo();
    expect(accessTokenOf(ann)).toMatchObject({ plan: 'gold' });
    expect((await of('ann'))[0]).toMatchObject({ label: 'Desk', data: { cart: [1] } });
    expect((await of('bob'))[0]).toMatchObject({ claims: {}, label: null, data: { parked: [] } });
    await switchTo(ann, 'bob');
    expect(accessTokenOf(ann)).not.toHaveProperty('plan');
    expect((await of('bob'))[0]!.data).not.toHaveProperty('cart');
  });

  it.each([
    ['a wrong password', { userId: 'bob', password: 'rabbit' }],
    ['no password', { userId: 'bob' }],
  ])('adds none with %s', async (_what, body) => {
    const app = await start();
    const browser = await app.signIn({ userId: 'ann' });
    expect((await browser.post('/accounts', body)).status).toBe(403);
    expect(await listed(browser)).toEqual({ active: 'ann', others: [] });
    expect(await app.of('bob')).toEqual([]);
  });

  it('adds one again in place of itself, and not more than there may be', async () => {
    const { ann, of, sessions } = await withTwo();
    for (const userId of ['ann', 'bob', 'ann', 'bob']) expect(await add(ann, userId)).toBe(204);
    expect(await listed(ann)).toEqual({ active: 'bob', others: ['ann'] });
    for (const userId of ['ann', 'bob']) expect(await of(userId)).toHaveLength(1);
    const parked = [];
    for (const userId of ['d', 'e', 'f', 'g'])
      parked.push((await sessions.tokens.issue({ userId })).session.id);
    await sessions.updateData((await of('bob'))[0]!.id, { parked });
    expect(await add(ann, 'bob')).toBe(204);
    expect(await add(ann, 'cyd')).toBe(409);
    expect(await listed(ann)).toEqual({ active: 'bob', others: ['d', 'e', 'f', 'g'] });
  });

  describe('a switch cannot be had', () => {
    it.each<[how: string, userId: unknown]>([
      ['to an account that is signed in elsewhere only', 'cyd'],
      ['to one that does not exist', 'nobody'],
      ['to nothing', undefined],
      ['to the active one', 'ann'],
    ])('%s', async (_how, userId) => {
      const { app, ann } = await withTwo();
      await app.signIn({ userId: 'cyd' });
      expect((await ann.post('/accounts/switch', { userId })).status).toBe(404);
      expect(await listed(ann)).toEqual({ active: 'ann', others: ['bob'] });
    });

    it.each(['', '/switch', '/sign-out', '/sign-out-of-all'])(
      'from a page of another site: POST /accounts%s',
      async (path) => {
        const { ann } = await withTwo();
        const headers = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' };
        const answer = await ann.post(`/accounts${path}`, { userId: 'bob', password }, { headers });
        expect(answer).toMatchObject({ status: 403, body: { code: 'csrf_failed' } });
        expect(await listed(ann)).toEqual({ active: 'ann', others: ['bob'] });
      },
    );

    it('by somebody who acts as the user', async () => {
      const { app, ann, of, sessions } = await withTwo();
      const root = await sessions.tokens.issue({ userId: 'root' });
      const { accessToken } = await sessions.tokens.impersonate(root.session.id, {
        userId: 'ann',
        data: { parked: [(await of('bob'))[0]!.id] },
      });
      const headers = { authorization: `Bearer ${accessToken.token}` };
      const answer = await app.browser().post('/accounts/switch', { userId: 'bob' }, { headers });
      expect(answer).toMatchObject({ status: 403, body: { code: 'impersonation_refused' } });
      expect(await listed(ann)).toEqual({ active: 'ann', others: ['bob'] });
    });
  });

  describe('each account ends by its own', () => {
    it('if it is parked: the active one goes on', async () => {
      const { ann, sessions } = await withTwo();
      await sessions.revokeAllForUser('bob');
      expect(await switchTo(ann, 'bob')).toBe(404);
      expect(await listed(ann)).toEqual({ active: 'ann', others: [] });
    });

    it('if it is active: the other one is not opened by that', async () => {
      const { ann, sessions, of } = await withTwo();
      await sessions.revokeAllForUser('ann');
      expect((await ann.get('/accounts')).status).toBe(401);
      expect(await switchTo(ann, 'bob')).toBe(401);
      expect(await of('bob')).toHaveLength(1);
    });

    it.each(['ann', 'bob'])('also while the user switches: the sessions of %s', async (userId) => {
      const { ann, sessions, of } = await withTwo();
      const issue = sessions.tokens.issue.bind(sessions.tokens);
      vi.spyOn(sessions.tokens, 'issue').mockImplementationOnce(async (input) => {
        const issued = await issue(input);
        await sessions.revokeAllForUser(userId);
        return issued;
      });
      pass('1s');
      expect(await switchTo(ann, 'bob')).toBe(409);
      expect(await of(userId)).toEqual([]);
      expect((await ann.get('/me')).status).toBe(401);
    });

    it('and a copy of the cookies from before a switch is of no use', async () => {
      const { ann } = await withTwo();
      const thief = ann.copy();
      await switchTo(ann, 'bob');
      expect((await thief.get('/me')).status).toBe(401);
      expect(await switchTo(thief, 'bob')).toBe(401);
      expect(await listed(ann)).toEqual({ active: 'bob', others: ['ann'] });
    });
  });

  it('a double click switches once', async () => {
    const { ann, of } = await withTwo();
    const answers = await Promise.all([switchTo(ann, 'bob'), switchTo(ann, 'bob')]);
    expect(answers.filter((status) => status === 204)).toHaveLength(1);
    expect(await listed(ann)).toEqual({ active: 'bob', others: ['ann'] });
    for (const userId of ['ann', 'bob']) expect(await of(userId)).toHaveLength(1);
  });

  it('a switch proves nothing, and prolongs nothing', async () => {
    const { ann, of } = await withTwo();
    const signedIn = (await of('ann'))[0]!.authenticatedAt;
    for (let days = 10; days < 90; days += 10) {
      pass('10d');
      expect([await switchTo(ann, 'bob'), await switchTo(ann, 'ann')]).toEqual([204, 204]);
      expect((await of('ann'))[0]!.authenticatedAt).toEqual(signedIn);
    }
    expect((await of('ann'))[0]!.expiresAt.getTime()).toBeLessThanOrEqual(signedIn.getTime() + 90 * DAY);
    pass('10d');
    expect((await ann.get('/me')).status).toBe(401);
    for (const userId of ['ann', 'bob']) expect(await of(userId)).toEqual([]);
  });

  it('an account that was added lives no longer, without a switch', async () => {
    const app = await start();
    const browser = await app.signIn({ userId: 'ann' });
    await add(browser, 'bob');
    for (let days = 20; days < 90; days += 20) {
      pass('20d');
      expect((await browser.get('/me')).status).toBe(200);
    }
    pass('10d');
    expect((await browser.get('/me')).status).toBe(401);
  });

  it('what a tab has begun as one account is not done as another', async () => {
    const { ann } = await withTwo();
    const rename = async () => ann.post('/u/ann/name', { name: 'Ann' });
    expect(await rename()).toMatchObject({ status: 200, body: { userId: 'ann' } });
    const underWay = { headers: { cookie: ann.cookieHeader('/') } };
    await switchTo(ann, 'bob');
    expect((await rename()).status).toBe(409);
    expect((await ann.post('/u/ann/name', { name: 'Ann' }, underWay)).status).toBe(409);
    expect(await ann.post('/u/bob/name', { name: 'Bob' })).toMatchObject({ body: { userId: 'bob' } });
  });

  describe('signs out', () => {
    it('of a parked account', async () => {
      const { ann, of } = await withTwo();
      expect((await ann.post('/accounts/sign-out', { userId: 'bob' })).status).toBe(204);
      expect(await listed(ann)).toEqual({ active: 'ann', others: [] });
      expect(await of('bob')).toEqual([]);
    });

    it('of the active one, and goes on with the one before it', async () => {
      const { app, ann, of } = await withTwo();
      expect((await ann.post('/accounts/sign-out', { userId: 'ann' })).status).toBe(204);
      expect(await listed(ann)).toEqual({ active: 'bob', others: [] });
      expect(await of('ann')).toEqual([]);
      expect((await app.rows()).filter(({ revokedReason }) => revokedReason === 'logout')).toHaveLength(1);
      expect((await ann.post('/accounts/sign-out', { userId: 'bob' })).status).toBe(204);
      expect(ann.cookies).toEqual([]);
      expect(await of('bob')).toEqual([]);
    });

    it('of all', async () => {
      const { app, ann, of } = await withTwo();
      const elsewhere = await app.signIn({ userId: 'bob' });
      expect((await ann.post('/accounts/sign-out-of-all')).status).toBe(204);
      expect(ann.cookies).toEqual([]);
      expect(await of('ann')).toEqual([]);
      expect(await of('bob')).toHaveLength(1);
      expect((await elsewhere.get('/me')).status).toBe(200);
    });

    it('of none that is not signed in here', async () => {
      const { app, ann } = await withTwo();
      const cyd = await app.signIn({ userId: 'cyd' });
      expect((await ann.post('/accounts/sign-out', { userId: 'cyd' })).status).toBe(404);
      expect((await cyd.get('/me')).status).toBe(200);
    });
  });
});
