import { Logger } from '@nestjs/common';
import { describe, expect, it, vi } from 'vitest';
import { accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { pass } from '../support/time.js';
import { SupportModule } from './impersonation.recipe.js';

describe.each(adapters)('the recipe for impersonation over %s', (adapter) => {
  const apps = accountApps(adapter);
  const signedIn = async (userId: string) =>
    (await apps({}, { metadata: { imports: [SupportModule] } })).signIn({ userId });
  const start = { userId: 'ann', reason: 'case 4711' };

  it('lets an administrator act as a user, shows both, and lets them go back', async () => {
    const log = vi.spyOn(Logger.prototype, 'log').mockReturnValue();
    const browser = await signedIn('alice');
    expect(await browser.get('/account')).toMatchObject({ body: { userId: 'alice' } });
    expect((await browser.post('/support/impersonation', start)).status).toBe(204);
    const until = new Date(Date.now() + 15 * 60_000).toISOString();
    expect((await browser.get('/account')).body).toEqual({ userId: 'ann', actedBy: 'alice', until });
    expect(await browser.post('/account/name', { name: 'Ann' })).toMatchObject({ body: { userId: 'ann' } });
    expect(await browser.post('/account/payment')).toMatchObject({
      status: 403,
      body: { code: 'impersonation_refused' },
    });
    expect((await browser.post('/support/impersonation/stop')).status).toBe(204);
    expect((await browser.get('/account')).body).toEqual({ userId: 'alice' });
    expect(await browser.post('/account/payment')).toMatchObject({ body: { paidBy: 'alice' } });
    expect(log.mock.calls.flat()).toEqual(
      expect.arrayContaining([
        'created: alice acts as ann (case 4711)',
        'revoked: alice acts as ann (case 4711)',
      ]),
    );
    log.mockRestore();
  });

  it('saves no form for the wrong account when the time is over', async () => {
    const browser = await signedIn('alice');
    await browser.post('/support/impersonation', start);
    pass('15m');
    for (const send of [browser.get('/account'), browser.post('/account/name', { name: 'Ann' })]) {
      expect(await send).toMatchObject({ status: 401, body: { code: 'session_over', impersonation: true } });
    }
    await browser.post('/support/impersonation/stop');
    expect(await browser.post('/account/name', { name: 'Al' })).toMatchObject({ body: { userId: 'alice' } });
  });

  it.each<[who: string, userId: string, body: object]>([
    ['a user', 'bob', start],
    ['an administrator as another one', 'alice', { ...start, userId: 'root' }],
    ['an administrator as nobody', 'alice', { ...start, userId: 'nobody' }],
    ['an administrator without a reason', 'alice', { userId: 'ann' }],
  ])('refuses %s', async (_who, userId, body) => {
    const browser = await signedIn(userId);
    expect((await browser.post('/support/impersonation', body)).status).toBe(403);
    expect(await browser.get('/account')).toMatchObject({ body: { userId } });
  });

  it('asks an administrator who signed in a while ago for another proof', async () => {
    const browser = await signedIn('alice');
    pass('11m');
    expect(await browser.post('/support/impersonation', start)).toMatchObject({
      status: 401,
      body: { code: 'insufficient_user_authentication' },
    });
  });
});
