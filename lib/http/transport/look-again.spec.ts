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
  const FETCH = { 'sec-fetch-mode': 'cors' };
  const NAVIGATION = { 'sec-fetch-mode': 'navigate' };

  it.each<[url: string, ofNavigation: string, ofFetch: string]>([
    ['/', './', './'],
    ['/?a=b', '?a=b', '?a=b'],
    ['/me', './me', './me'],
    ['/me?', '?', '?'],
    ['/me?a=b/c?d&e=//f', '?a=b/c?d&e=//f', '?a=b/c?d&e=//f'],
    ['/a/b', './b', '#'],
    ['/a/b/', './', '#'],
    ['/a/b/?c', '?c', '?c'],
    ['/a:b', './a:b', './a:b'],
    ['/x/javascript:alert(1)', './javascript:alert(1)', '#'],
    ['/a%2Fb', './a%2Fb', './a%2Fb'],
    ['//evil.example', './evil.example', '#'],
    ['//evil.example/', './', '#'],
    ['//evil.example/path?query', '?query', '?query'],
    ['/?//evil.example', '?//evil.example', '?//evil.example'],
    ['http://host.example/a/b?c', '?c', '?c'],
  ])('%s', (url, ofNavigation, ofFetch) => {
    // Without Sec-Fetch-* headers, on plain http, the request could be a navigation.
    expect(sameUrl({ headers: {}, url })).toBe(ofNavigation);
    expect(sameUrl({ headers: NAVIGATION, url })).toBe(ofNavigation);
    expect(sameUrl({ headers: FETCH, url })).toBe(ofFetch);
    const base = new URL(`http://host.example${url.replace(/^http:\/\/host\.example/, '')}`);
    for (const reference of [ofNavigation, ofFetch]) {
      expect(new URL(reference, base).href.replace(/#$/, '')).toBe(base.href);
    }
  });

  it('is right where a proxy has stripped a prefix and decoded a slash', () => {
    const base = 'http://host.example/api/a%2Fb';
    for (const query of ['', '?c']) {
      const reference = sameUrl({ headers: FETCH, url: `/a/b${query}` });
      expect(new URL(reference, base + query).href.replace(/#$/, '')).toBe(base + query);
    }
  });

  it('is that of the whole request where a router has cut its part off', () => {
    expect(sameUrl({ headers: {}, url: '/b', originalUrl: '/a/c' })).toBe('./c');
  });

  it('can be written into a header whatever the request had', () => {
    expect(sameUrl({ headers: {}, url: '/\u00fc\u0009x y' })).toBe('./%C3%BC%09x%20y');
    expect(sameUrl({ headers: {}, url: '/?\u00fc' })).toBe('?%C3%BC');
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
      for (const headers of [FETCH, NAVIGATION]) {
        const reference = sameUrl({ headers, url });
        expect(new URL(reference, 'http://host.example/x/y').host).toBe('host.example');
      }
    }
  });
});
