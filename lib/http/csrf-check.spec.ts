import { describe, expect, it } from 'vitest';
import { CsrfError } from '../errors/session.errors.js';
import { resolveOptions } from '../options/resolved-options.js';
import type { CsrfOptions } from '../options/session-module.options.js';
import { CsrfCheck } from './csrf-check.js';
import type { HttpRequest } from './messages.js';

function check(options: CsrfOptions = {}): CsrfCheck {
  return new CsrfCheck(
    { csrfToken: () => Promise.resolve(''), isCsrfToken: () => false },
    resolveOptions({ csrf: options }).options.csrf,
  );
}

function passes(request: Partial<HttpRequest>, options?: CsrfOptions): boolean {
  try {
    check(options).checkRequest({ method: 'POST', headers: {}, ...request });
    return true;
  } catch (error) {
    if (error instanceof CsrfError) return false;
    throw error;
  }
}

describe('the CSRF check', () => {
  it.each(['POST', 'PUT', 'PATCH', 'DELETE', 'CONNECT', 'PURGE', 'get', undefined])(
    'concerns the method %s',
    (method) => {
      expect(check().concerns({ method, headers: {} })).toBe(true);
      expect(check({ mode: 'off' }).concerns({ method, headers: {} })).toBe(false);
    },
  );

  it.each(['GET', 'HEAD', 'OPTIONS', 'TRACE'])('does not concern the safe method %s', (method) => {
    expect(check().concerns({ method, headers: {} })).toBe(false);
  });

  it.each<{ origin: string; host?: string; header?: string; expected: boolean }>([
    { origin: 'https://app.example.com', host: 'app.example.com', expected: true },
    { origin: 'https://app.example.com', host: 'App.Example.COM', expected: true },
    { origin: 'https://app.example.com:8443', host: 'app.example.com:8443', expected: true },
    { origin: 'https://app.example.com', header: 'app.example.com', expected: true },
    { origin: 'http://[::1]:3000', host: '[::1]:3000', expected: true },
    // The host of the adapter counts, not the header.
    { origin: 'https://evil.example', host: 'app.example.com', header: 'evil.example', expected: false },
    { origin: 'https://app.example.com:8443', host: 'app.example.com', expected: false },
    { origin: 'https://example.com', host: 'app.example.com', expected: false },
    { origin: 'https://app.example.com.evil.example', host: 'app.example.com', expected: false },
    { origin: 'https://evil.example/app.example.com', host: 'app.example.com', expected: false },
    { origin: 'null', host: 'app.example.com', expected: false },
    { origin: '', host: 'app.example.com', expected: false },
    { origin: 'null', expected: false },
    { origin: '', expected: false },
  ])('compares origin "$origin" with host "$host" ($header)', ({ origin, host, header, expected }) => {
    const headers = { origin, ...(header !== undefined && { host: header }) };
    expect(passes({ host, headers })).toBe(expected);
  });

  it('repeats nothing in its message that a client could have put there', () => {
    const headers = { 'sec-fetch-site': '<script>alert(1)</script>\r\nSet-Cookie: x=1' };
    expect(() => check().checkRequest({ method: 'POST', headers })).toThrow(/^[\w .():-]+$/);
  });

  it('in mode "header" wants the header and looks at no other', () => {
    const options: CsrfOptions = { mode: 'header' };
    expect(passes({ headers: { 'anti-csrf': '1' } }, options)).toBe(true);
    expect(passes({ headers: { 'anti-csrf': '' } }, options)).toBe(false);
    expect(passes({ headers: { 'sec-fetch-site': 'same-origin' } }, options)).toBe(false);
  });
});
