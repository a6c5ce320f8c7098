import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createSessionFetch, type SessionEnd, type SessionFetchOptions } from './index.js';

const API = 'https://api.test';
const REFRESH = `${API}/auth/refresh`;

/** A request as the API gets it. */
interface Received {
  readonly what: string;
  readonly csrf: string | null;
  readonly body: string;
  readonly credentials: RequestInit['credentials'];
}

type Respond = (received: Received) => Response | Promise<Response>;

const answered = (headers: Record<string, string> = {}) => new Response('{"ok":true}', { headers });
const ok = () => answered();
const refused = (code: string, status = 401, more: object = {}) =>
  Response.json({ statusCode: status, code, message: 'no', ...more }, { status });

/** A page, and an API that answers as it is told; the refresh route by itself. */
function start(respond: Respond, options: Partial<SessionFetchOptions> = {}, refreshes: Respond = ok) {
  const received: Received[] = [];
  const ends: SessionEnd[] = [];
  const fetch: SessionFetchOptions['fetch'] = async (request) => {
    const { pathname } = new URL(request.url);
    const what = `${request.method} ${pathname}`;
    const one = {
      what,
      csrf: request.headers.get(options.csrfHeader ?? 'anti-csrf'),
      body: await request.text(),
      credentials: request.credentials,
    };
    received.push(one);
    return pathname === '/auth/refresh' ? refreshes(one) : respond(one);
  };
  const sessionFetch = createSessionFetch({
    refreshPath: REFRESH,
    fetch,
    onSessionEnd: (end) => ends.push(end),
    ...options,
  });
  return { sessionFetch, received, ends, whats: () => received.map(({ what }) => what) };
}

/** Answers one after the other; the last one from then on. */
function inTurn(...answers: (() => Response | Promise<Response>)[]): Respond {
  return async () => (answers.length > 1 ? answers.shift()! : answers[0]!)();
}

const codeOf = async (response: Response): Promise<unknown> =>
  ((await response.json()) as { code?: string }).code ?? response.status;

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it('is less than 2 kB, without compression', async () => {
  const input = fileURLToPath(new URL('index.ts', import.meta.url));
  const result = (await build({
    configFile: false,
    logLevel: 'silent',
    build: { write: false, minify: true, rolldownOptions: { input, preserveEntrySignatures: 'strict' } },
  })) as { output: { code: string }[] };
  expect(result.output).toHaveLength(1);
  expect(result.output[0]!.code).toContain('export{');
  expect(result.output[0]!.code.length).toBeLessThan(2_000);
});

describe('a request', () => {
  it.each<[method: string, init: RequestInit]>([
    ['GET', {}],
    ['POST', { body: 'text' }],
    ['PUT', { body: new URLSearchParams({ a: 'b' }) }],
    ['POST', { body: new Blob(['blob']) }],
    ['PATCH', { body: new Blob(['stream']).stream(), duplex: 'half' }],
  ])('is sent again with its body after a refresh: %s %j', async (method, init) => {
    const { sessionFetch, received, whats } = start(inTurn(() => refused('try_refresh'), ok));
    const response = await sessionFetch(`${API}/x`, { ...init, method });
    expect(await response.json()).toEqual({ ok: true });
    expect(whats()).toEqual([`${method} /x`, 'POST /auth/refresh', `${method} /x`]);
    expect(received[2]).toEqual(received[0]);
    expect(received[0]!.body === '').toBe(method === 'GET');
    expect(received.map(({ credentials }) => credentials)).toEqual(['include', 'include', 'include']);
  });

  it('may be a Request, with its own credentials', async () => {
    const { sessionFetch, received } = start(inTurn(() => refused('try_refresh'), ok));
    const request = new Request(`${API}/x`, { method: 'POST', body: 'text', credentials: 'omit' });
    expect((await sessionFetch(request)).status).toBe(200);
    expect(received[2]).toMatchObject({ what: 'POST /x', body: 'text', credentials: 'omit' });
  });

  it('of another origin has nothing of the session, and causes nothing', async () => {
    const respond = inTurn(
      () => answered({ 'anti-csrf': 'token' }),
      () => refused('try_refresh'),
      () => refused('session_over'),
    );
    const { sessionFetch, received, ends } = start(respond);
    await sessionFetch(`${API}/x`);
    for (const code of ['try_refresh', 'session_over']) {
      expect(await codeOf(await sessionFetch('https://other.test/y', { method: 'POST' }))).toBe(code);
    }
    expect(received.slice(1)).toMatchObject([
      { what: 'POST /y', csrf: null },
      { what: 'POST /y', csrf: null },
    ]);
    expect(ends).toEqual([]);
  });

  it('is sent three times at most', async () => {
    const { sessionFetch, whats } = start(() => refused('try_refresh'));
    expect(await codeOf(await sessionFetch(`${API}/x`))).toBe('try_refresh');
    expect(whats().filter((what) => what === 'GET /x')).toHaveLength(3);
  });

  it.each<[answer: () => Response, seen: unknown]>([
    [() => refused('no_credentials'), 'no_credentials'],
    [() => refused('csrf_failed', 403), 'csrf_failed'],
    [() => refused('try_refresh', 403), 'try_refresh'],
    [() => refused('try_refresh', 500), 'try_refresh'],
    [() => Response.json(null, { status: 401 }), null],
    [() => Response.json({}, { status: 401 }), 401],
  ])('is not sent again for another reason: %#', async (answer, seen) => {
    const { sessionFetch, whats } = start(answer, { csrf: 'header' });
    const response = await sessionFetch(`${API}/x`);
    const body: unknown = await response.clone().json();
    expect(body === null ? null : await codeOf(response)).toBe(seen);
    const isRepeated = response.status === 403 && seen === 'try_refresh';
    expect(whats().length > 1).toBe(isRepeated);
  });

  it('that is answered without JSON is not sent again', async () => {
    const { sessionFetch, whats } = start(() => new Response('<h1>no</h1>', { status: 401 }));
    expect(await (await sessionFetch(`${API}/x`)).text()).toBe('<h1>no</h1>');
    expect(whats()).toEqual(['GET /x']);
  });
});

