import { afterEach, describe, expect, it, vi } from 'vitest';
import { InvalidOptionError } from '../errors/session.errors.js';
import { joinPath } from './option-checks.js';
import { type ResolvedOptions, resolveOptions } from './resolved-options.js';
import type { SessionModuleOptions } from './session-module.options.js';

const SECOND = 1_000;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const SECRET = 'a secret of at least thirty-two characters';

afterEach(() => vi.unstubAllEnvs());

/** Options of any type, as JavaScript callers and configuration files may pass them. */
function resolve(options: unknown, refreshPath?: unknown): ResolvedOptions {
  return resolveOptions(options as SessionModuleOptions, { refreshPath: refreshPath as string }).options;
}

/** The error of a refused start: the option, and the message after its name. */
function refusal(options: unknown, refreshPath?: unknown): { option: string; message: string } {
  try {
    resolve(options, refreshPath);
  } catch (error) {
    if (!(error instanceof InvalidOptionError)) throw error;
    const { option, message } = error;
    return { option, message: message.replace(`SessionModule option "${option}": `, '') };
  }
  throw new Error('The options were accepted.');
}

/** Options in which one option is set, given by its path. */
function having(path: string, value: unknown): Record<string, unknown> {
  const [group, name] = path.split('.') as [string, string | undefined];
  return { [group]: name === undefined ? value : { [name]: value } };
}

function valueAt(options: object, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => (value as Record<string, unknown>)[name], options);
}

/** The notes about these options, with a secret added. */
function notesOf(options: SessionModuleOptions): string[] {
  return resolveOptions({ secret: SECRET, ...options }).notes;
}

function warningsOf(options: SessionModuleOptions): string[] {
  return resolveOptions({ secret: SECRET, ...options }).warnings;
}

/** A key function. */
function source(): never[] {
  return [];
}

/** Values that are no texts, no numbers, and no objects of options. */
const WRONG_TYPES: unknown[] = [null, true, [], () => 1];

describe('defaults', () => {
  it('are these', () => {
    expect(resolve(undefined)).toEqual({
      secrets: [],
      deployment: undefined,
      maxSessionsPerUser: undefined,
      accessToken: {
        ttl: 15 * 60 * SECOND,
        algorithm: 'HS256',
        issuer: undefined,
        audience: undefined,
        clockTolerance: 120 * SECOND,
        cacheSize: 10_000,
      },
      refreshToken: { ttl: 30 * DAY, absoluteTtl: 365 * DAY },
      rotation: { reuseWindow: 90 * SECOND, ttl: 15 * 60 * SECOND, jitter: 0.05, delay: 10 * SECOND },
      lookAgain: true,
      theft: 'session',
      events: 'process',
      refresh: 'transparent',
      refreshPath: undefined,
      jwksPath: undefined,
      signingKeys: { rotation: DAY, source: undefined },
      revocation: 'feed',
      revocationInterval: SECOND,
      revocationPush: false,
      revocationsPath: undefined,
      transport: 'any',
      headers: {
        access: 'access-token',
        refresh: 'refresh-token',
        lookAgain: 'look-again',
        transport: 'session-transport',
      },
      csrf: { mode: 'origin', header: 'anti-csrf', trustedOrigins: new Set() },
      cookies: {
        accessName: 'session_access',
        refreshName: 'session_refresh',
        lookAgainName: 'session_look_again',
        indicatorName: undefined,
        prefix: 'auto',
        domain: undefined,
        path: '/',
        refreshPath: undefined,
        sameSite: 'lax',
        secure: true,
        partitioned: false,
        formerDomains: [],
      },
      devices: { userAgent: true, ip: true },
      caches: { private: true, clearAtSignOut: false },
      cleanup: { interval: HOUR, batchSize: 1_000 },
    });
  });

  it('stand for every option and group that is left out or undefined', () => {
    const groups = ['accessToken', 'refreshToken', 'signingKeys', 'csrf', 'cookies', 'cleanup'];
    expect(resolve({})).toEqual(resolve(undefined));
    expect(resolve(Object.fromEntries(groups.map((name) => [name, {}])))).toEqual(resolve(undefined));
    expect(resolve(Object.fromEntries(groups.map((name) => [name, undefined])))).toEqual(resolve(undefined));
    expect(resolve({ accessToken: { ttl: undefined } })).toEqual(resolve(undefined));
  });

  it.each([
    // ttl and window in seconds, delay in milliseconds
    [900, 90, 10_000],
    [180, 90, 10_000],
    [179, 89.5, 89_500 / 9],
    [60, 30, 30_000 / 9],
    [2, 1, 1_000 / 9],
    [1, 0.5, 500 / 9],
  ])('follow the access token: with a ttl of %d s the reuse window is %d s', (ttl, reuseWindow, delay) => {
    const { rotation } = resolve({ accessToken: { ttl } });
    expect(rotation).toEqual({ ttl: ttl * SECOND, reuseWindow: reuseWindow * SECOND, jitter: 0.05, delay });
  });

  it('follow the refresh token: the absolute end is never before it', () => {
    expect(resolve({ refreshToken: { ttl: '365d' } }).refreshToken.absoluteTtl).toBe(365 * DAY);
    expect(resolve({ refreshToken: { ttl: '400d' } }).refreshToken.absoluteTtl).toBe(400 * DAY);
  });
});

