import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import {
  ForwardError,
  type ForwardOptions,
  forwardSession,
  type PageHeaders,
} from 'nestjs-session-tokens/ssr';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { pass, stopClock } from '../support/time.js';

const ACCESS = '__Host-Http-session_access';
const REFRESH = '__Host-Http-session_refresh';
const MARKER = '__Host-Http-session_look_again';
const INDICATOR = '__Host-session_until';
const BASE = 'http://api.test:3000';

/** An access token as the API makes them; only its payload is read. @param ends in how many seconds it expires */
function token(ends: number, { life = 900, unproven = false, name = 'a' } = {}): string {
  const exp = Math.floor(Date.now() / 1_000) + ends;
  const payload = {
    sub: name,
    claims: 'ÿ',
    iat: exp - life,
    exp,
    ...(unproven && { gen: [1, Date.now(), 'x'] }),
  };
  return `e30.${Buffer.from(JSON.stringify(payload)).toString('base64url')}.${name}`;
}

const line = (name: string, value: string) =>
  `${name}=${value}; Max-Age=1000; Path=/; HttpOnly; Secure; SameSite=Lax`;
const cleared = (name: string) =>
  `${name}=; Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure`;

/** A call as the API sees it. */
interface Call {
  readonly url: string;
  readonly headers: Headers;
  readonly redirect: RequestInit['redirect'];
}

/** A `fetch` that answers what it is told, and remembers its calls. */
function fakeFetch(...answers: (() => Response | Promise<Response>)[]) {
  const calls: Call[] = [];
  const fetch: ForwardOptions['fetch'] = async (input, init) => {
    calls.push({
      url: typeof input === 'object' && 'url' in input ? input.url : String(input),
      headers: new Headers(init?.headers),
      redirect: init?.redirect,
    });
    return answers.shift()?.() ?? new Response('{}');
  };
  return { calls, fetch, cookies: () => calls.map(({ headers }) => headers.get('cookie')) };
}

function answer(lines: string[], status = 200): Response {
  return new Response(null, { status, headers: lines.map((each): [string, string] => ['set-cookie', each]) });
}

const page = (cookie: string, headers: Record<string, string> = {}) => new Headers({ cookie, ...headers });

beforeEach(() => stopClock());
afterEach(() => {
  vi.useRealTimers();
});

