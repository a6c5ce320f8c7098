import { setTimeout as delay } from 'node:timers/promises';
import { Controller, HttpCode, Post, Req, Res } from '@nestjs/common';
import {
  type ActiveSession,
  type HttpRequest,
  type HttpResponse,
  SessionEntity,
  type SessionModuleOptions,
  SessionService,
} from 'nestjs-session-tokens';
import type { DataSource } from 'typeorm';
import { afterEach, describe, expect, it } from 'vitest';
import { storeOn } from '../storage/accesses.js';
import { adapters } from '../support/app.js';
import { type Browser } from '../support/browser.js';
import { connect, databases } from '../support/databases.js';
import { pass } from '../support/time.js';
import { accountApps, clearsCookies } from './account-app.js';

/** What asks for the row of a session that was made a moment ago, and what time must pass before it does. */
const uses = [
  { name: 'the use of an access token in mode "database"', options: { revocation: 'database' }, wait: '1s' },
  {
    name: 'a refresh',
    options: { accessToken: { ttl: '10s' }, reuseWindow: '5s' },
    wait: '11s',
  },
] as const;

/** What a client asks to be done with its session, and how it is seen in the row that it has been done. */
const changes = [
  {
    name: 'a sign-out',
    act: async (browser: Browser) => browser.post('/sign-out'),
    seen: { revokedReason: 'logout' },
  },
  {
    name: 'a sign-out with a refresh token alone',
    act: async (browser: Browser) => {
      browser.delete('session_access');
      return browser.post('/sign-out');
    },
    seen: { revokedReason: 'logout' },
  },
  {
    name: 'the end by the handler',
    act: async (browser: Browser) => browser.post('/logout'),
    seen: { revokedReason: 'logout' },
  },
  {
    name: 'a sign-in in its place',
    act: async (browser: Browser) => browser.post('/login', { userId: 'bob' }),
    seen: { revokedReason: 'replaced' },
  },
  {
    name: 'a second proof of who the user is',
    act: async (browser: Browser) => browser.post('/reauthenticate'),
    seen: { revokedReason: 'replaced' },
  },
  {
    name: 'other data',
    act: async (browser: Browser) => browser.request('PUT', '/data', { body: { seen: true } }),
    seen: { data: '{"seen":true}' },
  },
  {
    name: 'other claims',
    act: async (browser: Browser) => browser.request('PUT', '/claims', { body: { seen: true } }),
    seen: { claims: '{"seen":true}' },
  },
];

@Controller()
class ReauthenticationController {
  constructor(private readonly sessions: SessionService) {}

  @Post('reauthenticate')
  @HttpCode(200)
  async reauthenticate(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<ActiveSession> {
    return this.sessions.reauthenticate(request, response);
  }
}

/** Right after a sign-in, another node of a cluster may not have the row yet: Galera with `wsrep_sync_wait=0`, a late replica. */
describe.each(databases)('a node of $name that has not heard of a session yet', (kind) => {
  const start = accountApps(adapters[0], kind);
  let dataSource: DataSource | undefined;
  afterEach(async () => {
    await dataSource?.destroy();
    dataSource = undefined;
  });

  const signedIn = async (options: SessionModuleOptions = {}) => {
    const app = await start(options, { metadata: { controllers: [ReauthenticationController] } });
    const browser = await app.signIn();
    const [row] = await app.rows();
    const connection = (dataSource = await connect(app.database));
    const rows = connection.getRepository(SessionEntity);
    return {
      browser,
      hide: async () => rows.update({ id: row!.id }, { id: 'elsewhere' }),
      show: async () => rows.update({ id: 'elsewhere' }, { id: row!.id }),
      read: async () => rows.findOneByOrFail({ id: row!.id }),
    };
  };

  describe.each(uses)('at $name', ({ options, wait }) => {
    const setUp = async () => signedIn(options);

    it('is waited for', async () => {
      const { browser, hide, show } = await setUp();
      pass(wait);
      await hide();
      const answer = browser.get('/me');
      await delay(60);
      await show();
      expect((await answer).status).toBe(200);
    });

    it('costs nobody the session', async () => {
      const { browser, hide, show } = await setUp();
      pass(wait);
      await hide();
      const refused = await browser.get('/me');
      expect(refused).toMatchObject({ status: 503, body: { code: 'storage_unavailable' } });
      expect(refused.setCookies).toEqual([]);
      await show();
      expect((await browser.get('/me')).status).toBe(200);
    });

    it('is believed when the session is old enough', async () => {
      const { browser, hide } = await setUp();
      pass('40s');
      await hide();
      const over = await browser.get('/me');
      expect(over).toMatchObject({ status: 401, body: { code: 'session_over' } });
      expect(clearsCookies(over)).toBe(true);
    });
  });

  // A response under way asks, and takes its tokens away from a session that has ended.
  it.each([
    ['young', '1s', false],
    ['old enough', '40s', true],
  ])('has ended no session that is missing there, if it is %s', async (_, wait, isOver) => {
    const { hide, show, read } = await signedIn();
    const { id } = await read();
    const store = storeOn(dataSource!);
    pass(wait);
    expect(await store.isOver(id, Date.now())).toBe(false);
    await hide();
    expect(await store.isOver(id, Date.now())).toBe(isOver);
    await show();
    await store.revoke(id, Date.now(), 'logout');
    expect(await store.isOver(id, Date.now())).toBe(true);
  });

  describe.each(changes)('at $name', ({ act, seen }) => {
    it('is waited for', async () => {
      const { browser, hide, show, read } = await signedIn();
      await hide();
      const answer = act(browser);
      await delay(60);
      await show();
      expect((await answer).status).toBeLessThan(300);
      expect(await read()).toMatchObject(seen);
    });

    it('is not taken for one that is over', async () => {
      const { browser, hide, show, read } = await signedIn();
      await hide();
      const refused = await act(browser);
      expect(refused).toMatchObject({ status: 503, body: { code: 'storage_unavailable' } });
      expect(refused.setCookies).toEqual([]);
      await show();
      expect((await act(browser)).status).toBeLessThan(300);
      expect(await read()).toMatchObject(seen);
    });
  });
});
