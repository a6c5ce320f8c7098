import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SessionEvent, SessionModuleExtras, SessionModuleOptions } from 'nestjs-session-tokens';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type AccountApp, accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { pass } from '../support/time.js';
import { FileStore } from './file-store.js';
import { SessionClient, type Tokens } from './session-client.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tokens-'));
});
afterEach(async () => {
  vi.unstubAllGlobals();
  await rm(folder, { recursive: true });
});

const json = (body: object): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});

/** What happens to the answer to a request. */
type Fate = (request: number, path: string) => 'arrives' | 'is lost' | 'is 503';

/** The network of the clients. It counts the requests to the refresh route. */
function network(fate: Fate = () => 'arrives'): { refreshes: number } {
  const real = fetch;
  const counts = { refreshes: 0 };
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    const path = new URL(url).pathname;
    const isRefresh = path === '/auth/refresh';
    const what = fate(isRefresh ? counts.refreshes++ : 0, path);
    const answer = await real(url, init);
    if (what === 'is lost') throw new TypeError('fetch failed');
    return what === 'is 503' ? new Response('', { status: 503 }) : answer;
  });
  return counts;
}

const lost =
  (requests: number): Fate =>
  (request, path) =>
    path === '/auth/refresh' && request < requests ? 'is lost' : 'arrives';

const OPTIONS: [string, SessionModuleOptions & SessionModuleExtras][] = [
  ['endpoint', { refresh: 'endpoint', refreshPath: '/auth/refresh' }],
  ['transparent', { refreshPath: '/auth/refresh' }],
  ['without cookies', { transport: 'header', refreshPath: '/auth/refresh' }],
];

const cases = adapters.flatMap((adapter) => OPTIONS.map(([mode, options]) => ({ adapter, mode, options })));

const signIn = async (client: SessionClient, userId = 'alice') =>
  expect((await client.fetch('/login', json({ userId }))).status).toBe(200);
const me = async (client: SessionClient) => {
  const answer = await client.fetch('/me');
  return { status: answer.status, ...((await answer.json().catch(() => ({}))) as object) };
};