describe('values that are accepted', () => {
  it.each<[string, unknown, unknown]>([
    ['accessToken.ttl', 1, SECOND],
    ['accessToken.ttl', '1h', HOUR],
    ['accessToken.ttl', '2000ms', 2 * SECOND],
    ['accessToken.algorithm', 'HS256', 'HS256'],
    ['accessToken.algorithm', 'ES256', 'ES256'],
    ['accessToken.algorithm', 'EdDSA', 'EdDSA'],
    ['accessToken.algorithm', 'RS256', 'RS256'],
    ['accessToken.issuer', 'https://issuer.example', 'https://issuer.example'],
    ['accessToken.audience', 'api', 'api'],
    ['refreshToken.ttl', '16m', 16 * 60 * SECOND],
    ['refreshToken.absoluteTtl', '30d', 30 * DAY],
    ['lookAgain', true, true],
    ['lookAgain', false, false],
    ['theft', 'user', 'user'],
    ['theft', source, source],
    ['devices.userAgent', false, false],
    ['devices.ip', true, true],
    ['devices.ip', source, source],
    ['events', 'everywhere', 'everywhere'],
    ['cookies.lookAgainName', 'again', 'again'],
    ['refresh', 'transparent', 'transparent'],
    ['signingKeys.rotation', '1s', SECOND],
    ['signingKeys.source', source, source],
    ['revocation', 'feed', 'feed'],
    ['revocation', 'database', 'database'],
    ['revocation', 'none', 'none'],
    ['revocationInterval', '1ms', 1],
    ['csrf.mode', 'origin', 'origin'],
    ['csrf.mode', 'token', 'token'],
    ['csrf.mode', 'header', 'header'],
    ['csrf.mode', 'off', 'off'],
    ['csrf.header', 'X-Requested-With', 'x-requested-with'],
    ['csrf.trustedOrigins', [], new Set()],
    [
      'csrf.trustedOrigins',
      ['https://app.example.com', 'http://localhost:3000', 'HTTPS://APP.example.com', 'http://[::1]'],
      new Set(['https://app.example.com', 'http://localhost:3000', 'http://[::1]']),
    ],
    ['cookies.accessName', 'a!#$%&', 'a!#$%&'],
    ['cookies.refreshName', '__Secure-r', '__Secure-r'],
    ['cookies.indicatorName', 'signed_in', 'signed_in'],
    ['cookies.indicatorName', false, undefined],
    ['cookies.prefix', 'auto', 'auto'],
    ['cookies.prefix', 'none', 'none'],
    ['cookies.domain', 'example.com', 'example.com'],
    ['cookies.domain', '.example.com', '.example.com'],
    ['cookies.domain', 'localhost', 'localhost'],
    ['cookies.path', '/app', '/app'],
    ['cookies.refreshPath', '/', '/'],
    ['cookies.sameSite', 'strict', 'strict'],
    ['cookies.sameSite', 'lax', 'lax'],
    ['cookies.sameSite', 'none', 'none'],
    ['cookies.secure', true, true],
    ['cookies.secure', false, false],
    ['cookies.partitioned', true, true],
    ['cookies.formerDomains', ['example.com', '.old.example'], ['example.com', '.old.example']],
    ['cleanup', false, false],
    ['cleanup.interval', '1s', SECOND],
    ['cleanup.interval', '24d', 24 * DAY],
    ['cleanup.batchSize', 1, 1],
    ['cleanup.batchSize', 10_000, 10_000],
  ])('%s: %j', (path, value, expected) => {
    expect(valueAt(resolve(having(path, value)), path)).toEqual(expected);
  });

  it('include one secret, or several in their order', () => {
    expect(resolve({ secret: SECRET }).secrets).toEqual([SECRET]);
    expect(resolve({ secret: [`new ${SECRET}`, SECRET] }).secrets).toEqual([`new ${SECRET}`, SECRET]);
    expect(resolve({ secret: 'x'.repeat(32) }).secrets).toHaveLength(1);
  });

  it('include those that say where the database is, which is not for this function to check', () => {
    expect(() => resolve({ database: { type: 'postgres' }, sqliteConnection: 'shared' })).not.toThrow();
    expect(() => resolve({ sqliteConnection: 'own' })).not.toThrow();
  });

  it('include a refresh path with or without its slashes', () => {
    for (const path of ['auth/refresh', '/auth/refresh', '/auth/refresh/', '//auth//refresh']) {
      expect(resolve({ refresh: 'endpoint' }, path)).toMatchObject({
        refresh: 'endpoint',
        refreshPath: '/auth/refresh',
      });
    }
  });
});

