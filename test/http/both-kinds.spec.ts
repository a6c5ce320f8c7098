import { decodeJwt } from 'jose';
import type { SessionModuleExtras, SessionModuleOptions } from 'nestjs-session-tokens';
import { afterEach, describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import type { Answer } from '../support/browser.js';
import { foreignTokens } from '../support/foreign-tokens.js';
import { pass } from '../support/time.js';
import { issuing, startService, verifying } from '../verifier/service-app.js';
import { type AccountApp, accountApps } from './account-app.js';

/*
 * A request may have tokens in headers and in cookies. The rule, once more and in another form than in the library: if a header
 * has a token of the module's form, the headers alone count; otherwise the cookies, with their CSRF check.
 */

const BEARERS = ['none', 'foreign', 'expired', 'valid', 'revoked', 'damaged'] as const;
const REFRESHES = ['none', 'good', 'old', 'junk'] as const;
const COOKIES = ['none', 'of the same user', 'of another user', 'of another user, expired'] as const;
const ORIGINS = {
  same: {},
  cross: { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
} as const;

type Bearer = (typeof BEARERS)[number];
type Refresh = (typeof REFRESHES)[number];
type Cookies = (typeof COOKIES)[number];
type Origin = keyof typeof ORIGINS;

/** Tokens of each kind, and the sessions that they are of. */
interface Tokens {
  readonly bearer: Readonly<Record<Bearer, string | undefined>>;
  readonly refresh: Readonly<Record<Refresh, string | undefined>>;
  readonly cookies: Readonly<Record<Cookies, string | undefined>>;
  readonly sessionOf: ReadonlyMap<string | undefined, string>;
}

async function tokensOf(app: AccountApp): Promise<Tokens> {
  const { sessions } = app;
  const sessionOf = new Map<string | undefined, string>();
  const issue = async () => {
    const { session, accessToken, refreshToken } = await sessions.tokens.issue({ userId: 'hanna' });
    sessionOf.set(accessToken.token, session.id).set(refreshToken.token, session.id);
    return { id: session.id, access: accessToken.token, refresh: refreshToken.token };
  };
  const cookiesOf = async (userId: string) => {
    const browser = await app.signIn({ userId });
    const header = browser.cookieHeader('/auth/refresh');
    sessionOf.set(header, decodeJwt(browser.cookie('session_access')!.value)['sid'] as string);
    return header;
  };
  const [good, moved] = [await issue(), await issue()];
  const expired = await cookiesOf('bob');
  pass('16m');
  // The generation after this one is proven.
  const next = await sessions.tokens.refresh(moved.refresh);
  pass('90s');
  await sessions.tokens.verify(next.accessToken.token);
  const [valid, revoked] = [await issue(), await issue()];
  await sessions.revoke(revoked.id);
  return {
    bearer: {
      none: undefined,
      foreign: foreignTokens[3]![1],
      expired: good.access,
      valid: valid.access,
      revoked: revoked.access,
      damaged: valid.access.slice(0, -4) + (valid.access.endsWith('AAAA') ? 'BBBB' : 'AAAA'),
    },
    refresh: { none: undefined, good: good.refresh, old: moved.refresh, junk: 'junk' },
    cookies: {
      none: undefined,
      'of the same user': await cookiesOf('hanna'),
      'of another user': await cookiesOf('carol'),
      'of another user, expired': expired,
    },
    sessionOf,
  };
}

/** What the answer to a request must be: a session, or a code; and where new tokens are. */
type Expected = readonly [outcome: string, newTokens: 'headers' | 'cookies' | 'none'];

interface Case {
  readonly bearer: Bearer;
  readonly refresh: Refresh;
  readonly cookies: Cookies;
  readonly origin: Origin;
}

const byHeaders = ({ bearer, refresh }: Case) =>
  refresh !== 'none' || (bearer !== 'none' && bearer !== 'foreign');

const OF_REFRESH = { good: 'by refresh', old: 'look_again', junk: 'session_over' } as const;

function ofRoute(each: Case, isUnsafe: boolean, mode: 'transparent' | 'endpoint' | 'verifier'): Expected {
  const { bearer, refresh, cookies, origin } = each;
  if (byHeaders(each)) {
    if (bearer === 'valid') return ['by bearer', 'none'];
    if (refresh !== 'none' && mode === 'transparent')
      return [OF_REFRESH[refresh], refresh === 'good' ? 'headers' : 'none'];
    return [bearer === 'revoked' ? 'session_over' : 'try_refresh', 'none'];
  }
  if (cookies === 'none') return [bearer === 'none' ? 'no_credentials' : 'try_refresh', 'none'];
  if (isUnsafe && origin === 'cross') return ['csrf_failed', 'none'];
  if (cookies !== 'of another user, expired') return ['by cookies', 'none'];
  return mode === 'transparent' ? ['by cookies', 'cookies'] : ['try_refresh', 'none'];
}

function ofRefreshRoute(each: Case): Expected {
  const { refresh, cookies, origin } = each;
  if (byHeaders(each)) {
    if (refresh === 'none') return ['no_credentials', 'none'];
    return [OF_REFRESH[refresh], refresh === 'good' ? 'headers' : 'none'];
  }
  if (cookies === 'none') return ['no_credentials', 'none'];
  return origin === 'cross' ? ['csrf_failed', 'none'] : ['by cookies', 'cookies'];
}

/** Sends every combination; gives those whose answer is another one than expected. */
async function surprises(
  app: AccountApp,
  url: string,
  expectedOf: (each: Case) => Expected,
  to: readonly [string, string],
) {
  const tokens = await tokensOf(app);
  const found: string[] = [];
  let count = 0;
  for (const bearer of BEARERS) {
    for (const refresh of REFRESHES) {
      for (const cookies of COOKIES) {
        for (const origin of ['same', 'cross'] as const) {
          const each = { bearer, refresh, cookies, origin };
          const answer = await app.browser().request(...to, { at: url, headers: headersOf(tokens, each) });
          const is = [outcomeOf(tokens, each, answer), placeOf(answer)].join(', new tokens: ');
          const expected = expectedOf(each).join(', new tokens: ');
          if (is !== expected) found.push(`${JSON.stringify(each)}: ${is}. Expected: ${expected}`);
          count++;
        }
      }
    }
  }
  expect(count).toBe(6 * 4 * 4 * 2);
  return found;
}

describe.each(adapters)('a request with tokens of both kinds over %s', (adapter) => {
  const start = accountApps(adapter);
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });

  it.each<[mode: 'transparent' | 'endpoint', options: SessionModuleOptions & SessionModuleExtras]>([
    ['transparent', { refreshPath: '/auth/refresh' }],
    ['endpoint', { refresh: 'endpoint', refreshPath: '/auth/refresh', cookies: { refreshPath: '/' } }],
  ])('is judged by one of them alone, in mode %s', async (mode, options) => {
    const app = await start(options);
    for (const [method, path] of [
      ['GET', '/me'],
      ['POST', '/orders'],
    ] as const) {
      const expected = (each: Case) => ofRoute(each, method === 'POST', mode);
      expect(await surprises(app, app.url, expected, [method, path])).toEqual([]);
    }
    expect(await surprises(app, app.url, ofRefreshRoute, ['POST', '/auth/refresh'])).toEqual([]);
  });

  it('is judged so by a service that only verifies, which gets no refresh tokens', async () => {
    const app = await start({ ...issuing });
    const service = await startService(adapter, verifying(app.url));
    cleanups.push(() => service.close());
    for (const [method, path] of [
      ['GET', '/me'],
      ['POST', '/orders'],
    ] as const) {
      const expected = (each: Case) => ofRoute(withoutRefresh(each), method === 'POST', 'verifier');
      expect(await surprises(app, service.url, expected, [method, path])).toEqual([]);
    }
  });

  it.each(foreignTokens)(
    'goes by its cookies beside the token of somebody else: %s',
    async (_what, token) => {
      const app = await start();
      const browser = await app.signIn();
      const init = { headers: { authorization: `Bearer ${token}`, ...ORIGINS.cross } };
      expect(await browser.get('/me', init)).toMatchObject({ status: 200, body: { userId: 'alice' } });
      expect(await browser.post('/orders', {}, init)).toMatchObject({ body: { code: 'csrf_failed' } });
    },
  );
});

