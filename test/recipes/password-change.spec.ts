import { StorageUnavailableError } from 'nestjs-session-tokens';
import { describe, expect, it, vi } from 'vitest';
import { accountApps, cookieOf } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { keepSecret } from '../support/log-search.js';
import { pass } from '../support/time.js';
import { PasswordModule, Users } from './password-change.recipe.js';

const OLD = 'a rabbit with a watch';
const NEW = 'a cat without a grin';
[OLD, NEW].forEach((each) => keepSecret(each));

const signIn = { userId: 'ann', password: OLD };
const change = { oldPassword: OLD, newPassword: NEW };
const over = { status: 401, body: { code: 'session_over', reason: 'password_change' } };

describe.each(adapters)('the recipe for a change of the password over %s', (adapter) => {
  const apps = accountApps(adapter);
  const start = async () => {
    const app = await apps({}, { metadata: { imports: [PasswordModule] } });
    const users = app.app.get(Users);
    await users.add('ann', OLD);
    await users.add('bob', OLD);
    const device = async (userId = 'ann') => {
      const browser = app.browser();
      expect((await browser.post('/account/login', { userId, password: OLD })).status).toBe(204);
      return browser;
    };
    const reasons = async () => (await app.rows()).map(({ revokedReason }) => revokedReason);
    return { ...app, users, device, reasons };
  };

  it('gives this client a new session, signs the user out elsewhere, and nobody else', async () => {
    const app = await start();
    const [here, elsewhere, other] = [await app.device(), await app.device(), await app.device('bob')];
    const thief = here.copy();
    const before = cookieOf(here, 'session_refresh').value;
    pass('20m');
    expect((await here.post('/account/password', change)).status).toBe(204);
    expect(cookieOf(here, 'session_refresh').value).not.toBe(before);
    const me = await here.get('/me');
    expect(me).toMatchObject({
      status: 200,
      body: { amr: ['pwd'], authenticatedAt: expect.stringContaining('T09:50:00') },
    });
    expect((await app.reasons()).map(String).toSorted()).toEqual([
      'null',
      'null',
      'password_change',
      'replaced',
    ]);
    expect(await elsewhere.get('/me')).toMatchObject(over);
    expect((await other.get('/me')).status).toBe(200);
    expect((await thief.get('/me')).status).toBe(401);
    expect((await app.browser().post('/account/login', signIn)).status).toBe(401);
    expect((await app.browser().post('/account/login', { ...signIn, password: NEW })).status).toBe(204);
  });

  it('does not sign out requests of this client that are under way', async () => {
    const app = await start();
    const here = await app.device();
    const underWay = { headers: { cookie: here.cookieHeader('/') } };
    await here.post('/account/password', change);
    expect((await here.post('/orders', undefined, underWay)).status).toBe(200);
    expect((await here.get('/me', underWay)).status).toBe(200);
    expect((await here.get('/me')).status).toBe(200);
  });

  it.each<[what: string, body: object, status: number]>([
    ['a wrong password', { ...change, oldPassword: NEW }, 403],
    ['no password', { newPassword: NEW }, 403],
    ['a new one that is short', { ...change, newPassword: 'hatter' }, 400],
    ['a new one that is no text', { ...change, newPassword: { length: 99 } }, 400],
  ])('is refused with %s, and everybody stays signed in', async (_what, body, status) => {
    const app = await start();
    const [here, elsewhere] = [await app.device(), await app.device()];
    expect((await here.post('/account/password', body)).status).toBe(status);
    for (const each of [here, elsewhere]) expect((await each.get('/me')).status).toBe(200);
    expect((await app.browser().post('/account/login', signIn)).status).toBe(204);
  });

  it('is refused to somebody who acts as the user', async () => {
    const app = await start();
    const actor = await app.sessions.tokens.issue({ userId: 'bob' });
    const { accessToken } = await app.sessions.tokens.impersonate(actor.session.id, { userId: 'ann' });
    const headers = { authorization: `Bearer ${accessToken.token}` };
    const answer = await app.browser().post('/account/password', change, { headers });
    expect(answer).toMatchObject({ status: 403, body: { code: 'impersonation_refused' } });
    expect(await app.users.check('ann', OLD)).not.toBeNull();
  });

  it.each([
    [
      'has checked the old one, and makes its session after that',
      (app: Awaited<ReturnType<typeof start>>, meanwhile: () => Promise<unknown>) => {
        const create = app.sessions.create.bind(app.sessions);
        vi.spyOn(app.sessions, 'create').mockImplementationOnce(async (...input) => {
          await meanwhile();
          return create(...input);
        });
      },
    ],
    [
      'has made its session',
      (app: Awaited<ReturnType<typeof start>>, meanwhile: () => Promise<unknown>) => {
        const versionOf = app.users.versionOf.bind(app.users);
        vi.spyOn(app.users, 'versionOf').mockImplementationOnce(async (id) => {
          await meanwhile();
          return versionOf(id);
        });
      },
    ],
  ])('also ends a sign-in with the old one that %s', async (_when, during) => {
    const app = await start();
    const here = await app.device();
    during(app, async () => here.post('/account/password', change));
    const late = app.browser();
    expect((await late.post('/account/login', signIn)).status).toBe(401);
    expect(late.cookies).toEqual([]);
    expect((await app.sessions.findAllForUser('ann')).sessions).toHaveLength(1);
    expect((await here.get('/me')).status).toBe(200);
  });

  it('saves the new one before it ends anything', async () => {
    const app = await start();
    const [here, late] = [await app.device(), app.browser()];
    const revokeAllForUser = app.sessions.revokeAllForUser.bind(app.sessions);
    vi.spyOn(app.sessions, 'revokeAllForUser').mockImplementationOnce(async (...input) => {
      const ended = await revokeAllForUser(...input);
      expect((await late.post('/account/login', signIn)).status).toBe(401);
      return ended;
    });
    expect((await here.post('/account/password', change)).status).toBe(204);
    expect((await late.get('/me')).status).toBe(401);
  });

  it('leaves nobody signed in elsewhere if this client gets no new session', async () => {
    const app = await start();
    const [here, elsewhere] = [await app.device(), await app.device()];
    const down = new StorageUnavailableError('The database is down.');
    vi.spyOn(app.sessions, 'reauthenticate').mockRejectedValueOnce(down);
    expect((await here.post('/account/password', change)).status).toBe(503);
    expect(await elsewhere.get('/me')).toMatchObject(over);
    expect((await here.get('/me')).status).toBe(200);
  });

  it('is made once, of two at the same time', async () => {
    const app = await start();
    const here = await app.device();
    const wishes = [NEW, `${NEW} too`];
    const answers = await Promise.all(
      wishes.map(async (newPassword) => here.post('/account/password', { ...change, newPassword })),
    );
    expect(answers.filter(({ status }) => status === 204)).toHaveLength(1);
    const users = await Promise.all(wishes.map(async (each) => app.users.check('ann', each)));
    expect(users.map((each) => each !== null)).toEqual(answers.map(({ status }) => status === 204));
    expect((await here.get('/me')).status).toBe(200);
  });

  describe('that was forgotten', () => {
    it('ends all sessions', async () => {
      const app = await start();
      const [one, two, other] = [await app.device(), await app.device(), await app.device('bob')];
      const token = await app.users.startReset('ann');
      const answer = await app.browser().post('/account/password/reset', { token, newPassword: NEW });
      expect(answer.status).toBe(204);
      for (const each of [one, two]) expect(await each.get('/me')).toMatchObject(over);
      expect((await other.get('/me')).status).toBe(200);
      expect((await app.browser().post('/account/login', { ...signIn, password: NEW })).status).toBe(204);
    });

    it.each<
      [why: string, before: (app: Awaited<ReturnType<typeof start>>, token: string) => Promise<unknown>]
    >([
      [
        'has been used',
        async (app, token) =>
          app.browser().post('/account/password/reset', { token, newPassword: `${NEW} again` }),
      ],
      ['is a quarter of an hour old', async () => pass('15m')],
      [
        'is from before another change',
        async (app) => (await app.device()).post('/account/password', change),
      ],
    ])('is refused with a token that %s', async (_why, before) => {
      const app = await start();
      const token = (await app.users.startReset('ann'))!;
      await before(app, token);
      const body = { token, newPassword: 'a third password' };
      expect((await app.browser().post('/account/password/reset', body)).status).toBe(403);
      expect(await app.users.check('ann', body.newPassword)).toBeNull();
    });

    it('takes a token again whose new password was too short', async () => {
      const app = await start();
      const token = await app.users.startReset('ann');
      const reset = async (newPassword: string) =>
        (await app.browser().post('/account/password/reset', { token, newPassword })).status;
      expect([await reset('hatter'), await reset(NEW)]).toEqual([400, 204]);
    });
  });
});