describe('a refusal', () => {
  it('is an error with a stable code that names the option', () => {
    const wrong = { cookies: { secure: 'false' } };
    expect(() => resolve(wrong)).toThrow(InvalidOptionError);
    expect(() => resolve(wrong)).toThrow('SessionModule option "cookies.secure": must be true or false.');
    expect(() => resolve(wrong)).toThrow(
      expect.objectContaining({ code: 'invalid_option', option: 'cookies.secure' }),
    );
  });
});

describe('durations that are refused', () => {
  const durations = [
    'accessToken.ttl',
    'refreshToken.ttl',
    'refreshToken.absoluteTtl',
    'reuseWindow',
    'signingKeys.rotation',
    'revocationInterval',
    'cleanup.interval',
  ];

  it.each(durations)('%s: what is not one', (path) => {
    for (const wrong of ['', '15 minutes', '-1s', -1, ...WRONG_TYPES, {}]) {
      expect(refusal(having(path, wrong))).toEqual({
        option: path,
        message: `${JSON.stringify(wrong)} is not a duration. Give seconds, or a string such as "500ms", "10s", "15m", "24h", "30d".`,
      });
    }
  });

  it('are called by their names in the message, also those that JSON does not know', () => {
    expect(refusal({ reuseWindow: Number.NaN }).message).toMatch(/^NaN is not a duration\./);
    expect(refusal({ reuseWindow: Number.POSITIVE_INFINITY }).message).toMatch(
      /^Infinity is not a duration\./,
    );
    expect(refusal({ reuseWindow: 10n }).message).toMatch(/^10n? is not a duration\./);
  });

  it.each([
    ['accessToken.ttl', 1_000],
    ['refreshToken.ttl', 1_000],
    ['refreshToken.absoluteTtl', 1_000],
    ['signingKeys.rotation', 1_000],
    ['revocationInterval', 1],
    ['cleanup.interval', 1_000],
  ])('%s: less than %i ms', (path, min) => {
    const message = `must be at least ${min} ms.`;
    expect(refusal(having(path, 0))).toEqual({ option: path, message });
    expect(refusal(having(path, `${min - 1}ms`))).toEqual({ option: path, message });
  });

  it('accessToken.ttl: parts of a second', () => {
    expect(refusal({ accessToken: { ttl: '1500ms' } })).toEqual({
      option: 'accessToken.ttl',
      message: 'must be whole seconds, because JWT times are.',
    });
  });

  it('refreshToken.ttl: not longer than that of the access token', () => {
    for (const ttl of ['15m', '14m']) {
      expect(refusal({ refreshToken: { ttl } })).toEqual({
        option: 'refreshToken.ttl',
        message: 'must be longer than accessToken.ttl; a session could not be refreshed otherwise.',
      });
    }
    expect(refusal({ accessToken: { ttl: '30d' } }).option).toBe('refreshToken.ttl');
  });

  it('refreshToken.absoluteTtl: shorter than refreshToken.ttl', () => {
    expect(refusal({ refreshToken: { absoluteTtl: '29d' } })).toEqual({
      option: 'refreshToken.absoluteTtl',
      message: 'is shorter than refreshToken.ttl. Shorten that as well.',
    });
  });

  it('reuseWindow: more than half of the life of an access token', () => {
    for (const reuseWindow of ['450001ms', '451s', '1h']) {
      expect(refusal({ reuseWindow })).toEqual({
        option: 'reuseWindow',
        message:
          'must be at most half of accessToken.ttl; with that of 900 s, 450 s. A generation of tokens is proven when it is older than the window, and its access tokens must live on for that.',
      });
    }
    expect(refusal({ accessToken: { ttl: 20 }, reuseWindow: '10001ms' }).message).toMatch(/20 s, 10 s\./);
    expect(resolve({ accessToken: { ttl: 20 }, reuseWindow: '10s' }).rotation.reuseWindow).toBe(10_000);
    expect(resolve({ accessToken: { ttl: 1 }, reuseWindow: 0 }).rotation.reuseWindow).toBe(0);
  });

  it.each([-0.1, 0.26, Number.NaN, '5%', null])('accessToken.jitter: %j', (jitter) => {
    expect(refusal({ accessToken: { jitter } })).toEqual({
      option: 'accessToken.jitter',
      message: 'must be a number from 0 to 0.25, such as 0.05.',
    });
  });

  it('cleanup.interval: longer than a timer can wait', () => {
    expect(refusal({ cleanup: { interval: '25d' } })).toEqual({
      option: 'cleanup.interval',
      message: 'must be under 24 days, the longest that a timer can wait.',
    });
  });
});