/** This service knows no revocations, either. */
const withoutRefresh = (each: Case): Case => ({
  ...each,
  refresh: 'none',
  bearer: each.bearer === 'revoked' ? 'valid' : each.bearer,
});

function headersOf({ bearer, refresh, cookies }: Tokens, each: Case): Record<string, string> {
  const [token, refreshToken, cookie] = [bearer[each.bearer], refresh[each.refresh], cookies[each.cookies]];
  return {
    ...ORIGINS[each.origin],
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
    ...(refreshToken !== undefined && { 'refresh-token': refreshToken }),
    ...(cookie !== undefined && { cookie }),
  };
}

function outcomeOf({ bearer, refresh, cookies, sessionOf }: Tokens, each: Case, answer: Answer): string {
  const body = (answer.body ?? {}) as { id?: string; orderedBy?: string; code?: string };
  if (body.code !== undefined) return body.code;
  const token =
    answer.headers.get('access-token') ??
    /session_access=([^;]+)/.exec(answer.headers.get('set-cookie') ?? '')?.[1];
  const id = body.id ?? body.orderedBy ?? (token && decodeJwt(token)['sid']);
  if (id === sessionOf.get(bearer[each.bearer]) && each.bearer !== 'expired') return 'by bearer';
  if (id === sessionOf.get(refresh[each.refresh])) return 'by refresh';
  return id === sessionOf.get(cookies[each.cookies]) ? 'by cookies' : `${answer.status} ${String(id)}`;
}

function placeOf({ headers }: Answer): string {
  const inHeaders = headers.has('access-token') || headers.has('refresh-token');
  const inCookies = headers.has('set-cookie');
  if (inHeaders && inCookies) return 'both';
  return inHeaders ? 'headers' : inCookies ? 'cookies' : 'none';
}
