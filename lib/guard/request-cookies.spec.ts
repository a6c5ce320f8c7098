import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { HttpRequest } from '../http/messages.js';
import { provideCookies } from './request-cookies.js';
import { attachSession } from './attached-session.js';
import type { SessionAuthenticator } from '../http/session-authenticator.js';

type WithCookies = HttpRequest & { cookies?: unknown };

/** Does the same with a request as the guard does when it accepts it. */
function guard(request: WithCookies): void {
  provideCookies(request);
  attachSession(request, { module: 'default' } as SessionAuthenticator, undefined);
}

/** @returns a function that makes requests as one adapter does */
function adapter(): (cookie: string) => WithCookies {
  class AdapterRequest implements HttpRequest {
    constructor(readonly headers: HttpRequest['headers']) {}
  }
  return (cookie) => new AdapterRequest({ cookie });
}

describe('req.cookies', () => {
  it('are parsed when somebody looks, once', () => {
    const request: WithCookies = { headers: { cookie: 'a=1; b=%20x; c=j:[1]' } };
    guard(request);
    request.headers.cookie = 'a=2';
    const { cookies } = request;
    expect(cookies).toEqual({ a: '2' });
    request.headers.cookie = 'a=3';
    expect(request.cookies).toBe(cookies);
  });

  it('are an empty object without a header', () => {
    const request: WithCookies = { headers: {} };
    guard(request);
    expect({ ...(request.cookies as object) }).toEqual({});
  });

  it.each([{}, { a: 'parsed by the application' }])(
    "stay the application's where there are some: %j",
    (own) => {
      const request: WithCookies = { headers: { cookie: 'a=1' }, cookies: own };
      guard(request);
      expect(request.cookies).toBe(own);
    },
  );

  it.each([null, undefined])('are given where the application has only declared them: %s', (cookies) => {
    const request: WithCookies = { headers: { cookie: 'a=1' }, cookies };
    guard(request);
    expect(request.cookies).toEqual({ a: '1' });
  });

  it('can be set by the application later', () => {
    const request: WithCookies = { headers: { cookie: 'a=1' } };
    guard(request);
    request.cookies = { own: true };
    expect(request.cookies).toEqual({ own: true });
  });

  describe('where an adapter gives its requests a prototype', () => {
    it('are of each request', () => {
      const make = adapter();
      const [one, two] = [make('a=1'), make('a=2')];
      guard(one);
      guard(two);
      expect([two.cookies, one.cookies]).toEqual([{ a: '2' }, { a: '1' }]);
      expect(Object.keys(one)).toContain('cookies');
    });

    it('are missing in requests that no guard has seen, so that a parser of the application finds none', () => {
      const make = adapter();
      guard(make('a=1'));
      const unguarded = make('a=2');
      expect(unguarded.cookies).toBeUndefined();
      unguarded.cookies = { parsed: 'by the application' };
      guard(unguarded);
      expect(unguarded.cookies).toEqual({ parsed: 'by the application' });
    });

    it.each([null, undefined])(
      'are parsed all the same where a request has been given %s for them',
      (cookies) => {
        const make = adapter();
        guard(make('a=1'));
        const request = make('a=2');
        request.cookies = cookies;
        guard(request);
        expect(request.cookies).toEqual({ a: '2' });
      },
    );

    it('are parsed where all its requests have been declared to have some', () => {
      const make = adapter();
      for (const value of ['1', '2']) {
        const request = Object.defineProperty(make(`a=${value}`), 'cookies', {
          value: null,
          configurable: true,
        });
        guard(request);
        expect(request.cookies).toEqual({ a: value });
      }
    });
  });

  it("of Node's own requests leave their class alone", () => {
    const request = new IncomingMessage(new Socket()) as IncomingMessage & WithCookies;
    request.headers = { cookie: 'a=1' };
    guard(request);
    expect(request.cookies).toEqual({ a: '1' });
    expect('cookies' in IncomingMessage.prototype).toBe(false);
    expect('cookies' in {}).toBe(false);
  });
});
