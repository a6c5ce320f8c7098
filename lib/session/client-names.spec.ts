import { describe, expect, it, vi } from 'vitest';
import { clientNames } from './client-names.js';

const parsed = vi.hoisted(() => vi.fn<(userAgent: string) => void>());
vi.mock('bowser', async (original) => {
  const { getParser } = await original<typeof import('bowser')>();
  return {
    getParser: (userAgent: string, skipsParsing: boolean) => {
      parsed(userAgent);
      return getParser(userAgent, skipsParsing);
    },
  };
});

const WINDOWS = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)';
const MAC = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)';
const IPHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)';
const ANDROID = 'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko)';

describe('the names of', () => {
  it.each<[string, string | null, string | null]>([
    [`${WINDOWS} Chrome/130.0.0.0 Safari/537.36`, 'Chrome', 'Windows'],
    [`${WINDOWS} Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0`, 'Microsoft Edge', 'Windows'],
    [`${WINDOWS} Chrome/130.0.0.0 Safari/537.36 OPR/115.0.0.0`, 'Opera', 'Windows'],
    [
      'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0',
      'Firefox',
      'Windows',
    ],
    [`${MAC} Version/17.6 Safari/605.1.15`, 'Safari', 'macOS'],
    [`${IPHONE} Version/18.0 Mobile/15E148 Safari/604.1`, 'Safari', 'iOS'],
    [`${IPHONE} CriOS/130.0.0.0 Mobile/15E148 Safari/604.1`, 'Chrome', 'iOS'],
    [`${IPHONE} FxiOS/130.0 Mobile/15E148 Safari/605.1.15`, 'Firefox', 'iOS'],
    [`${ANDROID} Chrome/130.0.0.0 Mobile Safari/537.36`, 'Chrome', 'Android'],
    [`${ANDROID} SamsungBrowser/26.0 Chrome/122.0.0.0 Mobile Safari/537.36`, 'Samsung Internet', 'Android'],
    ['Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0', 'Firefox', 'Linux'],
    [
      'Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36',
      'Chrome',
      'Chrome OS',
    ],
    // Apps and programs: the name that they give themselves.
    ['MyApp/1.2 (iPhone; iOS 18)', 'MyApp', 'iOS'],
    ['My App/1.2 (Linux; Android 14; Pixel 7)', 'My App', 'Android'],
    ['MyApp/1.2 CFNetwork/1498 Darwin/23.6.0', 'MyApp', null],
    ['Dalvik/2.1.0 (Linux; U; Android 13; Pixel 7)', 'Dalvik', 'Android'],
    ['okhttp/4.12.0', 'okhttp', null],
    ['curl/8.5.0', 'curl', null],
    ['python-requests/2.32', 'python-requests', null],
    ['node', 'node', null],
    // Bots.
    ['Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)', 'Googlebot', null],
    ['facebookexternalhit/1.1', 'facebookexternalhit', null],
    // What a transforming function of the application may have left.
    ['Chrome/130 (Windows NT 10.0)', 'Chrome', 'Windows'],
    ['TGhlcUNHQkxBY2tIYXNoZWRWYWx1ZQ==', null, null],
    // Nothing to be known.
    ['', null, null],
    ['Mozilla/5.0', null, null],
    ['Mozilla/5.0 (Somebody)', null, null],
    ['T?sted/1.0', null, null],
    ['hello, world', null, null],
    ['<script>alert(1)</script>/1.0', null, null],
    ['x'.repeat(255), null, null],
    ['(((((((', null, null],
    // Cut in the middle.
    [IPHONE.slice(0, 40), null, 'iOS'],
    [WINDOWS, null, 'Windows'],
    [`${IPHONE} Mobile/15E148`, 'Safari', 'iOS'],
  ])('%j are %j and %j', (userAgent, browser, system) => {
    expect(clientNames(userAgent)).toEqual({ browser, system });
  });

  it('no user agent are not known', () => {
    expect(clientNames(null)).toEqual({ browser: null, system: null });
  });

  /** Parts of texts of 255 characters that make an expression of the parser try as much as it can. */
  const parts = [
    '(',
    '()',
    '( ',
    '/',
    '/ ',
    ' /',
    'a/ (',
    'Mozilla/ ',
    'Macintosh FxiOS',
    'Mac OS X 1_1',
    'version/1.1',
    'android ',
    'like android ',
    'iphone os 1_1 like mac os x',
    'windows phone os 1.1.1',
    'chrome/1.1 ',
    '\t(',
    '1.',
    '1_1',
    'x-',
    'x ',
  ];

  it.each(parts)('take no long time, however often a client says %j', (part) => {
    const repeated = part.repeat(255);
    for (const text of [repeated, `Mozilla/5.0 (${repeated}`, `${repeated.slice(0, 240)}!`]) {
      const times = Array.from({ length: 5 }, (_, n) => {
        // Five texts, so that none is remembered.
        const userAgent = `${text.slice(0, 254)}${n}`;
        const start = performance.now();
        clientNames(userAgent);
        return performance.now() - start;
      });
      // It takes less than 0.05 ms. An expression that goes back and forth would take seconds.
      expect(Math.min(...times)).toBeLessThan(10);
    }
  });

  it('any text at all are texts or not known', () => {
    let seed = 1;
    const next = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
    const pieces = [
      'Mozilla/5.0 ',
      '(',
      ')',
      '/',
      ' ',
      ';',
      'Chrome/1',
      'Safari',
      'iPhone',
      'Android',
      '1.2',
      'x',
    ];
    for (let count = 0; count < 2_000; count++) {
      const userAgent = Array.from({ length: next(40) }, () => pieces[next(pieces.length)])
        .join('')
        .slice(0, 255);
      const { browser, system } = clientNames(userAgent);
      for (const name of [browser, system]) expect(name ?? 'unknown').toMatch(/^[\w .+-]{1,60}$/);
    }
  });
});

const agent = (n: number) => `Remembered/${n}`;

it('parses a user agent once, and does not remember more than a thousand', () => {
  const first = clientNames(agent(0));
  parsed.mockClear();
  expect(clientNames(agent(0))).toBe(first);
  expect(parsed).not.toHaveBeenCalled();
  for (let n = 1; n <= 1_000; n++) clientNames(agent(n));
  parsed.mockClear();
  clientNames(agent(1_000));
  expect(parsed).not.toHaveBeenCalled();
  clientNames(agent(0));
  expect(parsed).toHaveBeenCalledOnce();
});
