import { describe, expect, it } from 'vitest';
import { InvalidOptionError } from '../errors/session.errors.js';
import { resolveOptions } from './resolved-options.js';
import type { SessionModuleOptions } from './session-module.options.js';

/** Options of any type, as JavaScript callers may pass them. */
const resolve = (options: unknown) => resolveOptions(options as SessionModuleOptions).options;

function refusal(options: unknown): [option: string, message: string] {
  try {
    resolve(options);
  } catch (error) {
    if (!(error instanceof InvalidOptionError)) throw error;
    return [error.option, error.message];
  }
  throw new Error('The options were accepted.');
}

describe('transport', () => {
  it.each(['cookie', 'header', 'any'])('may be %s', (transport) => {
    expect(resolve({ transport })).toMatchObject({ transport });
  });

  it.each(['cookies', 'bearer', 'Header', '', null, true, 1, ['cookie']])('is not %j', (transport) => {
    expect(refusal({ transport })).toEqual(['transport', expect.stringContaining('cookie, header, any')]);
  });
});

describe('the names of headers', () => {
  it('are in lower case, as Node has them', () => {
    const headers = { access: 'X-Access', refresh: 'X-Refresh', lookAgain: 'X-Again', transport: 'X-2' };
    expect(resolve({ headers }).headers).toEqual({
      access: 'x-access',
      refresh: 'x-refresh',
      lookAgain: 'x-again',
      transport: 'x-2',
    });
  });

  it.each([
    ['session_refresh', 'refresh-token'],
    ['admin_refresh', 'admin-refresh-token'],
    ['__Host-Admin.Refresh', 'admin-refresh-token'],
    ['refresh', 'refresh-token'],
    ['refresh_token', 'refresh-token'],
    ['rt', 'rt-token'],
    ['__Secure-_', 'token'],
  ])('of a refresh token follows from the cookie’s: %s', (refreshName, refresh) => {
    expect(resolve({ cookies: { refreshName } }).headers.refresh).toBe(refresh);
  });

  it.each(['', ' ', 'a b', 'a:b', 'a_b', 'a.b', '-a', 'a-', 'a--b', 'ä', '__proto__', 'a\n', 1, null, []])(
    'have letters, digits and hyphens only, unlike %j',
    (name) => {
      for (const key of ['access', 'refresh', 'lookAgain', 'transport']) {
        expect(refusal({ headers: { [key]: name } })[0]).toBe(`headers.${key}`);
      }
    },
  );

  it.each([
    'Authorization',
    'cookie',
    'set-cookie',
    'refresh',
    'host',
    'origin',
    'location',
    'cache-control',
    'content-type',
    'accept',
    'accept-encoding',
    'if-match',
    'sec-fetch-site',
    'access-control-allow-origin',
    'proxy-authorization',
    'x-forwarded-for',
    'transfer-encoding',
    'www-authenticate',
    'constructor',
  ])('have no other meaning, as %s has', (name) => {
    expect(refusal({ headers: { refresh: name } })).toEqual([
      'headers.refresh',
      expect.stringContaining('has another meaning'),
    ]);
  });

  it('differ from each other, and from that of CSRF tokens', () => {
    expect(refusal({ headers: { refresh: 'Access-Token' } })).toEqual([
      'headers',
      expect.stringContaining('the same name'),
    ]);
    for (const csrf of [undefined, { header: 'X-Csrf' }]) {
      expect(refusal({ csrf, headers: { lookAgain: csrf?.header ?? 'anti-csrf' } })).toEqual([
        'headers.lookAgain',
        expect.stringContaining('csrf.header'),
      ]);
    }
  });

  it('are known by these keys', () => {
    expect(refusal({ headers: { refreshToken: 'x' } })).toEqual([
      'headers.refreshToken',
      expect.stringContaining('access, refresh, lookAgain, transport'),
    ]);
    expect(refusal({ headers: 'x' })).toEqual(['headers', expect.stringContaining('an object')]);
  });
});
