import { describe, expect, it } from 'vitest';
import type { HttpRequest } from './exchange.js';
import { ensureCookies } from './request-cookies.js';

type WithCookies = HttpRequest & { cookies?: unknown };

describe('req.cookies', () => {
  it('are parsed when somebody looks, once', () => {
    const request: WithCookies = { headers: { cookie: 'a=1; b=%20x; c=j:[1]' } };
    ensureCookies(request);
    request.headers.cookie = 'a=2';
    const { cookies } = request;
    expect(cookies).toEqual({ a: '2' });
    request.headers.cookie = 'a=3';
    expect(request.cookies).toBe(cookies);
  });

  it('are an empty object without a header', () => {
    const request: WithCookies = { headers: {} };
    ensureCookies(request);
    expect({ ...(request.cookies as object) }).toEqual({});
  });

  it.each([{}, { a: 'parsed by the application' }])(
    "stay the application's where there are some: %j",
    (own) => {
      const request: WithCookies = { headers: { cookie: 'a=1' }, cookies: own };
      ensureCookies(request);
      expect(request.cookies).toBe(own);
    },
  );

  it.each([null, undefined])('are given where the application has only declared them: %s', (cookies) => {
    const request: WithCookies = { headers: { cookie: 'a=1' }, cookies };
    ensureCookies(request);
    expect(request.cookies).toEqual({ a: '1' });
  });

  it('can be set by the application later', () => {
    const request: WithCookies = { headers: { cookie: 'a=1' } };
    ensureCookies(request);
    request.cookies = { own: true };
    expect(request.cookies).toEqual({ own: true });
  });
});
