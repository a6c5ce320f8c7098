import { type SessionEvent, SessionModule } from 'nestjs-session-tokens';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  type AccountApp,
  accountApps,
  type AccountAppSettings,
  ACCESS,
  MARKER,
  moveOn,
  REFRESH,
  setCookieNames,
} from '../http/account-app.js';
import type { Answer, Browser } from '../support/browser.js';
import { connect, databases } from '../support/databases.js';
import { QueryLog } from '../support/query-log.js';
import { pass } from '../support/time.js';
import { issuing, startService, verifying } from '../verifier/service-app.js';
import { drivers, graphqlParts, type GraphQLSetUp } from './graphql-app.js';

const FOREIGN = { origin: 'https://evil.example' };

const query = (text: string) => ({ query: `{ ${text} }` });

/** Ten guarded fields of the root, and a hundred beneath it. */
const MANY = `${Array.from({ length: 10 }, (_, index) => `me${index}: me { role }`).join(' ')} items { owner }`;

/** The codes of an answer's errors, each once. */
function codesOf({ body }: Answer): unknown[] {
  const { errors = [] } = body as { errors?: { extensions: { code: string } }[] };
  return [...new Set(errors.map(({ extensions }) => extensions.code))];
}

async function ask(browser: Browser, text: string, headers: Record<string, string> = {}): Promise<Answer> {
  return browser.post('/graphql', query(text), { headers });
}

/** What each field of an operation is refused with. */
async function refusals(...operation: Parameters<typeof ask>): Promise<Record<string, string>> {
  const { body } = await ask(...operation);
  const { errors = [] } = body as { errors?: { path: string[]; extensions: { code: string } }[] };
  return Object.fromEntries(errors.map(({ path, extensions }) => [path[0], extensions.code]));
}

