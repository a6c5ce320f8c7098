import { afterEach, describe, expect, it } from 'vitest';
import { type AccountApp, accountApps, moveOn } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import { openStream, type Stream } from './stream.js';
import { StreamsController } from './streams.controller.js';

const metadata = { controllers: [StreamsController] };
const options = { revocationInterval: 0.05 } as const;

/** Streams of each kind, and whether they are complete when they have been ended. */
const kinds = [
  { path: '/streams/sse', isComplete: true },
  { path: '/streams/optional', isComplete: true },
  { path: '/streams/file', isComplete: false },
  { path: '/streams/writes', isComplete: false },
];

interface World {
  readonly app: AccountApp;
  readonly browser: Browser;
  /** The id of the browser's session. */
  readonly id: string;
}

/** How sessions end. */
const ends: { name: string; end: (world: World) => Promise<unknown> }[] = [
  { name: 'is revoked', end: async ({ app, id }) => app.sessions.revoke(id) },
  { name: 'is revoked with others', end: async ({ app, id }) => app.sessions.revokeMany([id]) },
  { name: 'is ended with all of its user', end: async ({ app }) => app.sessions.revokeAllForUser('alice') },
  { name: 'is ended with everybody’s', end: async ({ app }) => app.sessions.revokeAll() },
  { name: 'signs out', end: async ({ browser }) => browser.post('/sign-out') },
  { name: 'is replaced by a sign-in', end: async ({ browser }) => browser.post('/login', { userId: 'bob' }) },
  {
    name: 'is stolen',
    end: async ({ browser }) => {
      const thief = browser.copy();
      await moveOn(browser);
      pass('16m');
      expect(await thief.get('/me')).toMatchObject({ status: 401, body: { code: 'token_theft' } });
    },
  },
  { name: 'expires', end: async () => pass('31d') },
  {
    name: 'has a key that is dropped',
    end: async ({ app }) => app.sessions.rotateSigningKeys({ drop: 'current' }),
  },
  {
    name: 'has a key that is dropped after its token has expired',
    end: async ({ app }) => {
      pass('1h');
      await app.sessions.rotateSigningKeys({ drop: 'current' });
    },
  },
];

describe.each(adapters)('a stream on %s', (adapter) => {
  const start = accountApps(adapter);
  const streams: Stream[] = [];
  afterEach(() => {
    for (const stream of streams.splice(0)) stream.close();
  });
  const open = async (...args: Parameters<typeof openStream>) => {
    const stream = await openStream(...args);
    streams.push(stream);
    return stream;
  };

  const setUp = async (more: object = {}): Promise<World & { other: AccountApp }> => {
    const app = await start({ ...options, ...more }, { metadata });
    const other = await start({ ...options, ...more }, { metadata, database: app.database });
    const browser = await app.signIn();
    const [row] = await app.rows();
    return { app, other, browser, id: row!.id };
  };

  it.each(ends)('ends in every process when its session $name', async ({ end }) => {
    const world = await setUp();
    const here = await Promise.all(kinds.map(({ path }) => open(world.browser, path)));
    const there = await Promise.all(
      kinds.map(({ path }) => open(world.browser, path, { at: world.other.url })),
    );
    const bystander = await open(await world.app.signIn({ userId: 'bob' }), '/streams/sse');
    const stranger = await open(world.app.browser(), '/streams/open');
    await end(world);
    pass('1s');
    const expected = kinds.map(({ isComplete }) => ({ isComplete }));
    expect(await Promise.all(here.map(({ ended }) => ended))).toEqual(expected);
    expect(await Promise.all(there.map(({ ended }) => ended))).toEqual(expected);
    await stranger.more();
    expect(stranger.isOpen).toBe(true);
    expect(bystander.text.length).toBeGreaterThan(0);
  });

  it('goes on when its access token has expired, as long as its session lives, and others come and go', async () => {
    const { browser, other } = await setUp();
    const stream = await open(browser, '/streams/sse');
    const there = await open(browser, '/streams/file', { at: other.url });
    for (let days = 0; days < 20; days++) {
      pass('3d');
      expect((await browser.get('/me')).status).toBe(200);
      await stream.more();
      await there.more();
    }
    pass('31d');
    expect(await stream.ended).toEqual({ isComplete: true });
    await there.ended;
  });
});
