import { describe, expect, it } from 'vitest';
import { followsWithItsCookies, sameUrl } from './look-again.js';

const BROWSER = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0';

describe('who follows a redirection with the cookies of then', () => {
  it.each<[who: string, headers: Record<string, string>, follows: boolean]>([
    ['a fetch of a page', { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' }, true],
    [
      'a navigation',
      { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' },
      true,
    ],
    ['a page of another site', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }, true],
    ['a browser on plain http, which says nothing more', { 'user-agent': BROWSER }, true],
    [
      'Firefox on plain http',
      { 'user-agent': 'Mozilla/5.0 (X11; rv:153.0) Gecko/20100101 Firefox/153.0' },
      true,
    ],
    ['a WebSocket', { 'sec-fetch-site': 'same-origin', upgrade: 'websocket' }, false],
    ['a WebSocket on plain http', { 'user-agent': BROWSER, upgrade: 'websocket' }, false],
    ['Node’s fetch', { 'user-agent': 'node', 'sec-fetch-mode': 'cors' }, false],
    ['Node’s fetch with a browser’s name', { 'user-agent': BROWSER, 'sec-fetch-mode': 'cors' }, false],
    [
      'a rendering server that passes the headers of a navigation on by fetch',
      {
        'user-agent': BROWSER,
        'sec-fetch-site': 'none',
        'sec-fetch-mode': 'cors',
        'sec-fetch-dest': 'document',
      },
      false,
    ],
    ['curl', { 'user-agent': 'curl/8.5.0' }, false],
    ['a name that only contains the browsers’', { 'user-agent': 'Bot (like Mozilla/5.0)' }, false],
    ['nobody', {}, false],
  ])('%s', (_, headers, follows) => {
    expect(followsWithItsCookies({ headers })).toBe(follows);
  });
});

describe('the same URL as a relative reference', () => {
  it.each<[url: string, reference: string]>([
    ['/', './'],
    ['/?a=b', './?a=b'],
    ['/me', './me'],
    ['/me?', './me?'],
    ['/me?a=b/c?d&e=//f', './me?a=b/c?d&e=//f'],
    ['/a/b', './b'],
    ['/a/b/', './'],
    ['/a/b/?c', './?c'],
    ['/a:b', './a:b'],
    ['/x/javascript:alert(1)', './javascript:alert(1)'],
    ['/a%2Fb', './a%2Fb'],
    ['//evil.example', './evil.example'],
    ['//evil.example/', './'],
    ['//evil.example/path?query', './path?query'],
    ['/?//evil.example', './?//evil.example'],
    ['http://host.example/a/b?c', './b?c'],
  ])('%s is %s', (url, reference) => {
    expect(sameUrl({ headers: {}, url })).toBe(reference);
    const base = new URL(`http://host.example${url.replace(/^http:\/\/host\.example/, '')}`);
    expect(new URL(reference, base).href).toBe(base.href);
  });

  it('is that of the whole request where a router has cut its part off', () => {
    expect(sameUrl({ headers: {}, url: '/b', originalUrl: '/a/b?c' })).toBe('./b?c');
  });

  it('can be written into a header whatever the request had', () => {
    expect(sameUrl({ headers: {}, url: '/\u00fc\u0009x y' })).toBe('./%C3%BC%09x%20y');
  });

  it('leads to no other host, whatever a path that is not a browser’s resolves to', () => {
    for (const url of [
      '/a/..//evil.example',
      '/a/%2e%2e',
      '/\\evil.example',
      '/a/\\\\evil.example',
      '*',
      '',
    ]) {
      const reference = sameUrl({ headers: {}, url });
      expect(new URL(reference, 'http://host.example/x/y').host).toBe('host.example');
    }
  });
});
