import { describe, expect, it } from 'vitest';
import type { SessionEvent } from 'nestjs-session-tokens';
import { adapters } from '../support/app.js';
import { pass } from '../support/time.js';
import { type AccountApp, accountApps } from './account-app.js';

function eventsOf({ sessions }: AccountApp): SessionEvent[] {
  const events: SessionEvent[] = [];
  sessions.events.subscribe((event) => events.push(event));
  return events;
}

describe.each(adapters)('events over %s', (adapter) => {
  const start = accountApps(adapter);

  it('of a sign-in have the client, and of a refresh whose session it was', async () => {
    const app = await start();
    const events = eventsOf(app);
    const browser = app.browser();
    const signedInAt = new Date();
    await browser.post('/login', { userId: 'alice' }, { headers: { 'user-agent': 'Tésted/1.0' } });
    const { id: sessionId } = (await browser.get('/me')).body as { id: string };
    pass('16m');
    await browser.get('/me');
    const common = { sessionId, userId: 'alice', module: 'default' };
    // Node decodes headers as Latin-1; a column may have any character set.
    const device = { userAgent: expect.stringMatching(/^T\?+sted\/1\.0$/) as string, ip: '127.0.0.1' };
    expect(events).toEqual([
      { type: 'created', ...common, device, at: signedInAt },
      { type: 'refreshed', ...common, at: new Date() },
    ]);
  });

  it('of a revocation say why, and who has done it', async () => {
    const app = await start();
    const browser = app.browser();
    const ids: string[] = [];
    const signIn = async (userId: string) => {
      await browser.post('/login', { userId });
      ids.push(((await browser.get('/me')).body as { id: string }).id);
    };
    await signIn('alice');
    const events = eventsOf(app);
    await signIn('bob'); // ends Alice's session in this browser
    await browser.post('/logout');
    await signIn('alice');
    await browser.post('/sign-out');
    await signIn('alice');
    pass('16m');
    // The access token has expired, so the refresh token alone ends the session.
    await browser.post('/sign-out');
    await signIn('carol');
    await app.sessions.revoke(ids.at(-1)!, { reason: 'admin', by: 'root' });
    await signIn('carol');
    await app.sessions.revokeMany([ids.at(-1)!], { reason: 'too_many', by: 7 });
    await signIn('carol');
    await app.sessions.revokeAllForUser('carol', { reason: 'password_change' });
    const ended = events.filter(({ type }) => type === 'revoked');
    const said = [
      { userId: 'alice', reason: 'replaced', by: 'bob' },
      { userId: 'bob', reason: 'logout', by: 'bob' },
      { userId: 'alice', reason: 'logout', by: 'alice' },
      { userId: 'alice', reason: 'logout', by: 'alice' },
      { userId: 'carol', reason: 'admin', by: 'root' },
      { userId: 'carol', reason: 'too_many', by: 7 },
      { userId: 'carol', reason: 'password_change', by: undefined },
    ];
    expect(ended).toMatchObject(said);
    expect(ended.map(({ sessionId }) => sessionId)).toEqual(ids);
  });

  it('come not of a reason that is none, and nothing ends', async () => {
    const app = await start();
    await app.signIn();
    const events = eventsOf(app);
    const { id } = (await app.sessions.findAllForUser('alice'))[0]!;
    const options = { reason: 'Not a reason' };
    for (const attempt of [
      app.sessions.revoke(id, options),
      app.sessions.revokeMany([id], options),
      app.sessions.revokeAllForUser('alice', options),
      app.sessions.revokeAllForUser('nobody', options),
    ]) {
      await expect(attempt).rejects.toMatchObject({ code: 'invalid_reason', status: 400 });
    }
    expect(events).toEqual([]);
    expect(await app.sessions.find(id)).not.toBeNull();
  });
});
