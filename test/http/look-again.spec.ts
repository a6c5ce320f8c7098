import { type ArgumentsHost, Catch } from '@nestjs/common';
import { APP_FILTER, BaseExceptionFilter } from '@nestjs/core';
import {
  LookAgainError,
  type SessionEvent,
  SessionOverError,
  SessionService,
  TokenTheftError,
} from 'nestjs-session-tokens';
import { beforeEach, describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import {
  type AccountApp,
  accountApps,
  clearsCookies,
  cookieOf,
  MARKER,
  moveOn,
  refusal,
  REFRESH,
  setCookieNames,
  tokenIdOf,
} from './account-app.js';

const NOT_A_BROWSER = { 'user-agent': 'HttpClient/1.0' };

function eventsOf({ sessions }: AccountApp): SessionEvent[] {
  const events: SessionEvent[] = [];
  sessions.events.subscribe((event) => void (event.type !== 'refreshed' && events.push(event)));
  return events;
}

/** "Catch everything", as Nest's documentation has it. */
@Catch()
class CatchAll extends BaseExceptionFilter {
  override catch(error: unknown, host: ArgumentsHost): void {
    super.catch(error, host);
  }
}

describe.each(adapters)('a refresh token that looks old over %s', (adapter) => {
  const start = accountApps(adapter);

  describe('in a late request', () => {
    let app: AccountApp;
    let browser: Browser;
    let late: { cookie: string };
    let events: SessionEvent[];

    beforeEach(async () => {
      app = await start();
      events = eventsOf(app);
      browser = await app.signIn();
      late = { cookie: browser.cookieHeader('/') };
      await moveOn(browser);
    });

    it.each<[method: string, path: string, body: object | undefined, status: number]>([
      ['GET', '/me', undefined, 200],
      ['GET', '/me?a=b&c=/d', undefined, 200],
      ['GET', '/visitor', undefined, 200],
      ['POST', '/orders', { large: 'x'.repeat(50_000) }, 200],
      ['PUT', '/data', { items: [1, 2, 3] }, 200],
      ['POST', '/logout', undefined, 204],
    ])('has a browser look again, and is answered then: %s %s', async (method, path, body, status) => {
      const init = { headers: late, ...(body && { body }) };
      const first = await browser.request(method, path, { ...init, follows: false });
      expect(first).toMatchObject(refusal(307, 'look_again'));
      expect(first.headers.get('location')).toBe(
        path.includes('?') ? path.slice(path.indexOf('?')) : `.${path}`,
      );
      expect(first.headers.get('cache-control')).toBe('no-store');
      expect(setCookieNames(first)).toEqual([MARKER]);
      expect(first.setCookies[0]!.attributes).toMatchObject({ httponly: '', secure: '', path: '/' });

      expect(await browser.request(method, path, init)).toMatchObject({ status });
      expect(events.filter(({ type }) => type === 'theft')).toEqual([]);
      expect(events.filter(({ type }) => type === 'stale')).toHaveLength(2);
      expect((await browser.get('/me')).status).toBe(path === '/logout' ? 401 : 200);
    });

    it('tells any other client to look again, and its next request with newer tokens is answered', async () => {
      for (const path of ['/me', '/visitor']) {
        const answer = await browser.get(path, { headers: { ...late, ...NOT_A_BROWSER } });
        expect(answer).toMatchObject(refusal(401, 'look_again'));
        expect(setCookieNames(answer)).toEqual([MARKER]);
        expect(answer.headers.get('location')).toBeNull();
      }
      expect((await browser.get('/me', { headers: NOT_A_BROWSER })).status).toBe(200);
      expect(events.filter(({ type }) => type === 'theft')).toEqual([]);
    });

    it('is theft when it comes back with the marker that names it, however often it is said before', async () => {
      const marker = (value: string) => ({ cookie: `${late.cookie}; ${MARKER}=${value}` });
      const [named] = (await browser.get('/me', { headers: late, follows: false })).setCookies;
      // Markers for other tokens, which a sibling subdomain may set, have no effect.
      for (const value of ['0123456789abcdef', 'junk', `${named!.value}0`, named!.value.toUpperCase()]) {
        if (value === named!.value) continue;
        const answer = await browser.get('/me', { headers: marker(value), follows: false });
        expect(answer.status, `marker ${value}`).toBe(307);
      }
      const planted = `${late.cookie}; ${MARKER}=planted; ${MARKER}=${named!.value}; ${MARKER}=planted`;
      const answer = await app.browser().get('/me', { headers: { cookie: planted } });
      expect(answer).toMatchObject(refusal(401, 'token_theft'));
      expect(clearsCookies(answer)).toBe(true);
      expect(events.at(-1)).toMatchObject({
        type: 'theft',
        tokenId: named!.value,
        kind: 'superseded',
        behind: 1,
      });
    });

    it('is checked for forgery first', async () => {
      const headers = { ...late, origin: 'https://evil.example' };
      expect(await browser.post('/orders', {}, { headers })).toMatchObject(refusal(403, 'csrf_failed'));
      expect(events.filter(({ type }) => type === 'stale')).toEqual([]);
    });

    it('ends its session at sign-in and at sign-out, however old it looks', async () => {
      const { userId } = (await app.sessions.findAllForUser('alice')).sessions[0]!;
      expect(userId).toBe('alice');
      const answer = await app.browser().post('/login', { userId: 'bob' }, { headers: late });
      expect(answer.status).toBe(200);
      expect((await app.sessions.findAllForUser('alice')).sessions).toEqual([]);
    });
  });

  it('in strict mode is theft at first sight', async () => {
    const app = await start({ lookAgain: false });
    const browser = await app.signIn();
    const late = { cookie: browser.cookieHeader('/') };
    await moveOn(browser);
    const answer = await browser.get('/me', { headers: late, follows: false });
    expect(answer).toMatchObject(refusal(401, 'token_theft'));
    expect(clearsCookies(answer)).toBe(true);
  });

  it('of a client that does not follow is theft at its next request', async () => {
    const app = await start();
    const owner = await app.signIn();
    const thief = owner.copy();
    await moveOn(owner);
    expect(await thief.get('/me', { follows: false })).toMatchObject(refusal(307, 'look_again'));
    expect((await owner.get('/me')).status, 'nothing has happened yet').toBe(200);
    expect(await thief.get('/me', { follows: false })).toMatchObject(refusal(401, 'token_theft'));
  });

  it('of the row’s generation is answered when the response to its sibling has had time to arrive', async () => {
    const app = await start({ accessToken: { ttl: '60s' }, reuseWindow: '9s' });
    const owner = await app.signIn();
    pass('61s');
    // Two parties exchange the same token. Each then has a sibling.
    const thief = owner.copy();
    await owner.get('/me');
    await thief.get('/me');
    pass('61s');
    await owner.get('/me');
    const began = performance.now();
    expect(await thief.get('/me', { follows: false })).toMatchObject(refusal(307, 'look_again'));
    expect(performance.now() - began).toBeGreaterThan(190);
    expect(await thief.get('/me')).toMatchObject(refusal(401, 'token_theft'));
  });

  it('on the refresh route is looked at again there', async () => {
    const app = await start({ refresh: 'endpoint', refreshPath: '/auth/refresh' });
    const browser = await app.signIn();
    const late = { cookie: browser.cookieHeader('/auth/refresh') };
    for (const pause of ['16m', '90s']) {
      pass(pause);
      await browser.post('/auth/refresh');
      pass('90s');
      expect((await browser.get('/me')).status).toBe(200);
      pass('16m');
      expect((await browser.post('/auth/refresh')).status).toBe(204);
      pass('90s');
      expect((await browser.get('/me')).status).toBe(200);
    }
    const first = await browser.post('/auth/refresh', undefined, { headers: late, follows: false });
    expect(first).toMatchObject(refusal(307, 'look_again'));
    expect(first.headers.get('location')).toBe('./refresh');
    expect(first.setCookies).toMatchObject([
      {
        name: '__Secure-session_look_again',
        path: '/auth/refresh',
        attributes: { httponly: '', secure: '' },
      },
    ]);
    expect(await browser.post('/auth/refresh', undefined, { headers: late })).toMatchObject({ status: 204 });
  });

  it('in endpoint mode: a late request of a session that was replaced goes on with the new one', async () => {
    const app = await start({ refresh: 'endpoint', refreshPath: '/auth/refresh' });
    const browser = await app.signIn();
    const late = { cookie: browser.cookieHeader('/me') };
    await browser.post('/login', { userId: 'bob' });
    const answer = await browser.get('/me', { headers: late });
    expect(answer).toMatchObject(refusal(401, 'try_refresh'));
    expect(answer.setCookies).toEqual([]);
    expect((await browser.post('/auth/refresh')).status).toBe(204);
    expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'bob' } });
  });

  it('that was planted beside the client’s own neither signs it out nor keeps it from going on', async () => {
    const app = await start();
    const attacker = await app.signIn({ userId: 'mallory' });
    const spent = cookieOf(attacker, 'session_refresh').value;
    await moveOn(attacker);
    const browser = await app.signIn();
    pass('16m');
    const cookie = `${REFRESH}=${spent}; ${browser.cookieHeader('/')}`;
    for (const marked of [cookie, `${cookie}; ${MARKER}=${tokenIdOf(spent)}`]) {
      const answer = await browser.get('/me', { headers: { cookie: marked }, follows: false });
      expect(answer).toMatchObject({ status: 200, body: { userId: 'alice' } });
      expect(clearsCookies(answer)).toBe(false);
    }
  });

  it.each([
    { filter: 'a filter for everything', providers: [{ provide: APP_FILTER, useClass: CatchAll }] },
    { filter: 'no filter', providers: [] },
  ])('is answered alike with $filter, by guard and refresh route', async ({ providers }) => {
    const app = await start({ refreshPath: '/auth/refresh' }, { metadata: { providers } });
    const browser = await app.signIn();
    const late = { cookie: browser.cookieHeader('/') };
    await moveOn(browser);
    for (const [method, path] of [
      ['GET', '/me'],
      ['POST', '/auth/refresh'],
    ] as const) {
      const answer = await browser.request(method, path, { headers: late, follows: false });
      expect(answer, `a browser at ${path}`).toMatchObject(refusal(307, 'look_again'));
      const other = await browser.request(method, path, { headers: { ...late, ...NOT_A_BROWSER } });
      expect(other, `another client at ${path}`).toMatchObject(refusal(401, 'look_again'));
    }
  });

  it('is told across origins, too', async () => {
    const origin = 'https://app.example.com';
    const app = await start(
      { csrf: { trustedOrigins: [origin] } },
      { configure: (nest) => nest.enableCors(nest.get(SessionService).corsOptions()) },
    );
    const browser = await app.signIn();
    const late = { cookie: browser.cookieHeader('/'), origin };
    await moveOn(browser);
    const answer = await browser.get('/me', { headers: late, follows: false });
    expect(answer.status).toBe(307);
    expect(answer.headers.get('access-control-allow-origin')).toBe(origin);
    expect(answer.headers.get('access-control-allow-credentials')).toBe('true');
  });

  it('leaves with sign-in', async () => {
    const app = await start();
    const browser = await app.signIn();
    const late = { cookie: browser.cookieHeader('/') };
    await moveOn(browser);
    await browser.get('/me', { headers: late });
    expect(browser.cookie('session_look_again')).toBeDefined();
    await browser.post('/login', { userId: 'bob' });
    expect(browser.cookie('session_look_again')).toBeUndefined();
  });
});

