import { afterEach, describe, expect, it } from 'vitest';
import { type AccountApp, accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { pass } from '../support/time.js';
import { ends, type World } from './ends.js';
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
