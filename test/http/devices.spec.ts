import { inspect } from 'node:util';
import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Logger,
  Param,
  Patch,
  Post,
  Query,
  Req,
  Res,
  UseGuards,
} from '@nestjs/common';
import {
  ActiveSession,
  CurrentSession,
  type DeviceOptions,
  type HttpRequest,
  type HttpResponse,
  type SessionChanges,
  SessionEntity,
  type SessionEvent,
  SessionGuard,
  type SessionInfo,
  type SessionPage,
  SessionService,
  truncateIp,
} from 'nestjs-session-tokens';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { newSessionId } from '../../lib/protocol/session-id.js';
import type { Browser } from '../support/browser.js';
import { connect, databases } from '../support/databases.js';
import { pass } from '../support/time.js';
import { type AccountApp, accountApps, refusal } from './account-app.js';

const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36';
const SAFARI =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1';

/** What a page with the devices of a user needs. */
@Controller('devices')
@UseGuards(SessionGuard)
class DevicesController {
  constructor(private readonly sessions: SessionService) {}

  @Get()
  async list(
    @CurrentSession() { id: current, userId }: ActiveSession,
    @Query() { limit, after }: { limit?: string; after?: string },
  ): Promise<SessionPage> {
    return this.sessions.findAllForUser(userId, {
      current,
      after,
      ...(limit !== undefined && { limit: Number(limit) }),
    });
  }

  @Get('here')
  async here(@CurrentSession() session: ActiveSession): Promise<SessionInfo> {
    return session.getInfo();
  }

  @Patch('here')
  async renameHere(
    @CurrentSession() session: ActiveSession,
    @Body('label') label: string | null,
  ): Promise<void> {
    await session.rename(label);
  }

  @Patch(':id')
  async rename(@Param('id') id: string, @Body('label') label: string | null): Promise<void> {
    await this.sessions.rename(id, label);
  }

  @Delete(':id')
  async end(@Param('id') id: string): Promise<void> {
    await this.sessions.revoke(id);
  }

  @Post('prove')
  @HttpCode(200)
  async prove(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
    @Body() changes: SessionChanges,
  ): Promise<void> {
    await this.sessions.reauthenticate(request, response, changes);
  }
}

/** A session as JSON. */
type Listed = Omit<SessionInfo, 'createdAt' | 'lastSeenAt' | 'expiresAt' | 'authenticatedAt'>;

async function signIn(app: AccountApp, input: object = {}, userAgent = CHROME): Promise<Browser> {
  const browser = app.browser();
  const headers = { 'user-agent': userAgent };
  const answer = await browser.post('/login', { userId: 'ann', ...input }, { headers });
  expect(answer).toMatchObject({ status: 200 });
  return browser;
}

/** The id of the session of a browser. */
const idOf = async (browser: Browser) => ((await browser.get('/me')).body as { id: string }).id;

async function listOf(browser: Browser, query = ''): Promise<{ sessions: Listed[]; next: string | null }> {
  const answer = await browser.get(`/devices${query}`);
  expect(answer).toMatchObject({ status: 200 });
  return answer.body as { sessions: Listed[]; next: string | null };
}

/** Rows of a user, each a second newer than the one before. */
async function fill(app: AccountApp, userIds: readonly string[], at = Date.now()): Promise<string[]> {
  const dataSource = await connect(app.database);
  const rows = dataSource.getRepository(SessionEntity);
  const [row] = await rows.find();
  const made = userIds.map((userId, n) =>
    Object.assign(new SessionEntity(), row, {
      id: newSessionId(at + n * 1_000),
      userId: JSON.stringify(userId),
      createdAt: at + n * 1_000,
    }),
  );
  await rows.insert(made);
  await dataSource.destroy();
  return made.map(({ id }) => id).toReversed();
}

/** The ids of all pages. */
const pages = async (app: AccountApp, userId: string, limit: number, between = async () => {}) => {
  const found: string[][] = [];
  for (let after: string | undefined; ;) {
    const { sessions, next } = await app.sessions.findAllForUser(userId, { limit, after });
    found.push(sessions.map(({ id }) => id));
    expect(found.length).toBeLessThan(20);
    if (next === null) return found;
    after = next;
    await between();
  }
};