/** An API whose access token has expired until somebody refreshes. */
function expired(options: Partial<SessionFetchOptions> = {}) {
  let isFresh = false;
  return start(
    () => (isFresh ? ok() : refused('try_refresh')),
    options,
    async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      isFresh = true;
      return ok();
    },
  );
}

describe('a refresh', () => {
  it('is one for all requests', async () => {
    const { sessionFetch, whats } = expired();
    const all = Array.from({ length: 20 }, async (_, i) => sessionFetch(`${API}/${i}`));
    expect((await Promise.all(all)).map(({ status }) => status)).toEqual(all.map(() => 200));
    expect(whats().filter((what) => what === 'POST /auth/refresh')).toHaveLength(1);
  });

  it('is none for a request whose refusal comes after it', async () => {
    let refuse!: () => void;
    const late = new Promise<Response>((resolve) => {
      refuse = () => resolve(refused('try_refresh'));
    });
    const { sessionFetch, whats } = start(
      inTurn(
        () => late,
        () => refused('try_refresh'),
        ok,
      ),
    );
    const first = sessionFetch(`${API}/late`);
    await sessionFetch(`${API}/x`);
    refuse();
    expect((await first).status).toBe(200);
    expect(whats().filter((what) => what === 'POST /auth/refresh')).toHaveLength(1);
  });

  it.each<[what: string, refusal: () => Response, ends: SessionEnd[]]>([
    [
      'the end of the session',
      () => refused('session_over', 401, { reason: 'admin' }),
      [{ code: 'session_over', reason: 'admin' }],
    ],
    ['a theft', () => refused('token_theft'), [{ code: 'token_theft' }]],
    ['nobody', () => refused('no_credentials'), []],
    ['a broken database', () => refused('storage_unavailable', 503), []],
  ])('that finds %s answers all requests, and is not repeated', async (_, refusal, ends) => {
    const { sessionFetch, whats, ends: told } = start(() => refused('try_refresh'), {}, refusal);
    const answers = await Promise.all([sessionFetch(`${API}/x`), sessionFetch(`${API}/y`)]);
    const { code } = (await refusal().json()) as { code: string };
    expect(await Promise.all(answers.map(codeOf))).toEqual([code, code]);
    expect(whats().filter((what) => what === 'POST /auth/refresh')).toHaveLength(1);
    expect(told).toEqual(ends);
  });

  it('that the network loses is an error of the network, and no end', async () => {
    const refreshes = inTurn(() => Promise.reject(new TypeError('Failed to fetch')), ok);
    const { sessionFetch, ends } = start(
      inTurn(
        () => refused('try_refresh'),
        () => refused('try_refresh'),
        ok,
      ),
      {},
      refreshes,
    );
    await expect(sessionFetch(`${API}/x`)).rejects.toThrow('Failed to fetch');
    expect((await sessionFetch(`${API}/x`)).status).toBe(200);
    expect(ends).toEqual([]);
  });
});