describe('choices that are refused', () => {
  it.each([
    ['accessToken.algorithm', 'HS256, ES256, EdDSA, RS256'],
    ['refresh', 'transparent, endpoint'],
    ['revocation', 'feed, database, none'],
    ['csrf.mode', 'origin, token, header, off'],
    ['cookies.prefix', 'auto, none'],
    ['cookies.sameSite', 'strict, lax, none'],
    ['sqliteConnection', 'own, shared'],
    ['events', 'process, everywhere'],
  ])('%s: what is none of %s', (path, known) => {
    for (const wrong of ['', 'other', known.split(', ')[0]!.toUpperCase() + 'X', 0, null, true, [], {}]) {
      expect(refusal(having(path, wrong))).toEqual({
        option: path,
        message: `${JSON.stringify(wrong)} is not known. Known: ${known}.`,
      });
    }
  });

  it.each(['devices.userAgent', 'devices.ip'])('%s: what is neither a boolean nor a function', (path) => {
    for (const wrong of ['false', 'truncate', '', 0, 1, null, [], {}]) {
      expect(refusal(having(path, wrong))).toEqual({
        option: path,
        message: 'must be true, false, or a function that returns what is kept.',
      });
    }
  });

  it.each(['cookies.secure', 'cookies.partitioned'])(
    '%s: what is not a boolean, such as a text from the environment',
    (path) => {
      for (const wrong of ['false', 'true', '', 0, 1, null, [], {}]) {
        expect(refusal(having(path, wrong))).toEqual({ option: path, message: 'must be true or false.' });
      }
    },
  );

  it.each([
    'accessToken.issuer',
    'accessToken.audience',
    'csrf.header',
    'cookies.accessName',
    'cookies.refreshName',
    'cookies.indicatorName',
    'cookies.domain',
    'cookies.path',
    'cookies.refreshPath',
  ])('%s: what is not a text', (path) => {
    for (const wrong of ['', 0, 1, ...WRONG_TYPES, {}]) {
      expect(refusal(having(path, wrong))).toEqual({
        option: path,
        message: 'must be a non-empty string.',
      });
    }
  });

  it.each(['csrf.trustedOrigins', 'cookies.formerDomains'])('%s: what is not a list of texts', (path) => {
    for (const wrong of ['https://a.example', 1, null, true, {}, [1], ['https://a.example', null]]) {
      expect(refusal(having(path, wrong))).toEqual({ option: path, message: 'must be a list of strings.' });
    }
  });

  it('signingKeys.source: what is not a function', () => {
    for (const wrong of [null, 'key', [], {}]) {
      expect(refusal({ signingKeys: { source: wrong } })).toEqual({
        option: 'signingKeys.source',
        message: 'must be a function.',
      });
    }
  });

  it('cleanup.batchSize: what is not a whole number from 1 to 10,000', () => {
    for (const wrong of [0, -1, 1.5, 10_001, Number.NaN, Number.POSITIVE_INFINITY, '1000', true, {}]) {
      expect(refusal({ cleanup: { batchSize: wrong } })).toEqual({
        option: 'cleanup.batchSize',
        message: 'must be a whole number from 1 to 10,000.',
      });
    }
  });
});

describe('names of the deployment that are refused', () => {
  it.each([
    [{ deployment: '', secret: SECRET }, /non-empty string/],
    [{ deployment: 5, secret: SECRET }, /non-empty string/],
    [{ deployment: 'x'.repeat(201), secret: SECRET }, /longer than 200/],
    [{ deployment: undefined, secret: SECRET }, /is undefined.*not set/],
    [{ deployment: 'production', secret: false }, /needs a "secret"/],
    [{ deployment: 'production' }, /needs a "secret"/],
  ])('%o', (input, message) => {
    expect(refusal(input)).toEqual({
      option: 'deployment',
      message: expect.stringMatching(message) as string,
    });
  });

  it('but not others', () => {
    expect(resolve({ deployment: 'production', secret: SECRET })).toMatchObject({ deployment: 'production' });
  });
});

describe('the largest number of sessions', () => {
  it.each([
    [3, { limit: 3, policy: 'oldest' }],
    [{ limit: 3 }, { limit: 3, policy: 'oldest' }],
    [
      { limit: 1, policy: 'refuse' },
      { limit: 1, policy: 'refuse' },
    ],
  ])('%o', (maxSessionsPerUser, expected) => {
    expect(resolve({ maxSessionsPerUser: maxSessionsPerUser as number }).maxSessionsPerUser).toEqual(
      expected,
    );
  });

  it.each([
    0,
    -1,
    1.5,
    '3',
    null,
    {},
    { policy: 'refuse' },
    { limit: 3, policy: 'newest' },
    { limit: 3, mode: 'refuse' },
    [],
    Number.NaN,
    true,
  ])('is refused: %o', (maxSessionsPerUser) => {
    expect(refusal({ maxSessionsPerUser })).toMatchObject({
      option: expect.stringMatching(/^maxSessionsPerUser/) as string,
    });
  });
});

