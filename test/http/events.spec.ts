import { describe, expect, it } from 'vitest';
import { CsrfError, type SessionEvent } from 'nestjs-session-tokens';
import { adapters } from '../support/app.js';
import { pass, START } from '../support/time.js';
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
    const { id } = (await app.sessions.findAllForUser('alice')).sessions[0]!;
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

  describe('of a request that a page of another site may have sent', () => {
    const evil = {
      origin: 'https://evil.example',
      'sec-fetch-site': 'cross-site',
      'user-agent': 'Victim/1.0',
    };
    const refused = {
      type: 'csrf_refused',
      at: new Date(START),
      module: 'default',
      origin: 'https://evil.example',
      request: { userAgent: 'Victim/1.0', ip: '127.0.0.1' },
      message: expect.any(String) as string,
    };

    it('say what it was, and nothing of its query or its cookies', async () => {
      const app = await start();
      const browser = await app.signIn();
      const events = eventsOf(app);
      const asked = [
        ['/orders', '/orders'],
        ['/login?token=0123456789', '/login'],
        [`/sign-out/${'x'.repeat(300)}?a`, undefined],
        ['/sign-out?next=/a?b', '/sign-out'],
      ] as const;
      for (const [path] of asked) await browser.post(path, { userId: 'mallory' }, { headers: evil });
      await browser.post(
        '/orders',
        {},
        { headers: { 'user-agent': 'Victim/1.0', 'sec-fetch-site': 'same-site' } },
      );
      const paths = asked.flatMap(([, path]) => path ?? []);
      expect(events).toEqual([
        ...paths.map((path) => Object.assign({ method: 'POST', path }, refused)),
        Object.assign({ method: 'POST', path: '/orders' }, refused, { origin: undefined }),
      ]);
    });

    it('are short, whatever the request says', async () => {
      const app = await start();
      const events = eventsOf(app);
      const long = 'x'.repeat(1_000);
      const request = {
        method: 'POST',
        url: `/${long}?${long}`,
        headers: { origin: `https://${long}` },
        ip: long,
      };
      expect(() => app.sessions.checkOrigin(request)).toThrow(CsrfError);
      expect(events).toMatchObject([
        {
          path: `/${long.slice(1, 200)}`,
          origin: `https://${long.slice(0, 192)}`,
          request: { ip: long.slice(0, 64) },
        },
      ]);
    });

    it('come where only the refresh route may exchange a token', async () => {
      const app = await start({ csrf: { mode: 'token' }, refresh: 'endpoint', refreshPath: '/refresh' });
      const browser = await app.signIn();
      const events = eventsOf(app);
      expect((await browser.post('/orders', {})).status).toBe(403);
      expect(events).toMatchObject([{ type: 'csrf_refused', path: '/orders' }]);
    });

    it.each([
      ['header', {}],
      ['token', { 'anti-csrf': 'junk' }],
    ] as const)('come once in mode %s, also where the access token has expired', async (mode, headers) => {
      const app = await start({ csrf: { mode } });
      const browser = await app.signIn();
      const events = eventsOf(app);
      expect((await browser.post('/orders', {}, { headers })).status).toBe(403);
      expect(events).toMatchObject([{ type: 'csrf_refused', path: '/orders' }]);
      pass('16m');
      expect((await browser.post('/orders', {}, { headers })).status).toBe(403);
      expect(events.map(({ type }) => type)).toEqual(['csrf_refused', 'csrf_refused']);
      expect(events[1]).not.toHaveProperty('sessionId');
    });
  });
});