describe('the CSRF token', () => {
  it('is sent with what is unsafe, as soon as a response has brought it', async () => {
    const { sessionFetch, received } = start(
      inTurn(
        () => answered({ 'anti-csrf': 'one' }),
        ok,
        ok,
        () => answered({ 'anti-csrf': 'two' }),
        ok,
      ),
    );
    await sessionFetch(`${API}/login`, { method: 'POST' });
    for (const method of ['GET', 'HEAD', 'DELETE', 'PUT']) await sessionFetch(`${API}/x`, { method });
    await sessionFetch(`${API}/x`, { method: 'POST', headers: { 'anti-csrf': 'old' } });
    expect(received.map(({ csrf }) => csrf)).toEqual([null, null, null, 'one', 'two', 'two']);
  });

  it('has the name that the application gives it', async () => {
    const { sessionFetch, received } = start(
      inTurn(() => answered({ 'x-csrf': 'one' }), ok),
      { csrfHeader: 'X-CSRF' },
    );
    for (const method of ['GET', 'POST']) await sessionFetch(`${API}/x`, { method });
    expect(received.map(({ csrf }) => csrf)).toEqual([null, 'one']);
  });

  it('comes from the refresh route if it is lost', async () => {
    const { sessionFetch, received } = start(
      ({ csrf }) => (csrf === 'token' ? ok() : refused('csrf_failed', 403)),
      {},
      () => answered({ 'anti-csrf': 'token' }),
    );
    expect((await sessionFetch(`${API}/x`, { method: 'POST' })).status).toBe(200);
    expect(received.map(({ what, csrf }) => [what, csrf])).toEqual([
      ['POST /x', null],
      ['POST /auth/refresh', null],
      ['POST /x', 'token'],
    ]);
  });

  it('is any value in mode "header", and a refusal is final', async () => {
    const { sessionFetch, received } = start(
      inTurn(ok, ok, () => refused('csrf_failed', 403)),
      { csrf: 'header' },
    );
    for (const method of ['GET', 'POST', 'POST']) await sessionFetch(`${API}/x`, { method });
    expect(received.map(({ csrf }) => csrf)).toEqual([null, '1', '1']);
  });
});

describe('the end of the session', () => {
  it('is told once, with its reason', async () => {
    const { sessionFetch, ends } = start(() => refused('session_over', 401, { reason: 'password_change' }));
    await Promise.all([sessionFetch(`${API}/x`), sessionFetch(`${API}/y`)]);
    await sessionFetch(`${API}/z`);
    expect(ends).toEqual([{ code: 'session_over', reason: 'password_change' }]);
  });

  it.each<[what: string, method: string, told: number]>([
    ['a sign-in', 'POST', 2],
    ['a request that is no sign-in', 'GET', 1],
  ])('is told again after %s', async (_, method, told) => {
    const { sessionFetch, ends } = start(
      inTurn(
        () => refused('session_over'),
        ok,
        () => refused('session_over'),
      ),
    );
    for (const each of ['GET', method, 'GET']) await sessionFetch(`${API}/x`, { method: each });
    expect(ends).toHaveLength(told);
  });

  it('is told again after a refresh', async () => {
    const { sessionFetch, ends } = start(
      inTurn(
        () => refused('session_over'),
        () => refused('try_refresh'),
        () => refused('session_over'),
      ),
    );
    await sessionFetch(`${API}/x`);
    await sessionFetch(`${API}/x`);
    expect(ends).toHaveLength(2);
  });

  it('says whether it is only that of an impersonation', async () => {
    const { sessionFetch, ends } = start(() =>
      refused('session_over', 401, { reason: 'expired', impersonation: true }),
    );
    await sessionFetch(`${API}/x`);
    expect(ends).toEqual([{ code: 'session_over', reason: 'expired', impersonation: true }]);
  });

  it('needs no listener', async () => {
    const { sessionFetch } = start(() => refused('session_over'), { onSessionEnd: undefined });
    expect(await codeOf(await sessionFetch(`${API}/x`))).toBe('session_over');
  });
});

