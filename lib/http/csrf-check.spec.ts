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
    // A proxy may say the port that goes without saying.
    { origin: 'https://app.example.com', host: 'app.example.com:443', expected: true },
    { origin: 'https://app.example.com', host: 'app.example.com:80', expected: true },
    { origin: 'http://app.example.com', header: 'app.example.com:80', expected: true },
    { origin: 'https://[2001:db8::1]', host: '[2001:db8::1]:443', expected: true },
    { origin: 'https://app.example.com', host: 'app.example.com:8443', expected: false },
    { origin: 'https://app.example.com', host: 'app.example.com:4430', expected: false },
    { origin: 'capacitor://app.example.com', host: 'app.example.com', expected: false },
    { origin: 'https://app.example.com, https://app.example.com', host: 'app.example.com', expected: true },
    { origin: 'https://app.example.com, https://evil.example', host: 'app.example.com', expected: false },
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

  it.each([
    ['same-origin, same-origin', true],
    ['none,none', true],
    ['same-origin, cross-site', false],
    ['cross-site, same-origin', false],
    ['same-origin,', false],
    [',', false],
  ])('with Sec-Fetch-Site twice, "%s", passes: %s', (site, expected) => {
    expect(passes({ headers: { 'sec-fetch-site': site } })).toBe(expected);
  });

  it.each<[forwarded: string, host: string, expected: boolean]>([
    // The first, as Express takes it; the last, as Fastify does.
    ['app.example.com, inner', 'app.example.com', true],
    ['app.example.com, inner', 'inner', true],
    ['app.example.com:443, inner:8080', 'inner:8080', true],
    ['evil.example, inner', 'inner', false],
    // No proxy is trusted: the adapter says what Host says.
    ['app.example.com, evil.example', 'inner', false],
    ['app.example.com', 'inner', false],
  ])('X-Forwarded-Host "%s" where the adapter says "%s": passes %s', (forwarded, host, expected) => {
    const headers = { origin: 'https://app.example.com', 'x-forwarded-host': forwarded };
    expect(passes({ host, headers })).toBe(expected);
  });

  it.each<[what: string, headers: Record<string, string>, remedy: RegExp]>([
    ['same-site', { 'sec-fetch-site': 'same-site' }, /trustedOrigins/],
    ['a sandbox or a referrer policy', { origin: 'null' }, /Referrer-Policy/],
    ['both', { origin: 'null', 'sec-fetch-site': 'cross-site' }, /Referrer-Policy/],
    ['a port that the proxy has dropped', { origin: 'https://app.example.com:8443' }, /proxy.*Host.*port/],
  ])('says what to do: %s', (_, headers, remedy) => {
    const request = { method: 'POST', host: 'app.example.com', headers };
    expect(() => check().checkRequest(request)).toThrow(remedy);
  });

  it.each([
    ['capacitor://localhost', true],
    ['ionic://localhost', true],
    ['tauri://localhost', true],
    ['chrome-extension://abcdefghijklmnopabcdefghijklmnop', true],
    ['moz-extension://01a20a8a-a015-700f-b8cf-7cbcd753c3eb', true],
    ['http://localhost', true],
    ['null', false],
    ['file://', false],
    ['file:///index.html', false],
    ['capacitor://', false],
    ['capacitor://localhost/', false],
    ['capacitor://*', false],
    ['about:blank', false],
  ])('an origin that may be trusted: %s %s', (origin, mayBe) => {
    const trusting = () => {
      try {
        return passes({ headers: { origin } }, { trustedOrigins: [origin] });
      } catch (error) {
        return (error as Error).message;
      }
    };
    const refused = expect.stringMatching(/is not an origin/) as string;
    expect(trusting()).toEqual(mayBe ? true : refused);
    expect(passes({ host: 'localhost:3000', headers: { origin } }), 'trusted by nobody').toBe(false);
  });

  it('repeats nothing in its message that a client could have put there', () => {
    const headers = { 'sec-fetch-site': '<script>alert(1)</script>\r\nSet-Cookie: x=1' };
    expect(() => check().checkRequest({ method: 'POST', headers })).toThrow(/^[\w .,():-]+$/);
  });

  it('in mode "header" wants the header and looks at no other', () => {
    const options: CsrfOptions = { mode: 'header' };
    expect(passes({ headers: { 'anti-csrf': '1' } }, options)).toBe(true);
    expect(passes({ headers: { 'anti-csrf': '' } }, options)).toBe(false);
    expect(passes({ headers: { 'sec-fetch-site': 'same-origin' } }, options)).toBe(false);
  });
});
