import { Logger } from '@nestjs/common';
import { type SessionModuleOptions, SessionService } from 'nestjs-session-tokens';
import { describe, expect, it, vi } from 'vitest';
import { adapters } from '../support/app.js';
import { pass } from '../support/time.js';
import { accountApps } from './account-app.js';

const ORIGINS = ['https://app.example.com', 'https://admin.example.com'];

const list = (header: string | null) => (header ?? '').toLowerCase().split(/,\s*/).toSorted();

describe.each(adapters)('CORS over %s', (adapter) => {
  const start = accountApps(adapter);

  const startWithCors = (csrf: object, allowedHeaders?: string[]) =>
    start(
      { csrf, cookies: { sameSite: 'none' } },
      { configure: (app) => app.enableCors(app.get(SessionService).corsOptions(allowedHeaders)) },
    );

  it.each(ORIGINS)('lets pages of a trusted origin send requests with credentials: %s', async (origin) => {
    const app = await startWithCors({ trustedOrigins: ORIGINS, mode: 'token' }, ['X-Client']);
    const { status, headers } = await app.browser().request('OPTIONS', '/orders', {
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type,anti-csrf,x-client',
      },
    });
    expect(status).toBe(204);
    expect(headers.get('access-control-allow-origin')).toBe(origin);
    expect(headers.get('access-control-allow-credentials')).toBe('true');
    expect(list(headers.get('access-control-allow-headers'))).toEqual([
      'anti-csrf',
      'authorization',
      'content-type',
      'look-again',
      'refresh-token',
      'session-transport',
      'x-client',
    ]);
    expect(list(headers.get('access-control-allow-methods'))).toEqual([
      'delete',
      'get',
      'head',
      'patch',
      'post',
      'put',
    ]);
    expect(headers.get('access-control-max-age')).toBe('600');
    expect(list(headers.get('vary'))).toContain('origin');
  });

  it('lets such a page sign in, work and refresh, and read the CSRF token', async () => {
    const app = await startWithCors({ trustedOrigins: ORIGINS, mode: 'token' });
    const browser = app.browser();
    const fromPage = { origin: ORIGINS[0]!, 'sec-fetch-site': 'cross-site' };
    const login = await browser.post('/login', { userId: 'alice' }, { headers: fromPage });
    expect(login.headers.get('access-control-allow-origin')).toBe(ORIGINS[0]);
    expect(login.headers.get('access-control-allow-credentials')).toBe('true');
    expect(list(login.headers.get('access-control-expose-headers'))).toEqual([
      'access-token',
      'anti-csrf',
      'look-again',
      'refresh-token',
    ]);
    expect(login.setCookies.map(({ attributes }) => attributes['samesite'])).toEqual(['None', 'None']);

    const headers = { ...fromPage, 'anti-csrf': login.headers.get('anti-csrf')! };
    for (const pause of ['1m', '16m', '1m']) {
      pass(pause);
      const order = await browser.post('/orders', {}, { headers });
      expect(order.status).toBe(200);
      expect(order.headers.get('access-control-allow-origin')).toBe(ORIGINS[0]);
    }
  });

  it('tells a page why it was refused', async () => {
    const app = await startWithCors({ trustedOrigins: ORIGINS });
    const answer = await app.browser().get('/me', { headers: { origin: ORIGINS[1]! } });
    expect(answer).toMatchObject({ status: 401, body: { code: 'no_credentials' } });
    expect(answer.headers.get('access-control-allow-origin')).toBe(ORIGINS[1]);
  });

  it.each([{ trustedOrigins: ORIGINS }, {}])('lets no other page in, given %o', async (csrf) => {
    const app = await startWithCors(csrf);
    const headers = { origin: 'https://evil.example', 'access-control-request-method': 'POST' };
    const preflight = await app.browser().request('OPTIONS', '/orders', { headers });
    expect(preflight.headers.get('access-control-allow-origin')).toBeNull();
    const browser = await app.signIn();
    const get = await browser.get('/me', { headers: { origin: 'https://evil.example' } });
    expect(get.headers.get('access-control-allow-origin')).toBeNull();
  });

  it('says when it lets nobody in', async () => {
    const warn = vi.spyOn(Logger.prototype, 'warn').mockReturnValue();
    const { sessions } = await start();
    warn.mockClear();
    sessions.corsOptions();
    expect(warn.mock.calls).toEqual([[expect.stringMatching(/csrf\.trustedOrigins/)]]);
    warn.mockRestore();
  });

  it.each<[options: SessionModuleOptions, own: string[], allowed: string[], exposed: string[]]>([
    [
      { csrf: { mode: 'header', header: 'X-Requested-By' }, transport: 'cookie' },
      [],
      ['content-type', 'x-requested-by'],
      [],
    ],
    [{ transport: 'cookie' }, ['Accept'], ['content-type', 'accept'], []],
    [{ csrf: { mode: 'token' }, transport: 'cookie' }, [], ['content-type', 'anti-csrf'], ['anti-csrf']],
    [
      { transport: 'header' },
      [],
      ['content-type', 'authorization', 'refresh-token', 'look-again', 'session-transport'],
      ['access-token', 'refresh-token', 'look-again'],
    ],
    [
      {
        headers: { access: 'X-Access', refresh: 'X-Refresh', lookAgain: 'X-Again', transport: 'X-Transport' },
      },
      ['x-refresh'],
      ['content-type', 'x-refresh', 'authorization', 'x-again', 'x-transport'],
      ['x-access', 'x-refresh', 'x-again'],
    ],
  ])('names the headers that there are: %o', async (options, own, allowedHeaders, exposedHeaders) => {
    const csrf = { ...options.csrf, trustedOrigins: ORIGINS };
    const { sessions } = await start({ ...options, csrf });
    expect(sessions.corsOptions(own)).toMatchObject({ allowedHeaders, exposedHeaders });
  });
});
