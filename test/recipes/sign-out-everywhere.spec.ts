import type { SessionEvent } from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { accountApps, clearsCookies } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import { SignOutModule } from './sign-out-everywhere.recipe.js';

const over = (reason: string) => ({ status: 401, body: { code: 'session_over', reason } });
const UNKNOWN = '019bc000-0000-7000-8000-000000000000';

const idOf = async (browser: Browser) => ((await browser.get('/me')).body as { id: string }).id;

describe.each(adapters)('the recipe for signing out everywhere over %s', (adapter) => {
  const apps = accountApps(adapter);
  const start = async () => {
    const app = await apps({}, { metadata: { imports: [SignOutModule] } });
    const events: SessionEvent[] = [];
    app.sessions.events.subscribe((event) => events.push(event));
    const ends = () => events.flatMap((each) => (each.type === 'revoked' ? [[each.reason, each.by]] : []));
    const device = async (userId = 'ann') => app.signIn({ userId, claims: { plan: 'gold' } });
    return { ...app, ends, device };
  };

  describe('by its user', () => {
    it('lists all devices, page by page, and what they are', async () => {
      const app = await start();
      const { session: root } = await app.sessions.tokens.issue({ userId: 'root' });
      await app.sessions.tokens.impersonate(root.id, { userId: 'ann' });
      for (let i = 0; i < 20; i++) await app.sessions.tokens.issue({ userId: 'ann', data: { cart: [i] } });
      await app.device('bob');
      pass(1);
      const here = await app.device();
      type Page = { devices: Record<string, unknown>[]; next: string | null };
      const first = (await here.get('/devices')).body as Page;
      const second = (await here.get(`/devices?after=${first.next}`)).body as Page;
      expect([first.devices.length, second.devices.length, second.next]).toEqual([20, 2, null]);
      const all = [...first.devices, ...second.devices];
      expect(new Set(all.map(({ id }) => id)).size).toBe(22);
      expect(all.filter(({ current }) => current === true)).toEqual([all[0]]);
      expect(all.filter(({ isSupport }) => isSupport === true)).toHaveLength(1);
      expect(JSON.stringify(all)).not.toMatch(/gold|cart/);
    });

    it('ends one of them', async () => {
      const app = await start();
      const [here, lost, third] = [await app.device(), await app.device(), await app.device()];
      const answer = await here.request('DELETE', `/devices/${await idOf(lost)}`);
      expect(answer.status).toBe(204);
      expect(await lost.get('/me')).toMatchObject(over('user'));
      for (const each of [here, third]) expect((await each.get('/me')).status).toBe(200);
      expect(app.ends()).toEqual([['user', 'ann']]);
    });

    it('ends no session of anybody else, and does not tell that there is one', async () => {
      const app = await start();
      const [here, foreign] = [await app.device(), await app.device('bob')];
      const answers = [];
      for (const id of [await idOf(foreign), UNKNOWN, 'junk'])
        answers.push(await here.request('DELETE', `/devices/${id}`));
      for (const answer of answers)
        expect(answer).toMatchObject({ status: 404, body: { code: 'session_not_found' } });
      expect((await foreign.get('/me')).status).toBe(200);
      expect(app.ends()).toEqual([]);
    });

    it('ends all others, or all', async () => {
      const app = await start();
      const devices = [await app.device(), await app.device(), await app.device()] as const;
      const other = await app.device('bob');
      expect((await devices[0].post('/devices/sign-out-others')).status).toBe(204);
      for (const each of devices.slice(1)) expect(await each.get('/me')).toMatchObject(over('user'));
      expect((await devices[0].get('/me')).status).toBe(200);
      const fourth = await app.device();
      const answer = await devices[0].post('/devices/sign-out-everywhere');
      expect([answer.status, clearsCookies(answer)]).toEqual([204, true]);
      expect(devices[0].cookies).toEqual([]);
      expect(await fourth.get('/me')).toMatchObject(over('user'));
      expect((await other.get('/me')).status).toBe(200);
      expect(app.ends()).toEqual(Array.from({ length: 4 }, () => ['user', 'ann']));
    });

    it('needs a recent proof of who they are, but not for the list', async () => {
      const app = await start();
      const [here, other] = [await app.device(), await app.device()];
      const id = await idOf(other);
      pass('11m');
      for (const answer of [
        await here.request('DELETE', `/devices/${id}`),
        await here.post('/devices/sign-out-others'),
        await here.post('/devices/sign-out-everywhere'),
      ]) {
        expect(answer).toMatchObject({ status: 401, body: { code: 'insufficient_user_authentication' } });
      }
      expect((await here.get('/devices')).status).toBe(200);
      expect((await other.get('/me')).status).toBe(200);
    });
  });

  describe('by an administrator', () => {
    it('lists and ends the sessions of a user, one or all', async () => {
      const app = await start();
      const root = await app.device('root');
      const [one, two, three] = [await app.device(), await app.device(), await app.device()];
      expect(await root.get('/admin/users/ann/sessions')).toMatchObject({
        body: { devices: [{}, {}, {}], next: null },
      });
      const single = await root.request('DELETE', `/admin/users/ann/sessions/${await idOf(one)}`);
      expect(single.status).toBe(204);
      expect(await one.get('/me')).toMatchObject(over('admin'));
      expect((await two.get('/me')).status).toBe(200);
      const all = await root.request('DELETE', '/admin/users/ann/sessions');
      expect(all).toMatchObject({ status: 200, body: { ended: 2 } });
      for (const each of [two, three]) expect(await each.get('/me')).toMatchObject(over('admin'));
      expect(app.ends()).toEqual(Array.from({ length: 3 }, () => ['admin', 'root']));
    });

    it('ends no session of another user than the one in the URL', async () => {
      const app = await start();
      const [root, bob] = [await app.device('root'), await app.device('bob')];
      const answer = await root.request('DELETE', `/admin/users/ann/sessions/${await idOf(bob)}`);
      expect(answer).toMatchObject({ status: 404, body: { code: 'session_not_found' } });
      expect((await bob.get('/me')).status).toBe(200);
    });

    it('ends those of everybody from before a time', async () => {
      const app = await start();
      const [ann, bob] = [await app.device(), await app.device('bob')];
      pass('1m');
      const before = new Date();
      const [root, later] = [await app.device('root'), await app.device()];
      const answer = await root.post('/admin/sign-out-everybody', { before });
      expect(answer).toMatchObject({ status: 200, body: { ended: 2 } });
      for (const each of [ann, bob]) expect(await each.get('/me')).toMatchObject(over('admin'));
      for (const each of [root, later]) expect((await each.get('/me')).status).toBe(200);
    });

    it.each(['soon', undefined, '2099-01-01'])('refuses what is no time in the past: %s', async (before) => {
      const app = await start();
      const root = await app.device('root');
      const answer = await root.post('/admin/sign-out-everybody', { before });
      expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
      expect((await root.get('/me')).status).toBe(200);
    });

    it.each([
      ['GET', '/admin/users/bob/sessions'],
      ['DELETE', '/admin/users/bob/sessions'],
      ['DELETE', '/admin/users/bob/sessions/:id'],
      ['POST', '/admin/sign-out-everybody'],
    ])('and by nobody else: %s %s', async (method, path) => {
      const app = await start();
      const [ann, bob] = [await app.device(), await app.device('bob')];
      pass('1m');
      const body = { before: new Date() };
      const answer = await ann.request(method, path.replace(':id', await idOf(bob)), { body });
      expect(answer.status).toBe(403);
      expect((await bob.get('/me')).status).toBe(200);
    });
  });
});
