import type { SessionModuleExtras, SessionModuleOptions } from 'nestjs-session-tokens';
import { describe, expect, it, vi } from 'vitest';
import { accessTokenOf, accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import { RolesModule, Users } from './roles.recipe.js';

/** Asks the claims in the access token, and asks the database. */
const statuses = async (browser: Browser) => [
  (await browser.get('/staff/drafts')).status,
  (await browser.post('/staff/publish')).status,
];

describe.each(adapters)('the recipe for roles over %s', (adapter) => {
  const apps = accountApps(adapter);
  const start = async (options: SessionModuleOptions & SessionModuleExtras = {}) => {
    const app = await apps(options, { metadata: { imports: [RolesModule] } });
    const device = async (userId: string) => {
      const browser = app.browser();
      const answer = await browser.post('/staff/login', { userId, password: 'wonderland' });
      expect(answer.status).toBe(204);
      return browser;
    };
    const root = await device('root');
    const take = async (query = '') => {
      const answer = await root.request('DELETE', `/staff/users/ann/roles/editor${query}`);
      expect(answer.status).toBe(204);
    };
    return { ...app, users: app.app.get(Users), root, device, take };
  };

  it('opens a route to those who have one of its roles', async () => {
    const app = await start();
    const ann = await app.device('ann');
    for (const each of [ann, app.root]) expect(await statuses(each)).toEqual([200, 200]);
    const guest = await app.signIn({ userId: 'guest' });
    expect(await statuses(guest)).toEqual([403, 403]);
    expect(await statuses(app.browser())).toEqual([401, 401]);
    expect((await ann.request('DELETE', '/staff/users/root/roles/admin')).status).toBe(403);
    expect(await statuses(app.root)).toEqual([200, 200]);
  });

  it('which are new after a refresh, also of an access token that is still good', async () => {
    const app = await start({ refresh: 'endpoint', refreshPath: '/refresh' });
    const browser = await app.signIn({ userId: 'guest' });
    const { sessions } = await app.sessions.findAllForUser('guest');
    await app.sessions.updateClaims(sessions[0]!.id, { roles: ['editor'] });
    expect(await statuses(browser)).toEqual([403, 403]);
    expect((await browser.post('/refresh')).status).toBe(204);
    expect(await statuses(browser)).toEqual([200, 403]);
  });

  describe('when a role has been taken away', () => {
    it.each<[way: string, options: SessionModuleOptions, untilThen: string]>([
      ['that is a quarter of an hour', {}, '15m'],
      ['with a shorter life of access tokens, a shorter time', { accessToken: { ttl: '5m' } }, '5m'],
    ])(
      'the user stays signed in, and keeps it until the access token expires: %s',
      async (_way, options, ttl) => {
        const app = await start(options);
        const devices = [await app.device('ann'), await app.device('ann')];
        await app.take();
        for (const each of devices) expect(await statuses(each)).toEqual([200, 403]);
        pass(ttl);
        pass(-1);
        for (const each of devices) expect(await statuses(each)).toEqual([200, 403]);
        pass(1);
        for (const each of devices) expect(await statuses(each)).toEqual([403, 403]);
        for (const each of devices) expect((await each.get('/me')).status).toBe(200);
        expect(await statuses(app.root)).toEqual([200, 200]);
      },
    );

    it('and nobody tells the sessions, they keep it for as long as they live', async () => {
      const app = await start();
      const ann = await app.device('ann');
      await app.users.takeRole('ann', 'editor');
      for (let days = 0; days < 100; days += 20) {
        pass('20d');
        expect(await statuses(ann)).toEqual([200, 403]);
      }
    });

    it('and all are signed out, nobody has it any more', async () => {
      const app = await start();
      const devices = [await app.device('ann'), await app.device('ann')];
      await app.take('?signOut=true');
      for (const each of devices) {
        const over = { status: 401, body: { code: 'session_over', reason: 'role_change' } };
        expect(await each.get('/staff/drafts')).toMatchObject(over);
      }
      expect(await statuses(await app.device('ann'))).toEqual([403, 403]);
      expect(await statuses(app.root)).toEqual([200, 200]);
    });

    it('each session of a user hears of it, also on a second page, and keeps its other claims', async () => {
      const app = await start();
      const claims = { roles: ['editor'], plan: 'gold' };
      for (let i = 0; i < 120; i++) await app.sessions.tokens.issue({ userId: 'ann', claims });
      await app.take();
      const rows = await app.rows();
      expect(rows.filter(({ userId }) => userId === '"ann"').map((row) => row.claims)).toEqual(
        Array(120).fill(JSON.stringify({ roles: [], plan: 'gold' })),
      );
    });

    it('a session that ends at the same time keeps no other from hearing of it', async () => {
      const app = await start();
      const [first, second] = [await app.device('ann'), await app.device('ann')];
      const findAllForUser = app.sessions.findAllForUser.bind(app.sessions);
      vi.spyOn(app.sessions, 'findAllForUser').mockImplementationOnce(async (...input) => {
        const page = await findAllForUser(...input);
        await second.post('/sign-out');
        return page;
      });
      await app.take();
      pass('15m');
      expect(await statuses(first)).toEqual([403, 403]);
    });

    it('a sign-in under way does not bring it back', async () => {
      const app = await start();
      const create = app.sessions.create.bind(app.sessions);
      vi.spyOn(app.sessions, 'create').mockImplementationOnce(async (...input) => {
        await app.take();
        return create(...input);
      });
      const ann = await app.device('ann');
      expect(accessTokenOf(ann)).toMatchObject({ roles: [] });
      expect(await statuses(ann)).toEqual([403, 403]);
      pass('16m');
      expect(await statuses(ann)).toEqual([403, 403]);
    });
  });
});