describe('secrets that are refused', () => {
  it('are those that nobody has set', () => {
    const isUndefined = {
      option: 'secret',
      message: expect.stringMatching(/^is undefined\. .*not set/) as string,
    };
    expect(refusal({ secret: undefined })).toEqual(isUndefined);
    vi.stubEnv('NODE_ENV', 'production');
    expect(refusal({ secret: undefined })).toEqual(isUndefined);
    expect(refusal({})).toEqual({
      option: 'secret',
      message: expect.stringMatching(/^is missing in production/) as string,
    });
  });

  it('are no texts', () => {
    for (const secret of [null, 1, true, {}, [1], [SECRET, undefined], Buffer.alloc(32)]) {
      expect(refusal({ secret })).toEqual({
        option: 'secret',
        message: 'must be a string, or a list of strings, newest first.',
      });
    }
  });

  it('are too short, wherever they stand, and are not repeated in the message', () => {
    const short = 'x'.repeat(31);
    for (const secret of ['', short, [short], [SECRET, short]]) {
      expect(refusal({ secret })).toEqual({
        option: 'secret',
        message: 'must have at least 32 characters. Make one with: openssl rand -base64 48',
      });
    }
  });

  it('are an empty list', () => {
    expect(refusal({ secret: [] })).toEqual({
      option: 'secret',
      message: 'is an empty list. Leave it out, or give at least one secret.',
    });
  });
});

describe('origins, names, paths and domains that are refused', () => {
  it.each([
    'app.example.com',
    'https://app.example.com/',
    'https://app.example.com/path',
    'https://app.example.com:443',
    'https://user@app.example.com',
    'https://*.example.com',
    'https://app.example.com?',
    ' https://app.example.com',
    'https://',
    'null',
    '*',
    '',
    'file:///x',
    'data:text/html,x',
  ])('csrf.trustedOrigins: %j', (origin) => {
    expect(refusal({ csrf: { trustedOrigins: ['https://fine.example', origin] } })).toEqual({
      option: 'csrf.trustedOrigins',
      message: `${JSON.stringify(origin)} is not an origin. Write scheme, host and port only, such as "https://app.example.com".`,
    });
  });

  it.each(['a b', 'a:b', 'a\n', 'ä', 'a(b)'])('csrf.header: %j', (header) => {
    expect(refusal({ csrf: { header } })).toEqual({
      option: 'csrf.header',
      message: 'is not a header name.',
    });
  });

  it.each(['accessName', 'refreshName', 'indicatorName'])(
    'cookies.%s: what no cookie may be called',
    (name) => {
      for (const wrong of ['a b', 'a=b', 'a;b', 'a,b', 'ä', 'a\r\nb', '"a"']) {
        expect(refusal({ cookies: { [name]: wrong } })).toEqual({
          option: `cookies.${name}`,
          message: `${JSON.stringify(wrong)} is not a cookie name.`,
        });
      }
    },
  );

  it.each([
    { accessName: 'same', refreshName: 'same' },
    { accessName: 'Same', refreshName: 'sAME' },
    { refreshName: 'session_access' },
    { refreshName: 'session_access_as' },
    { accessName: 'a', indicatorName: 'A_as' },
    { indicatorName: 'session_refresh' },
  ])('cookies: two of one name (%j)', (cookies) => {
    expect(refusal({ cookies })).toEqual({
      option: 'cookies',
      message: 'two cookies have the same name.',
    });
  });

  it.each(['path', 'refreshPath'])('cookies.%s: what is no path', (name) => {
    for (const wrong of ['app', 'https://example.com/', '/a;b', '/a\n', '/a\u007f', ' /']) {
      expect(refusal({ cookies: { [name]: wrong } })).toEqual({
        option: `cookies.${name}`,
        message: 'must begin with "/" and contain no ";" or control character.',
      });
    }
  });

  const noHosts = [
    'https://example.com',
    'example.com:443',
    'example.com/',
    'example..com',
    'example.com.',
    '-a.example',
    'a-.example',
    'a b',
    '*.example.com',
    'ä.example',
    'a;Secure',
    '..example.com',
    '.',
    `${'a.'.repeat(127)}aa`,
  ];

  it.each(noHosts)('cookies.domain: %j', (domain) => {
    expect(refusal({ cookies: { domain } })).toEqual({
      option: 'cookies.domain',
      message: 'must be a host name, without scheme, port or path.',
    });
  });

  it.each([...noHosts, ''])('cookies.formerDomains: %j', (domain) => {
    expect(refusal({ cookies: { formerDomains: ['example.com', domain] } })).toEqual({
      option: 'cookies.formerDomains',
      message: `${JSON.stringify(domain)} is not a host name.`,
    });
  });

  it.each(['/a;b', '/a\nb', 5, {}])('refreshPath: %j', (path) => {
    expect(refusal({}, path)).toEqual({
      option: 'refreshPath',
      message: 'must be a route path such as "/auth/refresh".',
    });
  });
});