const kinds = databases.map((kind) => ({
  kind,
  adapter: kind.name === 'postgres' ? ('fastify' as const) : ('express' as const),
}));

describe.each(kinds)('the devices of a user on $kind.name', ({ kind, adapter }) => {
  const apps = accountApps(adapter, kind);
  const start = (options?: DeviceOptions) =>
    apps({ devices: options }, { metadata: { controllers: [DevicesController] } });

  describe('have', () => {
    it('labels, browsers and systems in words, and one of them is the current one', async () => {
      const app = await start();
      const laptop = await signIn(app, { device: { label: 'Work' } });
      pass('1m');
      await signIn(app, {}, SAFARI);
      pass('1m');
      await signIn(app, { device: { userAgent: 'MyApp/1.2', ip: '192.0.2.1', label: 'Ann’s phone' } });
      await signIn(app, { userId: 'bob' });
      const { sessions, next } = await listOf(laptop);
      const described = sessions.map(({ label, browser, system, userAgent, ip, current }) => [
        label,
        browser,
        system,
        userAgent,
        ip,
        current,
      ]);
      expect(described).toEqual([
        ['Ann’s phone', 'MyApp', null, 'MyApp/1.2', '192.0.2.1', false],
        [null, 'Safari', 'iOS', SAFARI, '127.0.0.1', false],
        ['Work', 'Chrome', 'Windows', CHROME, '127.0.0.1', true],
      ]);
      expect(next).toBeNull();
    });

    it('no current one unless it is said which one asks', async () => {
      const app = await start();
      const browser = await signIn(app);
      const id = await idOf(browser);
      const currentOf = async (options?: object) =>
        (await app.sessions.findAllForUser('ann', options)).sessions.map(({ current }) => current);
      expect(await currentOf()).toEqual([undefined]);
      expect(await currentOf({ current: newSessionId(0) })).toEqual([false]);
      expect(await currentOf({ current: id })).toEqual([true]);
      expect((await app.sessions.find(id))!.current).toBeUndefined();
      expect((await browser.get('/devices/here')).body).toMatchObject({ current: true });
    });

    it('all of this as members that can be logged, copied and serialised', async () => {
      const app = await start();
      const id = await idOf(await signIn(app, { device: { label: 'Work' } }));
      const info = (await app.sessions.find(id))!;
      const named = { label: 'Work', browser: 'Chrome', system: 'Windows' };
      expect(info).toMatchObject(named);
      expect(JSON.parse(JSON.stringify(info))).toMatchObject(named);
      expect({ ...info }).toMatchObject(named);
      expect(structuredClone(info)).toMatchObject(named);
      for (const text of [inspect(info), inspect({ info }), inspect([info])]) {
        expect(text).toMatch(/browser: 'Chrome',\s+system: 'Windows'/);
        expect(text).not.toContain('Getter');
      }
    });
  });

  describe('can be renamed', () => {
    it('by their users, from each device', async () => {
      const app = await start();
      const [laptop, phone] = [await signIn(app), await signIn(app, { device: { label: 'Old' } })];
      const [laptopId, phoneId] = [await idOf(laptop), await idOf(phone)];
      expect(await laptop.request('PATCH', '/devices/here', { body: { label: 'Büro 🖥️' } })).toMatchObject({
        status: 200,
      });
      expect(
        await laptop.request('PATCH', `/devices/${phoneId}`, { body: { label: 'Phone' } }),
      ).toMatchObject({ status: 200 });
      const labels = async () =>
        Object.fromEntries((await listOf(laptop)).sessions.map(({ id, label }) => [id, label]));
      expect(await labels()).toEqual({ [laptopId]: 'Büro 🖥️', [phoneId]: 'Phone' });
      // The same name again is no error, and null takes it away.
      await app.sessions.rename(laptopId, 'Büro 🖥️');
      await app.sessions.rename(phoneId, null);
      await app.sessions.rename(phoneId, null);
      expect(await labels()).toEqual({ [laptopId]: 'Büro 🖥️', [phoneId]: null });
    });

    it('while the data are updated: nothing is lost', async () => {
      const app = await start();
      const id = await idOf(await signIn(app));
      let calls = 0;
      await app.sessions.updateData(id, async () => {
        if (calls++ === 0) await app.sessions.rename(id, 'Renamed');
        return { n: 1 };
      });
      expect(calls).toBe(2);
      expect(await app.sessions.find(id)).toMatchObject({ data: { n: 1 }, label: 'Renamed' });
    });

    it.each([[''], [' '], ['a\nb'], ['x'.repeat(65)], [1], [{}]])('not to %j', async (label) => {
      const app = await start();
      const browser = await signIn(app, { device: { label: 'Before' } });
      const id = await idOf(browser);
      for (const path of ['here', id]) {
        const answer = await browser.request('PATCH', `/devices/${path}`, { body: { label } });
        expect(answer).toMatchObject(refusal(400, 'invalid_input'));
      }
      const login = await app.browser().post('/login', { userId: 'ann', device: { label } });
      expect(login).toMatchObject(refusal(400, 'invalid_input'));
      expect((await listOf(browser)).sessions).toMatchObject([{ id, label: 'Before' }]);
    });

    it('only as long as their sessions live', async () => {
      const app = await start();
      const browser = await signIn(app);
      const ended = await idOf(await signIn(app));
      await app.sessions.revoke(ended);
      for (const id of [ended, newSessionId(0), 'nonsense', '%00']) {
        const answer = await browser.request('PATCH', `/devices/${id}`, { body: { label: 'x' } });
        expect(answer).toMatchObject(refusal(404, 'session_not_found'));
      }
      const last = await idOf(browser);
      pass('31d');
      await expect(app.sessions.rename(last, 'x')).rejects.toMatchObject({ code: 'session_not_found' });
      expect((await app.rows()).map(({ label }) => label)).toEqual([null, null]);
    });
  });

  describe('keep their labels', () => {
    it('over refreshes', async () => {
      const app = await start();
      const browser = await signIn(app, { device: { label: 'Work' } });
      pass('16m');
      expect((await browser.get('/devices/here')).body).toMatchObject({ label: 'Work' });
      const { refreshToken } = await app.sessions.tokens.issue({ userId: 1, device: { label: 'Über' } });
      pass('16m');
      const { session } = await app.sessions.tokens.refresh(refreshToken.token);
      expect(session).toMatchObject({ label: 'Über' });
    });

    it.each<[object, string | null]>([
      [{}, 'Work'],
      [{ device: { ip: '192.0.2.1' } }, 'Work'],
      [{ device: { label: 'New' } }, 'New'],
      [{ device: { label: null } }, null],
    ])('when their users prove who they are, with %j', async (changes, label) => {
      const app = await start();
      const browser = await signIn(app, { device: { label: 'Work' } });
      expect(await browser.post('/devices/prove', changes)).toMatchObject({ status: 200 });
      expect((await listOf(browser)).sessions).toMatchObject([{ label, current: true }]);
    });

    it('until their sessions end', async () => {
      const app = await start();
      const browser = await signIn(app, { device: { label: 'Work' } });
      await browser.post('/logout');
      expect(await app.rows()).toMatchObject([{ label: null, userAgent: null, ip: null }]);
    });

    it('to themselves: events do not tell them', async () => {
      const app = await start();
      const events: SessionEvent[] = [];
      app.sessions.events.subscribe((event) => events.push(event));
      await (await signIn(app, { device: { label: 'Private words' } })).post('/logout');
      expect(events.map(({ type }) => type)).toEqual(['created', 'revoked']);
      expect(JSON.stringify(events)).not.toContain('Private words');
    });
  });

  describe('are listed in pages', () => {
    it.each([
      [1, [1, 1, 1, 1, 1, 1]],
      [2, [2, 2, 2]],
      [4, [4, 2]],
      [5, [5, 1]],
      [6, [6]],
      [7, [6]],
      [1_000, [6]],
    ])('of at most %i, newest first', async (limit, sizes) => {
      const app = await start();
      const last = await idOf(await signIn(app));
      const ids = [...(await fill(app, Array(5).fill('ann'))), last];
      const found = await pages(app, 'ann', limit);
      expect(found.map((page) => page.length)).toEqual(sizes);
      expect(found.flat().toSorted()).toEqual(ids.toSorted());
      expect(found.flat()).toEqual(found.flat().toSorted().toReversed());
      expect(found.flat().slice(0, 4)).toEqual(ids.slice(0, 4));
    });

    it('of 100, unless they say otherwise, and none is left out without a word', async () => {
      const app = await start();
      const browser = await signIn(app);
      await fill(app, Array(100).fill('ann'), Date.now() + 1_000);
      const first = await listOf(browser);
      expect(first.sessions).toHaveLength(100);
      expect(first.next).toBe(first.sessions.at(-1)!.id);
      const second = await listOf(browser, `?after=${first.next}`);
      expect(second).toMatchObject({ sessions: [{ current: true }], next: null });
    });

    it('that sign-ins and sign-outs in between do not move', async () => {
      const app = await start();
      await signIn(app);
      const ids = await fill(app, Array(8).fill('ann'), Date.now() + 1_000);
      let page = 0;
      const found = await pages(app, 'ann', 3, async () => {
        pass('20s');
        await signIn(app);
        // Of the page before: its last session, which is the cursor, and another one.
        await app.sessions.revokeMany(page++ === 0 ? [ids[2]!, ids[0]!] : [ids[5]!]);
      });
      expect(found.flat().slice(0, 8)).toEqual(ids);
      expect(found.map((each) => each.length)).toEqual([3, 3, 3]);
    });

    it('that do not end early because of users whose ids a database takes for equal', async () => {
      const app = await start();
      await signIn(app);
      const users = ['Ann', 'ANN', 'Ann', 'ANN', 'ANN', 'ANN', 'ANN', 'Ann', 'ANN', 'ANN', 'ANN', 'ANN'];
      const ids = await fill(app, users, Date.now() + 1_000);
      const of = (userId: string) => ids.filter((_, n) => users.toReversed()[n] === userId);
      for (const limit of [1, 2, 3, 4]) {
        expect((await pages(app, 'Ann', limit)).flat()).toEqual(of('Ann'));
        expect((await pages(app, 'ANN', limit)).flat()).toEqual(of('ANN'));
        expect((await pages(app, 'ann', limit)).flat()).toHaveLength(1);
      }
      // The last page says that it is the last one, whoever else comes after it.
      expect((await pages(app, 'Ann', 3)).map((page) => page.length)).toEqual([3]);
    });

    it('without sessions that are over, however many these are', async () => {
      const app = await start();
      const live = await idOf(await signIn(app));
      const ids = await fill(app, Array(6).fill('ann'), Date.now() + 1_000);
      await app.sessions.revokeMany(ids.slice(0, 5));
      expect(await pages(app, 'ann', 1)).toEqual([[ids[5]], [live]]);
    });

    it.each<[object, string]>([
      [{ limit: 0 }, '"limit" must be a whole number from 1 to 1000.'],
      [{ limit: 1_001 }, '"limit" must be a whole number from 1 to 1000.'],
      [{ limit: 1.5 }, '"limit" must be a whole number from 1 to 1000.'],
      [{ limit: Number.NaN }, '"limit" must be a whole number from 1 to 1000.'],
      [{ limit: '10' }, '"limit" must be a whole number from 1 to 1000.'],
      [{ limit: null }, '"limit" must be a whole number from 1 to 1000.'],
      [{ after: '' }, '"after" must be the id of a session.'],
      [{ after: 'x' }, '"after" must be the id of a session.'],
      [{ after: null }, '"after" must be the id of a session.'],
      [{ after: "' OR 1=1 --" }, '"after" must be the id of a session.'],
      [{ current: 'x' }, '"current" must be the id of a session.'],
      [{ current: { id: newSessionId(0) } }, '"current" must be the id of a session.'],
      [{ offset: 10 }, '"options.offset" is not known. Known here: limit, after, current.'],
      [1 as unknown as object, 'options must be an object.'],
    ])('and bad options are refused: %j', async (options, message) => {
      const app = await start();
      await expect(app.sessions.findAllForUser('ann', options)).rejects.toMatchObject({
        code: 'invalid_input',
        message,
      });
    });

    it.each(['?limit=x', '?limit=0', '?after=x', '?after=%00'])('and over HTTP: %s', async (query) => {
      const app = await start();
      const browser = await signIn(app);
      expect(await browser.get(`/devices${query}`)).toMatchObject(refusal(400, 'invalid_input'));
    });
  });

  describe('and what is kept of them', () => {
    const nothing = { userAgent: null, ip: null };
    const cases: [string, DeviceOptions, { userAgent: string | null; ip: string | null }][] = [
      ['is nothing', { userAgent: false, ip: false }, nothing],
      ['is no user agent', { userAgent: false }, { userAgent: null, ip: '127.0.0.1' }],
      ['is no address', { ip: false }, { userAgent: CHROME, ip: null }],
      [
        'is what functions return',
        { userAgent: (text) => text.replace(/^.*(Chrome).*$/, '$1/1'), ip: truncateIp },
        { userAgent: 'Chrome/1', ip: '127.0.0.0' },
      ],
      [
        'is nothing if functions fail',
        {
          userAgent: () => {
            throw new Error('of the application');
          },
          ip: () => undefined as unknown as null,
        },
        nothing,
      ],
    ];

    // Functions that fail are logged.
    beforeEach(() => {
      vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    });
    afterEach(() => {
      vi.restoreAllMocks();
    });

    it.each(cases)('%s: in rows, lists, and all events', async (_, options, kept) => {
      const app = await start(options);
      const events: SessionEvent[] = [];
      app.sessions.events.subscribe((event) => events.push(event));
      const headers = { 'user-agent': CHROME };
      const browser = await signIn(app);
      expect(await app.rows()).toMatchObject([kept]);
      expect((await listOf(browser)).sessions).toMatchObject([kept]);

      // A thief with a copy, who is caught.
      const thief = browser.copy();
      pass('16m');
      await browser.get('/me', { headers });
      pass('100s');
      await browser.get('/me', { headers });
      expect(await thief.get('/me', { headers })).toMatchObject({ status: 401 });
      // A page of another site.
      const forged = { ...headers, origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' };
      const other = await signIn(app);
      expect(await other.post('/orders', {}, { headers: forged })).toMatchObject({ status: 403 });

      const told = Object.fromEntries(events.map((event) => [event.type, event]));
      expect(told['created']).toMatchObject({ device: kept });
      expect(told['stale']).toMatchObject({ device: kept, request: kept });
      expect(told['theft']).toMatchObject({ device: kept, request: kept });
      expect(told['csrf_refused']).toMatchObject({ request: kept });
    });

    it.each(cases)('%s: also if the application says who the client is', async (_, options, kept) => {
      const app = await start(options);
      const input = { userId: 1, device: { userAgent: CHROME, ip: '127.0.0.1', label: 'Work' } };
      const { session } = await app.sessions.tokens.issue(input);
      await signIn(app, input, 'Other/1.0');
      expect(session).toMatchObject({ ...kept, label: 'Work' });
      expect(await app.rows()).toMatchObject([kept, kept]);
    });

    it('is for one session what the application says of it', async () => {
      const app = await start();
      await signIn(app, { device: { userAgent: null, ip: null } });
      expect(await app.rows()).toMatchObject([nothing]);
    });

    it('is not told of any more when it is switched off, although rows from before have it', async () => {
      const before = await start();
      const thief = (await signIn(before)).copy();
      const after = await apps(
        { devices: { userAgent: false, ip: false } },
        { database: before.database, metadata: { controllers: [DevicesController] } },
      );
      const events: SessionEvent[] = [];
      after.sessions.events.subscribe((event) => events.push(event));
      const owner = thief.copy();
      pass('16m');
      await owner.get('/me');
      pass('100s');
      await owner.get('/me');
      await thief.get('/me', { at: after.url });
      const told = events.filter(({ type }) => type === 'stale' || type === 'theft');
      expect(told).toMatchObject([{ device: nothing }, { device: nothing }]);
    });
  });
});