describe.each(cases)('the client of a native app, over $adapter, $mode', ({ adapter, options }) => {
  const apps = accountApps(adapter);

  /** A device, and what the application tells of its sessions. */
  const device = async () => {
    const app = await apps(options);
    const events: SessionEvent[] = [];
    app.sessions.events.subscribe((event) => events.push(event));
    const path = join(folder, 'tokens.json');
    return {
      app,
      store: new FileStore(path),
      path,
      /** Starts the app, or starts it again. */
      open: (at: AccountApp = app) => new SessionClient(at.url, new FileStore(path)),
      thefts: () => events.filter(({ type }) => type === 'theft'),
    };
  };
  const alice = { status: 200, userId: 'alice' };

  it('signs in once, goes on for months, and signs out', async () => {
    const { open, path, store, app } = await device();
    expect(await me(open())).toMatchObject({ status: 401, code: 'no_credentials' });
    await signIn(open());
    expect(((await stat(path)).mode & 0o777).toString(8)).toBe('600');
    for (const pause of ['1m', '16m', '2m', '20d', '90s', '1s', '20d', '16m']) {
      pass(pause);
      expect(await me(open())).toMatchObject(alice);
    }
    const order = await open().fetch('/orders', json({}));
    expect(order.headers.getSetCookie()).toEqual([]);
    expect((await open().fetch('/sign-out', { method: 'POST' })).status).toBe(204);
    expect(await app.sessions.findAllForUser('alice')).toMatchObject({ sessions: [] });
    expect(await me(open())).toMatchObject({ status: 401, code: 'session_over', reason: 'logout' });
    expect(await store.load()).toBeUndefined();
  });

  it('renews once for all requests', async () => {
    const { open, thefts } = await device();
    const client = open();
    await signIn(client);
    for (let round = 0; round < 3; round++) {
      pass('16m');
      const counts = network();
      const answers = await Promise.all(Array.from({ length: 20 }, async () => me(client)));
      for (const answer of answers) expect(answer).toMatchObject(alice);
      expect(counts.refreshes).toBe(1);
      vi.unstubAllGlobals();
      pass('90s');
      expect(await me(client)).toMatchObject(alice);
    }
    expect(thefts()).toEqual([]);
  });

  it('goes on after a lost response, and after the app was killed before it had stored the tokens', async () => {
    const { open, path, thefts } = await device();
    await signIn(open());
    for (let round = 0; round < 3; round++) {
      pass('16m');
      const before = await readFile(path, 'utf8');
      network(lost(1));
      expect(await me(open())).toMatchObject(alice);
      vi.unstubAllGlobals();
      pass('16m');
      network(lost(2));
      const after = await readFile(path, 'utf8');
      await expect(me(open())).rejects.toThrow('fetch failed');
      vi.unstubAllGlobals();
      expect(await readFile(path, 'utf8')).toBe(after);
      expect(after).not.toBe(before);
      expect(await me(open())).toMatchObject(alice);
    }
    expect(thefts()).toEqual([]);
  });

  it('shares its tokens with another process of the device, also before another process of the server', async () => {
    const { app, open, thefts } = await device();
    const other = await apps(options, { database: app.database });
    await signIn(open());
    for (let round = 0; round < 4; round++) {
      pass('16m');
      const answers = await Promise.all([app, other, app, other].map(async (at) => me(open(at))));
      for (const answer of answers) expect(answer).toMatchObject(alice);
      pass('90s');
      expect(await me(open(other))).toMatchObject(alice);
    }
    expect(thefts()).toEqual([]);
  });

  it('looks again when its token is old, and finds what another process has stored', async () => {
    const { app, open, store, thefts } = await device();
    await signIn(open());
    const old = await store.load();
    pass('16m');
    await me(open());
    pass('90s');
    await me(open());
    pass('16m');
    // It has read its storage before the other process has written to it.
    let reads = 0;
    const slow = {
      load: async () => (reads++ < 2 ? old : store.load()),
      save: async (tokens?: Tokens) => store.save(tokens),
    };
    expect(await me(new SessionClient(app.url, slow))).toMatchObject(alice);
    expect(thefts()).toEqual([]);
  });

  it.each(['thief', 'owner'])(
    'is told of a theft, and forgets its tokens, when the %s comes second',
    async (second) => {
      const { app, open, store, thefts } = await device();
      await signIn(open());
      const copied = new FileStore(join(folder, 'copied.json'));
      await copied.save(await store.load());
      const thief = new SessionClient(app.url, copied);
      const [one, two] = second === 'thief' ? [open(), thief] : [thief, open()];
      pass('16m');
      await me(one);
      pass('90s');
      expect(await me(one)).toMatchObject(alice);
      expect(await me(two)).toMatchObject({ status: 401, code: 'token_theft' });
      pass('1s');
      expect(await me(one)).toMatchObject({ status: 401, code: 'session_over', reason: 'theft' });
      expect([await store.load(), await copied.load()]).toEqual([undefined, undefined]);
      expect(thefts()).toHaveLength(1);
    },
  );

  it.each(['0s', '16m'])(
    'is told why its session is over, and forgets its tokens, after %s',
    async (pause) => {
      const { app, open, store } = await device();
      await signIn(open());
      pass(pause);
      await app.sessions.revokeAllForUser('alice', { reason: 'password_change' });
      const over = { status: 401, code: 'session_over', reason: 'password_change' };
      expect(await me(open())).toMatchObject(over);
      expect(await store.load()).toBeUndefined();
      await signIn(open());
      expect(await me(open())).toMatchObject(alice);
    },
  );

  it('keeps its tokens while the server has troubles', async () => {
    const { open, store } = await device();
    await signIn(open());
    const before = await store.load();
    pass('16m');
    network((_, path) => (path === '/auth/refresh' ? 'is 503' : 'arrives'));
    expect(await me(open())).toMatchObject({ status: 503 });
    vi.unstubAllGlobals();
    expect(await store.load()).toEqual(before);
    expect(await me(open())).toMatchObject(alice);
  });

  it('does not lose the tokens of a sign-in to a late answer', async () => {
    const { app, open, store } = await device();
    const client = open();
    await signIn(client);
    await app.sessions.revokeAllForUser('alice');
    const real = fetch;
    vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
      const answer = await real(url, init);
      if (url.endsWith('/me')) await signIn(open(), 'bob');
      return answer;
    });
    expect(await me(client)).toMatchObject({ status: 401, code: 'session_over' });
    vi.unstubAllGlobals();
    expect(await store.load()).toBeDefined();
    expect(await me(client)).toMatchObject({ status: 200, userId: 'bob' });
  });
});
