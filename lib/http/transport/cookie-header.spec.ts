import { describe, expect, it } from 'vitest';
import {
  type CookieAttributes,
  cookieValues,
  firstCookieValue,
  mergeSetCookieLines,
  setCookieLine,
} from './cookie-header.js';

describe('the values of a cookie', () => {
  it.each<[header: string | undefined, values: string[]]>([
    [undefined, []],
    ['', []],
    ['a=1', ['1']],
    ['b=2; a=1', ['1']],
    ['a=1; a=2; b=3; a=4', ['1', '2', '4']],
    ['a=1;a=2', ['1', '2']],
    [' a = 1 ', ['1']],
    ['a=x=y==', ['x=y==']],
    ['a=', []],
    ['a= ; a=;a=\t', []],
    ['a=; a=2; a=3', ['2', '3']],
    ['a=1 2', ['1 2']],
    ['a', []],
    ['=a; ; a=1;', ['1']],
    ['aa=1; ba=2; A=3; __Host-a=4', []],
    ['b=a=1', []],
    ['a="1"', ['1']],
    ['a = "1" ; a=2', ['1', '2']],
    ['a=""; a="', ['"']],
    ['a="1; b=2"', ['"1']],
    ['a=1"', ['1"']],
    ['$Version="1"; a="1";$Path="/"; b="2";$Path="/"', ['1']],
  ])('in %j are %j', (header, values) => {
    expect(cookieValues(header, 'a')).toEqual(values);
    expect(firstCookieValue(header, 'a')).toBe(values[0]);
  });
});

describe('a Set-Cookie line', () => {
  const attributes: CookieAttributes = {
    path: '/',
    domain: undefined,
    httpOnly: true,
    secure: true,
    sameSite: 'lax',
    partitioned: false,
  };

  it('has every attribute that it is given', () => {
    expect(setCookieLine('a', 'x', 60, attributes)).toBe(
      'a=x; Max-Age=60; Path=/; HttpOnly; Secure; SameSite=Lax',
    );
    expect(
      setCookieLine('a', 'x', 1, {
        path: '/app',
        domain: 'example.com',
        httpOnly: false,
        secure: false,
        sameSite: 'none',
        partitioned: true,
      }),
    ).toBe('a=x; Max-Age=1; Path=/app; Domain=example.com; SameSite=None; Partitioned');
  });

  it('that clears says so in the old way as well', () => {
    expect(setCookieLine('a', '', 0, attributes)).toBe(
      'a=; Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax',
    );
  });
});

const line = (domain: string) => `a=1; Path=/; Domain=${domain}`;

describe('merged Set-Cookie lines', () => {
  const added = ['a=new; Path=/; Secure'];

  it.each<[what: string, present: string[], kept: string[]]>([
    ['nothing present', [], []],
    ['the same cookie', ['a=old; Max-Age=1; Path=/'], []],
    ['the same cookie, written otherwise', ['a=old;path=/;httponly'], []],
    ['another name', ['b=1; Path=/', 'A=1; Path=/'], ['b=1; Path=/', 'A=1; Path=/']],
    ['another path', ['a=old; Path=/app', 'a=old'], ['a=old; Path=/app', 'a=old']],
    ['another domain', ['a=old; Domain=example.com; Path=/'], ['a=old; Domain=example.com; Path=/']],
    ['a value that looks like an attribute', ['b=x; Path=/; Comment=a=old'], ['b=x; Path=/; Comment=a=old']],
    [
      'a partitioned one',
      ['a=old; Path=/; Partitioned', 'a=old; Path=/; partitioned ; Secure'],
      ['a=old; Path=/; Partitioned', 'a=old; Path=/; partitioned ; Secure'],
    ],
    ['one with a value that looks like this', ['a=partitioned; Path=/; X=partitioned'], []],
    ['several', ['x=1', 'a=old; Path=/', 'y=2', 'a=older; Path=/'], ['x=1', 'y=2']],
  ])('keep what is another cookie: %s', (_what, present, kept) => {
    expect(mergeSetCookieLines(present, added)).toEqual([...kept, ...added]);
  });

  it('tell domains apart whatever their case', () => {
    expect(mergeSetCookieLines([line('Example.com')], [line('example.com')])).toEqual([line('example.com')]);
    expect(mergeSetCookieLines([line('a.example.com')], [line('example.com')])).toHaveLength(2);
  });
});