describe('combinations that are refused', () => {
  it('endpoint refresh without its path', () => {
    expect(refusal({ refresh: 'endpoint' })).toEqual({
      option: 'refresh',
      message:
        '"endpoint" needs the module option "refreshPath" (in forRootAsync it stands beside useFactory), such as refreshPath: "/auth/refresh".',
    });
  });

  it('SameSite=None without Secure', () => {
    expect(refusal({ cookies: { sameSite: 'none', secure: false } })).toEqual({
      option: 'cookies.sameSite',
      message: '"none" needs cookies.secure; browsers reject the cookie otherwise.',
    });
  });

  it('Partitioned without Secure', () => {
    expect(refusal({ cookies: { partitioned: true, secure: false } })).toEqual({
      option: 'cookies.partitioned',
      message: 'needs cookies.secure; browsers reject the cookie otherwise.',
    });
  });

  const HOST_RULE =
    'begins with "__Host-", which browsers accept only with secure, without a domain and with path "/".';

  it.each(['accessName', 'refreshName', 'indicatorName'])('cookies.%s with __Host-', (key) => {
    for (const name of ['__Host-x', '__host-x', '__HOST-x']) {
      for (const against of [{ secure: false }, { domain: 'example.com' }, { path: '/app' }]) {
        expect(refusal({ cookies: { [key]: name, ...against } })).toEqual({
          option: `cookies.${key}`,
          message: HOST_RULE,
        });
      }
      expect(valueAt(resolve({ cookies: { [key]: name } }).cookies, key)).toBe(name);
    }
  });

  it.each(['accessName', 'refreshName'])(
    'cookies.%s with a prefix for cookies that no script sets',
    (key) => {
      for (const name of ['__Host-Http-x', '__host-HTTP-x']) {
        for (const against of [{ secure: false }, { domain: 'example.com' }, { path: '/app' }]) {
          expect(refusal({ cookies: { [key]: name, ...against } })).toEqual({
            option: `cookies.${key}`,
            message: HOST_RULE,
          });
        }
        expect(valueAt(resolve({ cookies: { [key]: name } }).cookies, key)).toBe(name);
      }
      for (const name of ['__Http-x', '__HTTP-x']) {
        expect(refusal({ cookies: { [key]: name, secure: false } })).toEqual({
          option: `cookies.${key}`,
          message: 'begins with "__Http-", which browsers accept only with cookies.secure.',
        });
        const cookies = { [key]: name, domain: 'example.com', path: '/app' };
        expect(valueAt(resolve({ cookies }).cookies, key)).toBe(name);
      }
    },
  );

  it('a cookie for scripts with a prefix for cookies that no script reads', () => {
    for (const indicatorName of ['__Host-Http-x', '__Http-x', '__http-x', '__HOST-HTTP-x']) {
      expect(refusal({ cookies: { indicatorName } })).toEqual({
        option: 'cookies.indicatorName',
        message:
          'begins with a prefix that browsers accept only for cookies that scripts cannot read, and scripts are to read this one. Begin it with "__Host-" or "__Secure-".',
      });
    }
  });

  it('a refresh cookie with __Host- on a path of its own, which the others need not care about', () => {
    const cookies = { refreshName: '__Host-r', refreshPath: '/auth' };
    expect(refusal({ refresh: 'endpoint', cookies }, '/auth/refresh')).toEqual({
      option: 'cookies.refreshName',
      message: HOST_RULE,
    });
    const accepted = [
      { accessName: '__Host-a', refreshPath: '/auth' },
      { ...cookies, path: '/app', refreshPath: '/' },
    ];
    for (const each of accepted) {
      expect(() => resolve({ refresh: 'endpoint', cookies: each }, '/auth/refresh')).not.toThrow();
    }
  });

  it('a refresh cookie on another path than the requests that are to refresh transparently', () => {
    for (const cookies of [{ refreshPath: '/auth' }, { path: '/app', refreshPath: '/ap' }]) {
      expect(refusal({ cookies })).toEqual({
        option: 'cookies.refreshPath',
        message:
          'does not cover cookies.path, so that the refresh cookie would not come with the requests that need it. Leave it out, or choose refresh: "endpoint".',
      });
      expect(resolve({ refresh: 'endpoint', cookies }, '/auth/refresh').cookies).toMatchObject(cookies);
    }
    for (const refreshPath of ['/app/admin', '/app', '/']) {
      expect(() => resolve({ cookies: { path: '/app/admin', refreshPath } })).not.toThrow();
    }
  });

  it('a refresh cookie with __Host- where endpoint refresh gives it the path of the refresh route', () => {
    const cookies = { refreshName: '__Host-r' };
    expect(refusal({ refresh: 'endpoint', cookies }, '/auth/refresh')).toEqual({
      option: 'cookies.refreshName',
      message: HOST_RULE,
    });
  });

  it.each(['accessName', 'refreshName', 'indicatorName'])(
    'cookies.%s with __Secure- but not secure',
    (key) => {
      for (const name of ['__Secure-x', '__secure-x']) {
        expect(refusal({ cookies: { [key]: name, secure: false } })).toEqual({
          option: `cookies.${key}`,
          message: 'begins with "__Secure-", which browsers accept only with cookies.secure.',
        });
      }
    },
  );
});