describe('a call to the API', () => {
  let api: Server;
  let seen: IncomingHttpHeaders;
  let baseUrl: string;

  beforeAll(async () => {
    api = createServer((request, response) => {
      seen = request.headers;
      if (request.url === '/moved') response.writeHead(302, { location: 'http://localhost/elsewhere' });
      response.end();
    });
    await once(api.listen(0, '127.0.0.1'), 'listening');
    baseUrl = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
  });
  afterAll(() => api.close());

  const BROWSER = {
    host: 'app.example.com',
    connection: 'keep-alive',
    'user-agent': 'Mozilla/5.0 (test)',
    'sec-fetch-site': 'same-origin',
    'sec-fetch-mode': 'navigate',
    'sec-fetch-dest': 'document',
    origin: 'https://app.example.com',
  };

  it.each<[what: string, page: PageHeaders, options: object, init: RequestInit, has: IncomingHttpHeaders]>([
    [
      'has the cookies of the session, and no other',
      page(`theme=dark; ${ACCESS}=a; ${REFRESH}=r; ${MARKER}=m; ${ACCESS}_as=i; x${ACCESS}=no`),
      {},
      {},
      { cookie: `${ACCESS}=a; ${REFRESH}=r; ${MARKER}=m; ${ACCESS}_as=i` },
    ],
    [
      'has the cookies that it is told to pass on',
      page(`theme=dark; lang=en; ${ACCESS}=a`),
      { passOn: ['theme'] },
      {},
      { cookie: `theme=dark; ${ACCESS}=a` },
    ],
    [
      'has cookies with other names and prefixes, and duplicates',
      page(`session_access=no; a=1; __Secure-a=2; r=3; a=4`),
      { cookies: { accessName: 'a', refreshName: '__Host-r' } },
      {},
      { cookie: 'a=1; __Secure-a=2; r=3; a=4' },
    ],
    ['has no empty Cookie header', page('theme=dark'), {}, {}, { cookie: undefined }],
    [
      'has no refresh token and no marker if nothing can be handed back',
      page(`${ACCESS}=a; ${REFRESH}=r; ${MARKER}=m; ${ACCESS}_as=i`),
      { readOnly: true },
      {},
      { cookie: `${ACCESS}=a; ${ACCESS}_as=i` },
    ],
    [
      'does not say where the page was requested from',
      page(`${ACCESS}=a`, BROWSER),
      {},
      { method: 'POST' },
      {
        origin: undefined,
        'sec-fetch-site': undefined,
        'sec-fetch-dest': undefined,
        'sec-fetch-mode': 'cors',
        'user-agent': 'Mozilla/5.0 (test)',
      },
    ],
    [
      'does not say so either if it is given the headers of the page',
      page(`${ACCESS}=a`, BROWSER),
      {},
      { headers: { ...BROWSER, cookie: 'theme=dark', accept: 'application/json' } },
      {
        cookie: `${ACCESS}=a`,
        origin: undefined,
        'sec-fetch-site': undefined,
        'sec-fetch-mode': 'cors',
        accept: 'application/json',
      },
    ],
    [
      'has its own headers first',
      page('', { 'user-agent': 'Mozilla/5.0', 'anti-csrf': 'page' }),
      {},
      { headers: { 'user-agent': 'own', 'anti-csrf': 'own' } },
      { 'user-agent': 'own', 'anti-csrf': 'own' },
    ],
    [
      'has the address that proxies have told, and the one of the socket',
      page('', { 'x-forwarded-for': '192.0.2.1, 198.51.100.2' }),
      { address: '10.0.0.1' },
      {},
      { 'x-forwarded-for': '192.0.2.1, 198.51.100.2, 10.0.0.1' },
    ],
    [
      'has the address of the socket alone',
      page(''),
      { address: '192.0.2.1' },
      {},
      { 'x-forwarded-for': '192.0.2.1' },
    ],
    ['has no empty address', page(''), {}, {}, { 'x-forwarded-for': undefined }],
    [
      'does not describe the client if it is not to',
      page('', { 'x-forwarded-for': '192.0.2.1', 'user-agent': 'Mozilla/5.0' }),
      { device: false, address: '10.0.0.1' },
      {},
      { 'x-forwarded-for': undefined, 'user-agent': 'node' },
    ],
    ['has the CSRF header', page('', { 'anti-csrf': 't' }), {}, {}, { 'anti-csrf': 't' }],
    ['has it by its name', page('', { 'x-csrf': 't' }), { csrfHeader: 'X-CSRF' }, {}, { 'x-csrf': 't' }],
    [
      'takes the headers of Node',
      {
        ':path': '/',
        cookie: `${ACCESS}=a`,
        accept: undefined,
        'x-forwarded-for': ['192.0.2.1', '10.0.0.1'],
      },
      {},
      {},
      { cookie: `${ACCESS}=a`, 'x-forwarded-for': '192.0.2.1, 10.0.0.1' },
    ],
  ])('%s', async (_, headers, options, init, has) => {
    const session = forwardSession(headers, { baseUrl, ...options });
    expect((await session.fetch('/x', init)).status).toBe(200);
    expect(Object.fromEntries(Object.keys(has).map((name) => [name, seen[name]]))).toEqual(has);
  });

  it('follows no redirect', async () => {
    const response = await forwardSession(page(`${ACCESS}=a`), { baseUrl }).fetch('/moved', {
      redirect: 'follow',
    });
    expect([response.status, response.headers.get('location')]).toEqual([302, 'http://localhost/elsewhere']);
  });

  it.each<[base: string, input: string | URL | Request, url: string]>([
    [BASE, '/me', `${BASE}/me`],
    [BASE, 'me?a=b', `${BASE}/me?a=b`],
    [`${BASE}/v1`, '/me', `${BASE}/v1/me`],
    [`${BASE}/v1/`, 'me', `${BASE}/v1/me`],
    [`${BASE}/v1`, `${BASE}/other`, `${BASE}/other`],
    [BASE, new URL(`${BASE}/me`), `${BASE}/me`],
    [BASE, new Request(`${BASE}/me`), `${BASE}/me`],
    [BASE, '//evil.test/me', `${BASE}//evil.test/me`],
    [BASE, '/\\evil.test/me', `${BASE}//evil.test/me`],
  ])('of %s to %s goes to %s', async (base, input, url) => {
    const { calls, fetch } = fakeFetch();
    await forwardSession(page(''), { baseUrl: base, fetch }).fetch(input);
    expect(calls).toMatchObject([
      { url: expect.stringMatching(/^http:\/\/api\.test:3000\//) as string, redirect: 'manual' },
    ]);
    expect(calls[0]!.url.replace(/(?<!:)\/\/+/, '/')).toBe(url.replace(/(?<!:)\/\/+/, '/'));
  });

  it.each([
    'http://evil.test/',
    'https://api.test:3000/',
    'HTTP://api.test/',
    'data:,x',
    new Request('http://evil.test/'),
  ])('is not sent to %s', async (input) => {
    const { calls, fetch } = fakeFetch();
    const call = forwardSession(page(`${ACCESS}=a`), { baseUrl: BASE, fetch }).fetch(input);
    await expect(call).rejects.toMatchObject({ name: 'ForwardError', code: 'foreign_url' });
    expect(calls).toEqual([]);
  });

  it('passes on the options of a framework, and the method of a Request', async () => {
    const inits: object[] = [];
    const fetch: ForwardOptions['fetch'] = async (_, init) => (inits.push(init!), new Response());
    const { fetch: call } = forwardSession(page(''), { baseUrl: BASE, fetch });
    await call('/me', { method: 'PUT', next: { revalidate: 0 } } as RequestInit);
    expect(inits).toMatchObject([{ method: 'PUT', next: { revalidate: 0 }, redirect: 'manual' }]);
  });

  it('says itself that it is not of a browser, in a runtime whose fetch does not', async () => {
    const { calls, fetch } = fakeFetch();
    await forwardSession(page('', { 'sec-fetch-mode': 'navigate' }), { baseUrl: BASE, fetch }).fetch('/me');
    expect(calls[0]!.headers.get('sec-fetch-mode')).toBe('cors');
  });
});

describe('options', () => {
  it.each<[object]>([
    [{ baseUrl: '/api' }],
    [{ baseUrl: 'ftp://api.test' }],
    [{ baseUrl: 'http://api.test/?a=b' }],
    [{ baseUrl: undefined }],
    [{ baseUrl: BASE, reuseWindow: -1 }],
    [{ baseUrl: BASE, reuseWindow: Number.NaN }],
    [{ baseUrl: BASE, reuseWindow: '90s' }],
  ])('%j are refused', (options) => {
    const forward = () => forwardSession(page(''), options as ForwardOptions);
    expect(forward).toThrow(ForwardError);
    expect(forward).toThrow(expect.objectContaining({ code: 'invalid_option' }));
  });
});

describe('a call that changes something', () => {
  const OWN = 'https://app.test';
  const HOST = { host: 'app.test' };

  it.each<[verdict: 'sent' | 'refused', headers: Record<string, string>, options?: Partial<ForwardOptions>]>([
    ['sent', { ...HOST, origin: OWN, 'sec-fetch-site': 'same-origin' }],
    ['sent', { ...HOST, origin: OWN, 'sec-fetch-site': 'none' }],
    ['refused', { ...HOST, origin: 'https://evil.test', 'sec-fetch-site': 'cross-site' }],
    ['refused', { ...HOST, origin: 'https://x.app.test', 'sec-fetch-site': 'same-site' }],
    ['refused', { ...HOST, origin: OWN, 'sec-fetch-site': 'cross-site' }],
    ['sent', { ...HOST, origin: OWN }],
    ['sent', { host: 'APP.test:3000', origin: 'http://app.test:3000' }],
    ['refused', { host: 'app.test:3000', origin: 'http://app.test' }],
    ['refused', { ...HOST, origin: 'https://evil.test' }],
    ['refused', { ...HOST, origin: 'null' }],
    ['refused', { ...HOST, origin: 'capacitor://app.test' }],
    ['refused', { ...HOST, origin: '' }],
    ['refused', { origin: OWN }],
    ['sent', { host: '10.0.0.1:80', 'x-forwarded-host': 'app.test, proxy.test', origin: OWN }],
    ['refused', { host: '10.0.0.1:80', 'x-forwarded-host': 'proxy.test, app.test', origin: OWN }],
    [
      'sent',
      { ...HOST, origin: 'https://other.test', 'sec-fetch-site': 'cross-site' },
      { trustedOrigins: ['https://other.test'] },
    ],
    // A page that was opened by a link from another site, and asks by POST for what it shows.
    ['sent', { ...HOST, 'sec-fetch-site': 'cross-site' }],
    ['sent', HOST],
  ])('is %s for a page requested with %j', async (verdict, headers, options) => {
    for (const method of ['POST', 'put', 'PATCH', 'DELETE']) {
      const { calls, fetch } = fakeFetch();
      const session = forwardSession(page(`${ACCESS}=a`, headers), { baseUrl: BASE, fetch, ...options });
      const outcome = await session.fetch('/orders', { method }).then(
        () => 'sent',
        ({ code }: ForwardError) => code,
      );
      expect(outcome).toBe(verdict === 'sent' ? 'sent' : 'csrf_failed');
      expect(calls).toHaveLength(verdict === 'sent' ? 1 : 0);
      // What changes nothing is always sent.
      for (const safe of ['GET', 'head', 'OPTIONS']) await session.fetch('/orders', { method: safe });
      const requests = ['POST', 'GET'].map(async (each) =>
        session.fetch(new Request(`${BASE}/orders`, { method: each })).then(
          () => 'sent',
          () => 'refused',
        ),
      );
      expect(await Promise.all(requests)).toEqual([verdict, 'sent']);
    }
  });
});

const expired = () => `${ACCESS}=${token(-1)}; ${REFRESH}=r0`;
const renewed = (n = 1) => [
  line(ACCESS, token(900, { unproven: true, name: `a${n}` })),
  line(REFRESH, `r${n}`),
];

/** Nobody's patience ends by itself. */
function stopTimers(): void {
  vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout', 'performance'] });
}

describe('at expiry', () => {
  it('one call goes first, and the others have its cookies', async () => {
    stopTimers();
    let respond!: (response: Response) => void;
    const { calls, fetch, cookies } = fakeFetch(
      () =>
        new Promise((resolve) => {
          respond = resolve;
        }),
    );
    const session = forwardSession(page(expired()), { baseUrl: BASE, fetch });
    expect(session.isExpired).toBe(true);
    const all = Promise.all(['/a', '/b', '/c'].map(async (path) => session.fetch(path)));
    await vi.waitFor(() => expect(calls).toHaveLength(1));
    // The body of the response never ends.
    const headers = renewed().map((each): [string, string] => ['set-cookie', each]);
    respond(new Response(new ReadableStream(), { headers }));
    await all;
    expect(session.isExpired).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
    expect(cookies().map((cookie) => /_refresh=(\w+)/.exec(cookie!)?.[1])).toEqual(['r0', 'r1', 'r1']);
    expect(session.cookies()).toEqual(renewed());
  });

  it.each<[what: string, first: () => Response | Promise<Response>]>([
    ['renews nothing', () => answer([])],
    ['fails', () => Promise.reject(new Error('network'))],
  ])('the next call goes first if the one before %s', async (_, first) => {
    stopTimers();
    const { fetch, cookies } = fakeFetch(first, () => answer(renewed()));
    const session = forwardSession(page(expired()), { baseUrl: BASE, fetch });
    await Promise.allSettled(['/a', '/b', '/c'].map(async (path) => session.fetch(path)));
    expect(cookies().map((cookie) => /_refresh=(\w+)/.exec(cookie!)?.[1])).toEqual(['r0', 'r0', 'r1']);
  });

  it('nobody waits longer than 3 seconds for that', async () => {
    stopTimers();
    const { calls, fetch } = fakeFetch(() => new Promise(() => {}));
    const session = forwardSession(page(`${ACCESS}=; ${REFRESH}=r0`), { baseUrl: BASE, fetch });
    void session.fetch('/a');
    const others = Promise.all([session.fetch('/b'), session.fetch('/c')]);
    await vi.advanceTimersByTimeAsync(2_999);
    expect(calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    await others;
    expect(calls).toHaveLength(3);
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each<[what: string, cookie: () => string, options?: Partial<ForwardOptions>]>([
    ['the access token lives', () => `${ACCESS}=${token(1)}; ${REFRESH}=r0`],
    [
      'one of several access tokens lives',
      () => `${ACCESS}=${token(-1)}; ${REFRESH}=r0; ${ACCESS}=${token(1)}`,
    ],
    ['there is no refresh token', () => `${ACCESS}=${token(-1)}`],
    ['somebody acts as the user', () => `${expired()}; ${ACCESS}_as=${token(-1)}`],
    ['nothing can be handed back', expired, { readOnly: true }],
  ])('no call waits if %s', async (_, cookie, options) => {
    stopTimers();
    const { calls, fetch } = fakeFetch(() => new Promise(() => {}));
    const session = forwardSession(page(cookie()), { baseUrl: BASE, fetch, ...options });
    void session.fetch('/a');
    await session.fetch('/b');
    expect(calls).toHaveLength(2);
  });

  it.each<[what: string, cookie: () => string]>([
    ['is damaged', () => `${ACCESS}=e30.x.y; ${REFRESH}=r0`],
    ['is no token', () => `${ACCESS}=x; ${REFRESH}=r0`],
    ['is missing', () => `${REFRESH}=r0`],
    ['has no times', () => `${ACCESS}=e30.e30.e30; ${REFRESH}=r0`],
  ])('an access token counts as expired that %s', (_, cookie) => {
    expect(forwardSession(page(cookie()), { baseUrl: BASE }).isExpired).toBe(true);
  });

  describe('renewed cookies', () => {
    it.each<[what: string, options: object, life: number, handedOn: string, used: string]>([
      ['are handed on for 10 s, and used for 30 s', {}, 900, '10s', '29999ms'],
      ['of a shorter window for a ninth and a third of it', { reuseWindow: 9 }, 900, '1s', '2999ms'],
      ['of a short-lived access token for those of half its life', {}, 60, '3333ms', '9999ms'],
      ['without a window are handed on for 10 s, and never used', { reuseWindow: 0 }, 900, '10s', '0s'],
    ])('%s', async (_, options, life, handedOn, used) => {
      const lines = [
        line(ACCESS, token(900, { unproven: true, life, name: 'a1' })),
        line(REFRESH, 'r1'),
        line(INDICATOR, '1.2'),
        line('theme', 'dark'),
      ];
      const { fetch, cookies } = fakeFetch(() => answer(lines));
      const cookieNames = { indicatorName: 'session_until' };
      const session = forwardSession(page(expired()), {
        baseUrl: BASE,
        fetch,
        cookies: cookieNames,
        ...options,
      });
      const start = Date.now();
      await session.fetch('/a');
      const at = (time: string, more = 0) => {
        vi.setSystemTime(start);
        pass(time);
        pass(more);
      };
      at(handedOn);
      expect(session.cookies()).toEqual(lines);
      at(handedOn, 1);
      expect(session.cookies()).toEqual([line('theme', 'dark')]);
      at(used);
      await session.fetch('/b');
      at(used, 1);
      await session.fetch('/c');
      const [first, second, third] = cookies();
      expect([/_refresh=(\w+)/.exec(second!)?.[1], third]).toEqual([used === '0s' ? 'r0' : 'r1', first]);
    });

    it('are counted from when they were asked for', async () => {
      const { fetch } = fakeFetch(() => {
        pass('11s');
        return answer(renewed());
      });
      const session = forwardSession(page(expired()), { baseUrl: BASE, fetch });
      await session.fetch('/a');
      expect(session.cookies()).toEqual([]);
    });

    it('are those of the response that came last', async () => {
      const { fetch } = fakeFetch(
        () => answer(renewed(1)),
        () => answer(renewed(2)),
        () => answer([line(ACCESS, token(900, { name: 'a3' }))]),
      );
      const session = forwardSession(page(expired()), { baseUrl: BASE, fetch });
      await session.fetch('/a');
      pass('5s');
      await session.fetch('/b');
      pass('1s');
      await session.fetch('/c');
      expect(session.cookies().map((each) => /\.(\w+);|_refresh=(\w+)/.exec(each)?.slice(1))).toEqual([
        ['a3', undefined],
        [undefined, 'r2'],
      ]);
      pass('10s');
      expect(session.cookies()).toHaveLength(1);
      pass(1);
      expect(session.cookies()).toEqual([]);
    });

    it('keep other lines of their response for the same cookie', async () => {
      const lines = [`${cleared(ACCESS)}; Partitioned`, ...renewed()];
      const session = forwardSession(page(expired()), {
        baseUrl: BASE,
        fetch: fakeFetch(() => answer(lines)).fetch,
      });
      await session.fetch('/a');
      expect(session.cookies()).toEqual([lines[0], lines[1], lines[2]]);
      expect(session.isExpired).toBe(false);
    });

    it('are for no cache', async () => {
      const session = forwardSession(page(expired()), {
        baseUrl: BASE,
        fetch: fakeFetch(() => answer(renewed())).fetch,
      });
      const headers = new Headers({ 'cache-control': 'public', 'set-cookie': 'own=1' });
      session.applyTo(headers);
      expect([...headers]).toEqual([
        ['cache-control', 'public'],
        ['set-cookie', 'own=1'],
      ]);
      await session.fetch('/a');
      session.applyTo(headers);
      expect(headers.get('cache-control')).toBe('private, no-store');
      expect(headers.getSetCookie()).toEqual(['own=1', ...renewed()]);
    });
  });

  describe('what is no renewal', () => {
    const signIn = () => [line(ACCESS, token(900, { name: 'bob' })), line(REFRESH, 'bob')];
    const out = [cleared(ACCESS), cleared(REFRESH)];

    it.each<[what: string, status: number, lines: () => string[], kept: boolean, cookie: RegExp]>([
      ['a sign-in', 200, signIn, true, /_refresh=bob/],
      ['a sign-in that clears the marker', 200, () => [...signIn(), cleared(MARKER)], true, /_refresh=bob/],
      ['a sign-out', 204, () => out, true, /^$/],
      // The browser may have signed in again by then.
      ['the end of the session', 401, () => out, false, /^$/],
      ['the marker', 401, () => [line(MARKER, 'm')], true, /_refresh=r0/],
    ])('%s counts for the page, and is handed on: late too, %#', async (_, status, lines, kept, cookie) => {
      const { fetch, cookies } = fakeFetch(() => answer(lines(), status));
      const session = forwardSession(page(expired()), { baseUrl: BASE, fetch });
      const expectedLines = lines();
      await session.fetch('/a');
      expect(session.cookies()).toEqual(expectedLines);
      pass('10m');
      expect(session.cookies()).toEqual(kept ? expectedLines : []);
      await session.fetch('/b');
      expect(cookies().at(-1) ?? '').toMatch(cookie);
      // With it, the page would convict the browser.
      expect(cookies().at(-1) ?? '').not.toContain(MARKER);
    });
  });

  describe('looking again', () => {
    it.each<[url: string | URL, location: string]>([
      ['/', './'],
      ['/orders/7', './7'],
      ['/orders/', './'],
      ['//evil.test/x', './x'],
      ['https://app.test/orders?a=b&c', '?a=b&c'],
      [new URL('https://app.test/a/b#c'), './b'],
    ])('of %s leads to %s', async (url, location) => {
      const { fetch } = fakeFetch(() => answer([line(MARKER, 'm')], 401));
      const session = forwardSession(page(expired()), { baseUrl: BASE, fetch, reuseWindow: 0.9 });
      expect(session.looksAgain).toBe(false);
      await session.fetch('/a');
      expect(session.looksAgain).toBe(true);
      const response = await session.lookAgainResponse(url);
      expect(response.status).toBe(307);
      expect(Object.fromEntries(response.headers)).toEqual({
        location,
        'cache-control': 'private, no-store',
        'set-cookie': line(MARKER, 'm'),
      });
    });

    it('is over after a sign-in', async () => {
      const { fetch } = fakeFetch(
        () => answer([line(MARKER, 'm')], 401),
        () => answer([...renewed(), cleared(MARKER)]),
      );
      const session = forwardSession(page(expired()), { baseUrl: BASE, fetch });
      await session.fetch('/a');
      await session.fetch('/login', { method: 'POST' });
      expect(session.looksAgain).toBe(false);
    });

    it('lets no call wait', async () => {
      stopTimers();
      const { calls, fetch } = fakeFetch(
        () => answer([line(MARKER, 'm')], 401),
        () => new Promise(() => {}),
      );
      const session = forwardSession(page(expired()), { baseUrl: BASE, fetch });
      await session.fetch('/a');
      void session.fetch('/b');
      await session.fetch('/c');
      expect(calls).toHaveLength(3);
    });

    it('comes after 2 seconds', async () => {
      vi.useFakeTimers({ toFake: ['setTimeout'] });
      const session = forwardSession(page(''), { baseUrl: BASE });
      let isThere = false;
      void session.lookAgainResponse('/').then(() => (isThere = true));
      await vi.advanceTimersByTimeAsync(1_999);
      expect(isThere).toBe(false);
      await vi.advanceTimersByTimeAsync(1);
      expect(isThere).toBe(true);
    });
  });

  describe('in a middleware', () => {
    it.each<[what: string, ends: number, isRenewed: boolean]>([
      ['has expired', -1, true],
      ['ends soon', 30, true],
      ['lives', 31, false],
    ])('an access token is renewed if it %s: %#', async (_, ends, isRenewed) => {
      const { calls, fetch } = fakeFetch(() => answer(renewed()));
      const headers = page(`${ACCESS}=${token(ends)}; ${REFRESH}=r0`, { origin: 'https://evil.test' });
      const session = forwardSession(headers, { baseUrl: BASE, fetch });
      expect(await session.renew('/auth/refresh')).toBe(isRenewed);
      expect(calls.map(({ url }) => url)).toEqual(isRenewed ? [`${BASE}/auth/refresh`] : []);
    });

    it('gives what is behind it the cookies of now, for as long as they are used', async () => {
      const { fetch } = fakeFetch(() => answer(renewed()));
      const headers = page(`theme=dark; ${expired()}`, { accept: 'text/html' });
      const front = forwardSession(headers, { baseUrl: BASE, fetch });
      await front.renew('/refresh');
      const passed = front.requestHeaders();
      expect(passed.get('accept')).toBe('text/html');
      expect(passed.get('cookie')).toMatch(/^theme=dark; .*\.a1; .*_refresh=r1$/);

      const { fetch: behind, cookies } = fakeFetch();
      const session = forwardSession(passed, {
        baseUrl: BASE,
        fetch: behind,
        readOnly: true,
        passOn: ['theme'],
      });
      pass('29999ms');
      await session.fetch('/a');
      pass(1);
      // Whoever makes it anew in the middle of a page gets the same.
      await forwardSession(passed, { baseUrl: BASE, fetch: behind, passOn: ['theme'] }).fetch('/b');
      expect(cookies()).toEqual([expect.stringMatching(/^theme=dark; \S+\.a1$/), 'theme=dark']);
    });

    it.each(['0', 'soon', '9999999999999'])('believes no browser that says until when: %s', (until) => {
      const headers = page(`${ACCESS}=a`, { 'x-session-used-until': until });
      const session = forwardSession(headers, { baseUrl: BASE });
      const passed = session.requestHeaders();
      // It may only shorten the time.
      expect(passed.get('x-session-used-until')).toBe(until === 'soon' ? null : until);
    });
  });
});