describe.each(drivers)('resolvers of $name', (driver) => {
  const apps = accountApps(driver.adapter);
  const start = async (options: object = {}, setUp?: GraphQLSetUp, settings: AccountAppSettings = {}) => {
    const app = await apps(options, { ...settings, metadata: graphqlParts(driver, setUp) });
    const events: SessionEvent[] = [];
    app.sessions.events.subscribe((event) => events.push(event));
    const count = (type: SessionEvent['type']) => events.filter((event) => event.type === type).length;
    return { ...app, count };
  };

  it('are guarded, field by field, and get the session', async () => {
    const app = await start();
    const refused = await app.browser().post('/graphql', query('me { id }'));
    expect(refused.body).toMatchObject({
      data: { me: null },
      errors: [{ message: 'The request carries no session. Sign in first.' }],
    });
    const browser = await app.signIn({ userId: 'alice', claims: { role: 'admin' } });
    expect((await ask(browser, 'me { id role }')).body).toEqual({
      data: { me: { id: 'alice', role: 'alice is admin' } },
    });
  });

  it('may do without a session, beside others that may not', async () => {
    const app = await start();
    expect((await ask(app.browser(), 'visitor')).body).toEqual({ data: { visitor: 'nobody' } });
    const both = await ask(app.browser(), 'visitor items { name owner }');
    expect(codesOf(both)).toEqual(['no_credentials']);
    const browser = await app.signIn();
    expect((await ask(browser, 'visitor me { id }')).body).toEqual({
      data: { visitor: 'alice', me: { id: 'alice' } },
    });
  });

  it('say so where no guard has looked', async () => {
    const app = await start();
    const browser = await app.signIn();
    expect((await ask(browser, 'unguarded')).body).toMatchObject({
      errors: [
        {
          message: expect.stringMatching(/@UseGuards\(SessionGuard\)/) as string,
          extensions: { code: 'unguarded_route' },
        },
      ],
    });
  });

  it.each<[extensions: object, text: string, prepare: (app: AccountApp) => Promise<Browser>]>([
    [{ code: 'no_credentials', statusCode: 401 }, 'me { id }', async (app) => app.browser()],
    [
      { code: 'session_over', statusCode: 401, reason: 'admin' },
      'me { id }',
      async (app) => {
        const browser = await app.signIn();
        await app.sessions.revokeAllForUser('alice', { reason: 'admin' });
        pass('30s');
        // The first look proves nothing.
        await browser.post('/graphql', query('me { id }'));
        return browser;
      },
    ],
    [
      { code: 'insufficient_user_authentication', statusCode: 401, maxAge: 300 },
      'fresh',
      async (app) => {
        const browser = await app.signIn();
        pass('6m');
        return browser;
      },
    ],
  ])('tell why they refuse: %o', async (extensions, text, prepare) => {
    const app = await start();
    const { body } = await ask(await prepare(app), text);
    expect(body).toMatchObject({ errors: [{ extensions }] });
  });

  it('tell nobody what is for logs only', async () => {
    const app = await start({ revocation: 'database' });
    const browser = await app.signIn();
    const dataSource = await connect(app.database);
    await dataSource.query('DROP TABLE user_session');
    await dataSource.destroy();
    pass('16m');
    const answer = await ask(browser, 'me { id }');
    expect(codesOf(answer)).toEqual(['storage_unavailable']);
    expect(answer.body).toMatchObject({
      errors: [{ message: 'The database of the sessions is not available at present. Try again.' }],
    });
  });

  describe('share what was found', () => {
    it('are refreshed once, by one statement, however many they are', async () => {
      const log = new QueryLog();
      const database = await databases[0]!.create();
      onTestFinished(() => database.remove());
      const app = await start({ database: { ...database.options, logger: log } }, {}, { database });
      const browser = await app.signIn({ userId: 'alice', claims: { role: 'admin' } });
      pass('16m');
      log.take();
      const answer = await ask(browser, MANY);
      expect(answer.body).not.toHaveProperty('errors');
      expect(setCookieNames(answer)).toEqual([ACCESS, REFRESH]);
      expect(app.count('refreshed')).toBe(1);
      expect(log.take(/^UPDATE "?user_session/)).toHaveLength(1);
      // The tokens are as good as those of any refresh.
      await moveOn(browser);
      expect(app.count('theft')).toBe(0);
    });

    it('are refreshed once for several operations in one request', async () => {
      const app = await start({}, { batches: true });
      const browser = await app.signIn({ userId: 'alice', claims: { role: 'admin' } });
      pass('16m');
      const answer = await browser.post('/graphql', [
        query(MANY),
        query('me { id }'),
        query('items { owner }'),
      ]);
      expect(answer.body).toHaveLength(3);
      expect(JSON.stringify(answer.body)).not.toContain('errors');
      expect(setCookieNames(answer)).toEqual([ACCESS, REFRESH]);
      expect(app.count('refreshed')).toBe(1);
    });

    it('are refreshed once, whatever their rules, and refused each by its own', async () => {
      const app = await start();
      const browser = await app.signIn();
      pass('16m');
      const answer = await ask(browser, 'visitor fresh me { id } hook own');
      expect(codesOf(answer)).toEqual(['insufficient_user_authentication']);
      expect(app.count('refreshed')).toBe(1);
      expect(setCookieNames(answer)).toEqual([ACCESS, REFRESH]);
    });

    it.each<[text: string, refused: Record<string, string>, refreshes: number]>([
      ['asIs', { asIs: 'try_refresh' }, 0],
      ['asIs visitor', { asIs: 'try_refresh' }, 1],
      ['visitor asIs me { id }', { asIs: 'try_refresh' }, 1],
    ])('are refreshed only by one that may: %s', async (text, refused, refreshes) => {
      const app = await start();
      const browser = await app.signIn();
      expect(await refusals(browser, text)).toEqual({});
      pass('16m');
      expect(await refusals(browser, text)).toEqual(refused);
      expect(app.count('refreshed')).toBe(refreshes);
    });

    it('tell of a late request once, and its client looks again itself: an honest one is no thief', async () => {
      const app = await start();
      const browser = await app.signIn({ userId: 'alice', claims: { role: 'admin' } });
      const late = { cookie: browser.cookieHeader('/') };
      await moveOn(browser);
      const answer = await browser.post('/graphql', query(MANY), { headers: late });
      // Nobody is redirected: what else the operation did would be done twice.
      expect(answer).toMatchObject({ status: 200 });
      expect(answer.headers.get('location')).toBeNull();
      expect(answer.headers.get('cache-control')).toBe('no-store');
      expect(codesOf(answer)).toEqual(['look_again']);
      expect(answer.body).toHaveProperty('errors[0].extensions.statusCode', 401);
      expect(setCookieNames(answer)).toEqual([MARKER]);
      expect(app.count('stale')).toBe(1);
      expect((await ask(browser, MANY)).body).not.toHaveProperty('errors');
      expect(app.count('theft')).toBe(0);
    });

    it('tell of a theft once', async () => {
      const app = await start();
      const browser = await app.signIn();
      const thief = browser.copy();
      await moveOn(browser);
      expect(codesOf(await ask(thief, MANY))).toEqual(['look_again']);
      expect(codesOf(await ask(thief, MANY))).toEqual(['token_theft']);
      expect(app.count('theft')).toBe(1);
      expect(app.count('stale')).toBe(1);
    });
  });

  describe('apply the rules of each', () => {
    it.each<[text: string]>([['me { id } fresh'], ['fresh me { id }'], ['visitor fresh hook']])(
      'a recent sign-in: %s',
      async (text) => {
        const app = await start();
        const browser = await app.signIn();
        pass('6m');
        expect(await refusals(browser, text)).toEqual({ fresh: 'insufficient_user_authentication' });
      },
    );

    it.each<[text: string]>([['me { id } own'], ['own me { id }']])('no impersonation: %s', async (text) => {
      const app = await start();
      const actor = await app.signIn({ userId: 'admin' });
      const [row] = await app.rows();
      const { accessToken } = await app.sessions.tokens.impersonate(row!.id, { userId: 'alice' });
      const headers = { authorization: `Bearer ${accessToken.token}` };
      expect(await refusals(actor, text, headers)).toEqual({ own: 'impersonation_refused' });
    });

    it.each<[text: string, refused: Record<string, string>]>([
      ['hook me { id } visitor', { me: 'csrf_failed', visitor: 'csrf_failed' }],
      ['me { id } hook visitor', { me: 'csrf_failed', visitor: 'csrf_failed' }],
      ['hook', {}],
    ])('another site: %s', async (text, refused) => {
      const app = await start();
      const browser = await app.signIn();
      expect(await refusals(browser, text, FOREIGN)).toEqual(refused);
      pass('16m');
      expect(await refusals(browser, text, FOREIGN)).toEqual(refused);
      expect(app.count('csrf_refused')).toBe(Object.keys(refused).length > 0 ? 2 : 0);
    });

    it('a token against forgery', async () => {
      const app = await start({ csrf: { mode: 'token' } });
      const browser = await app.signIn();
      expect(await refusals(browser, 'hook me { id }')).toEqual({ me: 'csrf_failed' });
    });
  });

  it('answer safe requests of other sites, and refuse unsafe ones', async () => {
    const app = await start();
    const browser = await app.signIn();
    const headers = { ...FOREIGN, 'apollo-require-preflight': 'yes' };
    const read = await browser.get('/graphql?query={visitor}', { headers });
    expect(read.body).toEqual({ data: { visitor: 'alice' } });
    const body = { query: 'mutation { order }' };
    expect(codesOf(await browser.post('/graphql', body, { headers }))).toEqual(['csrf_failed']);
    expect((await browser.post('/graphql', body)).body).toEqual({ data: { order: 'alice' } });
  });

  it('never get the session of another request', async () => {
    const app = await start({}, { context: { of: 'all' } });
    expect((await ask(await app.signIn(), 'me { id }')).body).toEqual({ data: { me: { id: 'alice' } } });
    const { body } = await ask(await app.signIn({ userId: 'bob' }), 'me { id }');
    expect(JSON.stringify(body)).not.toContain('alice');
  });

  it('are guarded in services that only verify', async () => {
    const app = await start(issuing);
    const verifier = SessionModule.forVerifier({ ...verifying(app.url), isGlobal: true });
    const service = await startService(driver.adapter, verifier, graphqlParts(driver));
    onTestFinished(() => service.close());
    const { accessToken } = await app.sessions.tokens.issue({ userId: 'alice' });
    const headers = { authorization: `Bearer ${accessToken.token}` };
    const answer = await app
      .browser()
      .post('/graphql', query('me { id } visitor fresh'), { at: service.url, headers });
    expect(answer.body).toEqual({ data: { me: { id: 'alice' }, visitor: 'alice', fresh: 'alice' } });
    pass('6m');
    const later = await app
      .browser()
      .post('/graphql', query('me { id } fresh'), { at: service.url, headers });
    expect(codesOf(later)).toEqual(['insufficient_user_authentication']);
  });
});