describe.each(adapters)('signing out without a guard over %s', (adapter) => {
  const start = accountApps(adapter);

  it.each(['0s', '16m'])('ends the session of the cookies, and takes them, after %s', async (pause) => {
    const app = await start();
    const browser = await app.signIn();
    pass(pause);
    const answer = await browser.post('/sign-out');
    expect(answer.status).toBe(204);
    expect(clearsCookies(answer)).toBe(true);
    expect(browser.cookies).toEqual([]);
    expect((await app.sessions.findAllForUser('alice')).sessions).toEqual([]);
    expect((await browser.post('/sign-out')).status, 'once more').toBe(204);
  });

  it('ends it with tokens that look old, too', async () => {
    const app = await start();
    const browser = await app.signIn();
    const old = browser.cookieHeader('/');
    await moveOn(browser);
    pass('1h');
    await app.browser().post('/sign-out', undefined, { headers: { cookie: old } });
    expect((await app.sessions.findAllForUser('alice')).sessions).toEqual([]);
  });
});

describe('a refresh without HTTP', () => {
  const start = accountApps('express');

  async function oldToken() {
    const { sessions } = await start();
    const { refreshToken: first, session } = await sessions.tokens.issue({ userId: 7 });
    pass('16m');
    const { refreshToken: second } = await sessions.tokens.refresh(first.token);
    pass('16m');
    await sessions.tokens.refresh(second!.token);
    return { sessions, token: first.token, newer: second!.token, id: session.id };
  }

  it('says what to repeat when a token looks old, and revokes nothing', async () => {
    const { sessions, token, newer, id } = await oldToken();
    const error = await refused(sessions.tokens.refresh(token));
    expect(error).toBeInstanceOf(LookAgainError);
    expect(error).toMatchObject({ code: 'look_again', tokenId: tokenIdOf(token), location: undefined });
    // Neither another error, nor the error for another token, counts as a second look.
    for (const lookedAgain of [undefined, tokenIdOf(newer), '']) {
      expect(
        await refused(sessions.tokens.refresh(token, lookedAgain === undefined ? {} : { lookedAgain })),
      ).toBeInstanceOf(LookAgainError);
    }
    expect(await sessions.find(id)).not.toBeNull();
    expect(await sessions.tokens.refresh(newer)).toMatchObject({ session: { id } });
  });

  it('is theft when it is repeated', async () => {
    const { sessions, token, id } = await oldToken();
    const { tokenId } = (await refused(sessions.tokens.refresh(token))) as LookAgainError;
    const error = await refused(sessions.tokens.refresh(token, { lookedAgain: tokenId }));
    expect(error).toBeInstanceOf(TokenTheftError);
    expect(error).toMatchObject({
      sessionId: id,
      userId: 7,
      stale: { kind: 'superseded', behind: 1, tokenId },
    });
    expect(await sessions.find(id)).toBeNull();
  });

  it('of a session that is over says so when it is repeated', async () => {
    const { sessions, token, id } = await oldToken();
    await sessions.revoke(id);
    const first = await refused(sessions.tokens.refresh(token));
    expect(first).toMatchObject({
      code: 'look_again',
      stale: { kind: 'session_over', behind: 0, userId: 7 },
    });
    const { tokenId } = first as LookAgainError;
    expect(await refused(sessions.tokens.refresh(token, { lookedAgain: tokenId }))).toBeInstanceOf(
      SessionOverError,
    );
  });
});

/** The error of a refused refresh. */
async function refused(refresh: Promise<unknown>): Promise<unknown> {
  return refresh.then(
    () => undefined,
    (error: unknown) => error,
  );
}
