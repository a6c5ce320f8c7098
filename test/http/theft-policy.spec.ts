import { Logger } from '@nestjs/common';
import {
  type SessionEvent,
  type SessionModuleOptions,
  type TokenTheft,
  TokenTheftError,
} from 'nestjs-session-tokens';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { TheftResponse } from '../../lib/session/theft-response.js';
import { adapters } from '../support/app.js';
import { pass } from '../support/time.js';
import { type AccountApp, accountApps, refusal } from './account-app.js';

const OWNER = { 'user-agent': 'Mozilla/5.0 (Owner)' };
const THIEF = { 'user-agent': 'Mozilla/5.0 (Thief)' };

/** Alice has three sessions and Bob has one. A thief has copied the cookies of her first, and is caught. */
async function steal(app: AccountApp) {
  const owner = app.browser();
  await owner.post('/login', { userId: 'alice' }, { headers: OWNER });
  const { id: stolen } = (await owner.get('/me')).body as { id: string };
  for (const userId of ['alice', 'alice', 'bob']) await app.signIn({ userId });
  const thief = owner.copy();
  pass('16m');
  await owner.get('/me', { headers: OWNER });
  pass('95s');
  await owner.get('/me', { headers: OWNER });
  const events: SessionEvent[] = [];
  app.sessions.events.subscribe((event) => events.push(event));
  pass('5s');
  const answer = await thief.get('/me', { headers: THIEF });
  const live = async (userId: string) => (await app.sessions.findAllForUser(userId)).sessions.length;
  return { answer, stolen, events, alice: await live('alice'), bob: await live('bob') };
}

describe.each(adapters)('what a theft revokes, over %s', (adapter) => {
  const start = accountApps(adapter);
  afterEach(() => vi.restoreAllMocks());

  const policies: [string, SessionModuleOptions['theft'], alice: number][] = [
    ['by default', undefined, 2],
    ['the session', 'session', 2],
    ['all of the user', 'user', 0],
    ['what a function says at once', ({ kind }) => (kind === 'superseded' ? 'user' : 'session'), 0],
    ['what a function says later', async () => Promise.resolve('session' as const), 2],
  ];

  it.each(policies)('%s', async (_, theft, alice) => {
    const logged = vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    const app = await start({ theft });
    const told = await steal(app);
    expect(told.answer).toMatchObject(refusal(401, 'token_theft'));
    expect(told).toMatchObject({ alice, bob: 1 });
    const [stale, theftEvent] = told.events;
    const others = told.events.filter(({ type }) => type === 'revoked');
    expect(told.events.length - others.length).toBe(alice === 0 ? 3 : 2);
    expect(stale).toMatchObject({ type: 'stale', sessionId: told.stolen });
    expect(theftEvent).toMatchObject({ type: 'theft', sessionId: told.stolen });
    const ended = { type: 'revoked', userId: 'alice', reason: 'theft', by: undefined };
    expect(others).toMatchObject(Array.from({ length: 2 - alice }, () => ended));
    expect(new Set([told.stolen, ...others.map(({ sessionId }) => sessionId)]).size).toBe(3 - alice);
    expect(logged).not.toHaveBeenCalled();
  });

  it.each<[string, () => never]>([
    [
      'fails at once',
      () => {
        throw new Error('of the policy');
      },
    ],
    ['fails later', (async () => Promise.reject(new Error('of the policy'))) as never],
    ['says something else', (() => 'everything') as never],
    ['says nothing', (() => undefined) as never],
  ])('the session alone, if a function %s, which is logged', async (_, theft) => {
    const logged = vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    const told = await steal(await start({ theft }));
    expect(told.answer).toMatchObject(refusal(401, 'token_theft'));
    expect(told).toMatchObject({ alice: 2, bob: 1 });
    expect(logged).toHaveBeenCalledOnce();
    expect(logged.mock.calls[0]![0]).toContain(told.stolen);
  });

  it('first the session, and then the function is asked, which knows both parties', async () => {
    const asked: TokenTheft[] = [];
    let found: unknown;
    const app: AccountApp = await start({
      async theft(theft) {
        asked.push(theft);
        found = await app.sessions.find(theft.sessionId);
        return 'session' as const;
      },
    });
    const warned = vi.spyOn(Logger.prototype, 'warn').mockReturnValue();
    const { stolen, events } = await steal(app);
    expect(found).toBeNull();
    const theft = {
      sessionId: stolen,
      userId: 'alice',
      tokenId: expect.any(String) as string,
      kind: 'superseded',
      behind: 1,
      age: (16 * 60 + 100) * 1_000,
      sinceRotation: 5_000,
      device: { userAgent: 'Mozilla/5.0 (Owner)', ip: '127.0.0.1' },
      request: { userAgent: 'Mozilla/5.0 (Thief)', ip: '127.0.0.1' },
    };
    expect(asked).toEqual([theft]);
    const common = { ...theft, at: new Date(), module: 'default' };
    expect(events).toEqual([
      { type: 'stale', ...common },
      { type: 'theft', ...common },
    ]);
    expect(warned.mock.calls.flat().join()).toContain('of user "alice"');
  });
});

describe('a theft that is found without HTTP', () => {
  const start = accountApps('express');

  it.each([
    [undefined, undefined],
    [{ userAgent: 'App/1.0' }, { userAgent: 'App/1.0', ip: null }],
  ])('has the client as far as the application says: %j', async (device, request) => {
    const { sessions } = await start();
    const events: SessionEvent[] = [];
    sessions.events.subscribe((event) => events.push(event));
    const { refreshToken } = await sessions.tokens.issue({ userId: 1 });
    pass('16m');
    const next = await sessions.tokens.refresh(refreshToken.token);
    pass('90s');
    await sessions.tokens.verify(next.accessToken.token);
    const looksOld = sessions.tokens.refresh(refreshToken.token, { device });
    const { tokenId: lookedAgain } = (await looksOld.catch((error: unknown) => error)) as { tokenId: string };
    await expect(sessions.tokens.refresh(refreshToken.token, { device, lookedAgain })).rejects.toThrow(
      TokenTheftError,
    );
    const told = { device: { userAgent: null, ip: null }, request };
    expect(events.slice(-2)).toMatchObject([
      { type: 'stale', ...told },
      { type: 'theft', ...told },
    ]);
  });

  it('is a theft, even if the other sessions of the user cannot be revoked', async () => {
    const logged = vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    const response = new TheftResponse('user', async () => Promise.reject(new Error('down')));
    await response.answer({ sessionId: 'session', userId: 1 } as TokenTheft);
    expect(logged).toHaveBeenCalledOnce();
    vi.restoreAllMocks();
  });
});