describe('the indicator cookie', () => {
  const NOW = Date.UTC(2026, 0, 15) / 1_000;
  const listeners = new Map<string, () => void>();
  const page = {
    cookie: '',
    addEventListener: (type: string, listener: () => void) => void listeners.set(type, listener),
  };
  const is = (value: string, prefix = '__Host-') => {
    page.cookie = `theme=dark; xsession_until=no; ${prefix}session_until=${value}; a=b`;
  };
  const isGone = () => {
    page.cookie = 'theme=dark';
  };
  /** The page hears that a cookie has changed, and looks half a second later. */
  const hear = async (type = 'visibilitychange') => {
    listeners.get(type)!();
    await vi.advanceTimersByTimeAsync(500);
  };

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout'], now: NOW * 1_000 });
    listeners.clear();
    vi.stubGlobal('document', page);
    vi.stubGlobal('cookieStore', { addEventListener: page.addEventListener });
    is(`${NOW + 900}.${NOW + 2_000}`);
  });

  const indicatorName = 'session_until';

  it.each<[prefix: string]>([['__Host-'], ['__Secure-'], ['']])(
    'says who is signed in, and until when: "%s"',
    (prefix) => {
      is(`${NOW + 900}.${NOW + 2_000}`, prefix);
      const { sessionFetch } = start(ok, { indicatorName });
      expect(sessionFetch.isSignedIn()).toBe(true);
      expect(sessionFetch.expiresAt()).toEqual({
        accessToken: (NOW + 900) * 1_000,
        session: (NOW + 2_000) * 1_000,
      });
      isGone();
      expect([sessionFetch.isSignedIn(), sessionFetch.expiresAt()]).toEqual([false, undefined]);
    },
  );

  it('is not known without its name, or without a page', () => {
    expect(start(ok).sessionFetch.isSignedIn()).toBeUndefined();
    vi.stubGlobal('document', undefined);
    const { sessionFetch } = start(ok, { indicatorName });
    expect([sessionFetch.isSignedIn(), sessionFetch.expiresAt()]).toEqual([false, undefined]);
  });

  it('saves the request that would be refused', async () => {
    is(`${NOW}.${NOW + 2_000}`);
    const { sessionFetch, whats } = start(ok, { indicatorName }, () => {
      is(`${NOW + 900}.${NOW + 2_000}`);
      return ok();
    });
    await Promise.all([sessionFetch(`${API}/x`), sessionFetch(`${API}/y`)]);
    expect(whats()).toEqual(['POST /auth/refresh', 'GET /x', 'GET /y']);
  });

  it('is not believed any more by a page whose clock is wrong', async () => {
    is(`${NOW - 900}.${NOW + 2_000}`);
    const { sessionFetch, whats } = start(ok, { indicatorName });
    for (const path of ['/x', '/y']) await sessionFetch(API + path);
    expect(whats()).toEqual(['POST /auth/refresh', 'GET /x', 'GET /y']);
  });

  it('stops no request if its refresh fails', async () => {
    is(`${NOW}.${NOW + 2_000}`);
    const { sessionFetch } = start(ok, { indicatorName }, () => Promise.reject(new TypeError('network')));
    expect((await sessionFetch(`${API}/public`)).status).toBe(200);
  });

  it('tells that another tab has refreshed in the meantime', async () => {
    const { sessionFetch, whats } = start(
      inTurn(() => {
        is(`${NOW + 901}.${NOW + 2_000}`);
        return refused('try_refresh');
      }, ok),
      { indicatorName },
    );
    expect((await sessionFetch(`${API}/x`)).status).toBe(200);
    expect(whats()).toEqual(['GET /x', 'GET /x']);
  });

  it.each(['visibilitychange', 'change'])(
    'tells that another tab has signed out (%s), once',
    async (type) => {
      const { ends } = start(ok, { indicatorName });
      await hear(type);
      expect(ends).toEqual([]);
      isGone();
      await hear(type);
      await hear(type);
      expect(ends).toEqual([{ code: 'signed_out' }]);
      // Somebody signs in, and out again.
      is(`${NOW + 900}.${NOW + 3_000}`);
      await hear(type);
      isGone();
      await hear(type);
      expect(ends).toHaveLength(2);
    },
  );

  it('tells a visitor nothing', async () => {
    isGone();
    const { ends } = start(ok, { indicatorName });
    await hear();
    expect(ends).toEqual([]);
  });

  it('leaves it to the response to say why', async () => {
    const { sessionFetch, ends } = start(
      () => {
        isGone();
        listeners.get('change')!();
        return refused('session_over', 401, { reason: 'admin' });
      },
      { indicatorName },
    );
    await sessionFetch(`${API}/x`);
    await vi.advanceTimersByTimeAsync(500);
    expect(ends).toEqual([{ code: 'session_over', reason: 'admin' }]);
  });

  it('is not listened to without its name', () => {
    start(ok);
    expect(listeners.size).toBe(0);
  });
});

describe('the refresh path', () => {
  it('is relative to the page', async () => {
    vi.stubGlobal('location', { href: `${API}/orders/7` });
    const { sessionFetch, whats } = start(
      inTurn(() => refused('try_refresh'), ok),
      { refreshPath: '/auth/refresh' },
    );
    await sessionFetch(`${API}/x`);
    expect(whats()).toEqual(['GET /x', 'POST /auth/refresh', 'GET /x']);
  });

  it('is absolute where there is no page', () => {
    expect(() => createSessionFetch({ refreshPath: '/auth/refresh' })).toThrow('Invalid URL');
  });
});