describe('names that are not known', () => {
  it('are refused with those that are', () => {
    expect(refusal({ secrets: SECRET })).toEqual({
      option: 'secrets',
      message:
        'is not known. Known here: secret, deployment, maxSessionsPerUser, accessToken, refreshToken, reuseWindow, lookAgain, theft, events, refresh, signingKeys, revocation, revocationInterval, revocationPush, transport, headers, csrf, cookies, devices, caches, cleanup, database, sqliteConnection.',
    });
  });

  it.each([
    ['accessToken', 'ttl, jitter, algorithm, issuer, audience, clockTolerance, cacheSize'],
    ['refreshToken', 'ttl, absoluteTtl'],
    ['signingKeys', 'rotation, source'],
    ['csrf', 'mode, header, trustedOrigins'],
    [
      'cookies',
      'accessName, refreshName, lookAgainName, indicatorName, prefix, domain, path, refreshPath, sameSite, secure, partitioned, formerDomains',
    ],
    ['devices', 'userAgent, ip'],
    ['cleanup', 'interval, batchSize'],
  ])('are refused within %s, even when undefined', (group, known) => {
    for (const value of [1, undefined]) {
      expect(refusal({ [group]: { tll: value } })).toEqual({
        option: `${group}.tll`,
        message: `is not known. Known here: ${known}.`,
      });
    }
  });

  it.each(['isGlobal', 'refreshPath', 'dataSourceToken'])('get a hint where %s is misplaced', (extra) => {
    expect(refusal({ [extra]: undefined })).toEqual({
      option: extra,
      message:
        'belongs beside useFactory, useClass or useExisting in forRootAsync, not into the options that it makes.',
    });
  });

  it.each(['accessToken', 'refreshToken', 'signingKeys', 'csrf', 'cookies', 'cleanup'])(
    'cannot be looked for where %s is no object',
    (group) => {
      for (const wrong of [null, true, 'x', 1, [], () => 1]) {
        expect(refusal({ [group]: wrong })).toEqual({ option: group, message: 'must be an object.' });
      }
    },
  );

  it('cannot be looked for where the options are no object', () => {
    for (const wrong of [null, true, 'x', 1, []]) {
      expect(refusal(wrong)).toEqual({ option: 'options', message: 'must be an object.' });
    }
  });
});

describe('values of the rotation', () => {
  it.each([
    [{ reuseWindow: 0 }, { reuseWindow: 0, delay: 10_000 }],
    [{ reuseWindow: '450s' }, { reuseWindow: 450_000, delay: 50_000 }],
    [{ reuseWindow: '45s' }, { reuseWindow: 45_000, delay: 5_000 }],
    [{ accessToken: { jitter: 0 } }, { jitter: 0 }],
    [{ accessToken: { jitter: 0.25 } }, { jitter: 0.25 }],
  ])('%j', (options, expected) => {
    expect(resolve(options).rotation).toMatchObject(expected);
  });
});

describe('notes', () => {
  it('are not given for the defaults', () => {
    expect(notesOf({})).toEqual([]);
  });

  it('tell what a killed browser needs, where the reuse window is too short for one', () => {
    const note = /^With reuseWindow = \S+ s, a browser that is killed may come back signed out/;
    for (const reuseWindow of [0, '10s', '69.999s']) {
      expect(notesOf({ reuseWindow })).toEqual([expect.stringMatching(note)]);
    }
    expect(notesOf({ accessToken: { ttl: '2m' } })).toEqual([expect.stringMatching(note)]);
    expect(notesOf({ reuseWindow: '70s' })).toEqual([]);
  });
});

/** The warnings about published keys with these options of access tokens. */
const warningsWith = (accessToken: object) =>
  resolveOptions({ secret: SECRET, accessToken }, { jwksPath: '/keys' }).warnings;

describe('warnings', () => {
  it('are not given for the defaults with a secret, in production either', () => {
    expect(warningsOf({})).toEqual([]);
    vi.stubEnv('NODE_ENV', 'production');
    expect(warningsOf({})).toEqual([]);
  });

  it('say that there is no secret, unless that is meant', () => {
    expect(resolveOptions({}).warnings).toEqual([expect.stringMatching(/^No "secret" is set/)]);
    expect(warningsOf({ secret: false })).toEqual([]);
    vi.stubEnv('NODE_ENV', 'production');
    expect(warningsOf({ secret: false })).toEqual([]);
  });

  it('say that a revoked session would keep working for days', () => {
    const accessToken = { ttl: '25h' };
    expect(warningsOf({ accessToken, revocation: 'none' })).toEqual([
      'accessToken.ttl is over a day and revocation is "none": a revoked session keeps working that long.',
    ]);
    expect(warningsOf({ accessToken, revocation: 'feed' })).toEqual([]);
    expect(warningsOf({ accessToken: { ttl: '24h' }, revocation: 'none' })).toEqual([]);
  });

  it('say that services cannot tell which tokens are for them', () => {
    const expected = [expect.stringMatching(/^jwksPath publishes the keys, but/)];
    expect(warningsWith({})).toEqual(expected);
    expect(warningsWith({ issuer: 'https://a.example' })).toEqual(expected);
    expect(warningsWith({ audience: 'https://b.example' })).toEqual(expected);
    expect(warningsWith({ issuer: 'https://a.example', audience: 'https://b.example' })).toEqual([]);
    expect(warningsOf({})).toEqual([]);
  });

  it('say that revocations are heard of late', () => {
    expect(warningsOf({ revocationInterval: '1m' })).toEqual([]);
    expect(warningsOf({ revocationInterval: '1d' })).toEqual([
      expect.stringMatching(/^revocationInterval is over a minute: for 86400 s/),
    ]);
  });

  it('say that there is no check against forged requests', () => {
    expect(warningsOf({ csrf: { mode: 'off' } })).toEqual([expect.stringMatching(/^csrf\.mode is "off"/)]);
  });

  it('say that a trusted origin is not encrypted, in production only', () => {
    const csrf = { trustedOrigins: ['http://a.example', 'https://b.example', 'http://c.example'] };
    expect(warningsOf({ csrf })).toEqual([]);
    vi.stubEnv('NODE_ENV', 'production');
    expect(warningsOf({ csrf })).toEqual([
      expect.stringMatching(/^csrf\.trustedOrigins has http:\/\/a\.example:/),
      expect.stringMatching(/^csrf\.trustedOrigins has http:\/\/c\.example:/),
    ]);
  });

  it('say that cookies are not secure, in production only', () => {
    const cookies = { secure: false };
    expect(warningsOf({ cookies })).toEqual([]);
    vi.stubEnv('NODE_ENV', 'production');
    expect(warningsOf({ cookies })).toEqual([
      expect.stringMatching(/^cookies\.secure is false in production/),
    ]);
  });

  it('come all together', () => {
    const { warnings } = resolveOptions({ csrf: { mode: 'off' } });
    expect(warnings).toHaveLength(2);
  });
});

describe('the resolved options', () => {
  it('are frozen throughout', () => {
    const options = resolve({ secret: SECRET, cookies: { formerDomains: ['example.com'] } });
    const parts = [
      options,
      options.secrets,
      options.accessToken,
      options.refreshToken,
      options.signingKeys,
      options.csrf,
      options.cookies,
      options.cookies.formerDomains,
      options.cleanup,
    ];
    expect(parts.filter((part) => !Object.isFrozen(part))).toEqual([]);
  });

  it('are the module’s own: the application’s stay as they are and may be changed', () => {
    const input = {
      secret: [SECRET],
      cookies: { formerDomains: ['example.com'] },
      csrf: { trustedOrigins: [] },
    };
    const copy = structuredClone(input);
    const options = resolve(input);
    expect(input).toEqual(copy);
    input.secret.push('later');
    input.cookies.formerDomains.push('later.example');
    expect(options).toMatchObject({ secrets: [SECRET], cookies: { formerDomains: ['example.com'] } });
  });

  it('leave the application’s key function unfrozen', () => {
    expect(Object.isFrozen(resolve({ signingKeys: { source } }).signingKeys.source)).toBe(false);
  });
});

describe('joinPath', () => {
  it.each([
    [[], '/'],
    [[''], '/'],
    [['/'], '/'],
    [['a'], '/a'],
    [['/a/', '/b/'], '/a/b'],
    [['a//b', '', 'c'], '/a/b/c'],
  ])('makes one path of %j', (segments, path) => {
    expect(joinPath(...segments)).toBe(path);
  });
});

describe('clock tolerance', () => {
  it('can be set, up to five minutes', () => {
    expect(resolve({ accessToken: { clockTolerance: '2m' } }).accessToken.clockTolerance).toBe(120_000);
    expect(resolve({ accessToken: { clockTolerance: 0 } }).accessToken.clockTolerance).toBe(0);
    expect(refusal({ accessToken: { clockTolerance: '301s' } })).toEqual({
      option: 'accessToken.clockTolerance',
      message: 'must be at most five minutes. Clocks that are further apart must be set right.',
    });
  });
});

describe('accessToken.cacheSize', () => {
  it.each([-1, 1.5, '10', 20_000_000, Number.NaN])('must not be %j', (cacheSize) => {
    expect(refusal({ accessToken: { cacheSize } })).toEqual({
      option: 'accessToken.cacheSize',
      message: 'must be a whole number from 0 to 10,000,000.',
    });
  });
});

const withJwks = (
  accessToken?: SessionModuleOptions['accessToken'],
  signingKeys?: SessionModuleOptions['signingKeys'],
) => resolveOptions({ accessToken, signingKeys }, { jwksPath: 'keys.json' }).options;

describe('jwksPath', () => {
  it('makes ES256 the default, because others cannot verify HS256', () => {
    expect(withJwks()).toMatchObject({ jwksPath: '/keys.json', accessToken: { algorithm: 'ES256' } });
    expect(withJwks({ algorithm: 'EdDSA' }).accessToken.algorithm).toBe('EdDSA');
  });

  it('is refused with HS256, unless the application gives the keys', () => {
    expect(() => withJwks({ algorithm: 'HS256' })).toThrow(/"jwksPath": needs keys with a public half/);
    expect(withJwks({ algorithm: 'HS256' }, { source: () => [] }).jwksPath).toBe('/keys.json');
  });

  it.each([7, '/with space\n', 'a;b'])('must not be %j', (jwksPath) => {
    expect(() => resolveOptions({}, { jwksPath: jwksPath as string })).toThrow(
      'SessionModule option "jwksPath": must be a route path such as "/.well-known/jwks.json".',
    );
  });
});
