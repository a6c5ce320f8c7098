import { setTimeout as delay } from 'node:timers/promises';
import { Body, Controller, Get, HttpCode, Post, Put, Query, Req, Res, UseGuards } from '@nestjs/common';
import {
  ActiveSession,
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  SessionGuard,
  type SessionModuleExtras,
  type SessionModuleOptions,
  SessionService,
} from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { pass } from '../support/time.js';
import { accountApps, type AccountAppSettings, refusal, tokenIdOf } from './account-app.js';
import { HeaderClient, tokenHeaders } from './header-client.js';

/** What a slow handler waits for. */
let gate: { readonly reached: () => void; readonly opened: Promise<void> };

function closeGate(): { reached: Promise<void>; open: () => void } {
  let [reached, open] = [() => {}, () => {}];
  const isReached = new Promise<void>((resolve) => (reached = resolve));
  gate = { reached, opened: new Promise<void>((resolve) => (open = resolve)) };
  return { reached: isReached, open };
}

@Controller('native')
class NativeController {
  constructor(private readonly sessions: SessionService) {}

  /** Signs somebody in who is signed in. */
  @UseGuards(SessionGuard)
  @Post('again')
  @HttpCode(200)
  async again(@Req() req: HttpRequest, @Res({ passthrough: true }) res: HttpResponse) {
    return this.sessions.reauthenticate(req, res, { amr: ['pwd'] });
  }

  @UseGuards(SessionGuard)
  @Post('act')
  @HttpCode(200)
  async act(@Req() req: HttpRequest, @Res({ passthrough: true }) res: HttpResponse) {
    return this.sessions.impersonate(req, res, { userId: 'ann' });
  }

  @Post('stop')
  @HttpCode(200)
  async stop(@Req() req: HttpRequest, @Res({ passthrough: true }) res: HttpResponse) {
    return { ended: await this.sessions.endImpersonation(req, res) };
  }

  @UseGuards(SessionGuard)
  @Get('slow')
  async slow(@CurrentSession() session: ActiveSession, @Query('claims') claims?: string) {
    if (claims !== undefined) await session.updateClaims({ role: claims });
    gate.reached();
    await gate.opened;
    return { userId: session.userId };
  }

  @UseGuards(SessionGuard)
  @Put('claims')
  async claims(@CurrentSession() session: ActiveSession, @Body() claims: object) {
    await session.updateClaims(claims);
    return session.claims;
  }
}

const metadata = { controllers: [NativeController] };
const BOTH = ['access-token', 'refresh-token'];
const ENDPOINT = { refresh: 'endpoint', refreshPath: '/auth/refresh' } as const;

describe.each(adapters)('tokens in headers over %s', (adapter) => {
  const apps = accountApps(adapter);
  const start = async (options?: SessionModuleOptions & SessionModuleExtras, settings?: AccountAppSettings) =>
    apps(options, { metadata, ...settings });
  const signedIn = async (
    options?: SessionModuleOptions & SessionModuleExtras,
    settings?: AccountAppSettings,
  ) => {
    const app = await start(options, settings);
    const client = new HeaderClient(app.url);
    await client.signIn();
    return { app, client };
  };

  describe.each(['header', 'any'] as const)('with transport "%s"', (transport) => {
    it('are given at sign-in, accepted, renewed on the way, and proven', async () => {
      const { client } = await signedIn({ transport });
      expect([client.access, client.refresh]).toEqual([expect.stringMatching(/^eyJ/), expect.any(String)]);
      expect(await client.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
      for (let round = 0; round < 3; round++) {
        pass('16m');
        const before = client.copy();
        const answer = await client.post('/orders');
        expect(answer.status).toBe(200);
        expect(tokenHeaders(answer)).toEqual(BOTH);
        expect(answer.headers.get('cache-control')).toBe('private, no-store');
        expect(client.access).not.toBe(before.access);
        expect(client.refresh).not.toBe(before.refresh);
        expect(tokenHeaders(await client.get('/me'))).toEqual([]);
        pass('90s');
        expect(tokenHeaders(await client.get('/me'))).toEqual(['access-token']);
        expect(tokenHeaders(await client.get('/me'))).toEqual([]);
      }
    });

    it('are renewed by the refresh token alone', async () => {
      const { client } = await signedIn({ transport });
      client.access = undefined;
      expect(await client.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
      expect(client.access).toMatch(/^eyJ/);
    });

    it('are renewed at the refresh route in endpoint mode', async () => {
      const { client } = await signedIn({ transport, ...ENDPOINT });
      pass('16m');
      const refused = await client.get('/me');
      expect(refused).toMatchObject(refusal(401, 'try_refresh'));
      expect(tokenHeaders(refused)).toEqual([]);
      const renewed = await client.post('/auth/refresh');
      expect([renewed.status, tokenHeaders(renewed)]).toEqual([204, BOTH]);
      expect(renewed.headers.get('cache-control')).toBe('private, no-store');
      expect(await client.get('/me')).toMatchObject({ status: 200 });
      // Again, at once: the refresh token stays, and the access token is another one.
      const again = await client.post('/auth/refresh');
      expect([again.status, tokenHeaders(again)]).toEqual([204, ['access-token']]);
    });

    it('have the names that the application has chosen', async () => {
      const headers = {
        access: 'X-Access',
        refresh: 'X-Refresh',
        transport: 'X-Transport',
        lookAgain: 'X-Again',
      };
      const app = await start({ transport, headers });
      const answer = await app
        .browser()
        .post('/login', { userId: 'alice' }, { headers: { 'x-transport': 'header' } });
      const refresh = answer.headers.get('x-refresh')!;
      expect(answer.headers.get('x-access')).toMatch(/^eyJ/);
      expect(tokenHeaders(answer)).toEqual([]);
      pass('16m');
      const renew = (name: string, more?: object) =>
        app.browser().get('/me', { headers: { [name]: refresh, ...more } });
      expect(await renew('refresh-token')).toMatchObject(refusal(401, 'no_credentials'));
      const renewed = await renew('x-refresh');
      expect(renewed).toMatchObject({ status: 200 });
      pass('90s');
      const bearer = { authorization: `Bearer ${renewed.headers.get('x-access')}` };
      expect((await app.browser().get('/me', { headers: bearer })).status).toBe(200);
      const stale = await renew('x-refresh');
      expect([stale.status, stale.headers.get('x-again')]).toEqual([401, tokenIdOf(refresh)]);
      expect(await renew('x-refresh', { 'x-again': tokenIdOf(refresh) })).toMatchObject(
        refusal(401, 'token_theft'),
      );
    });

    it('carry new claims at once', async () => {
      const { client } = await signedIn({ transport });
      const answer = await client.request('PUT', '/native/claims', { body: { role: 'admin' } });
      expect([answer.status, tokenHeaders(answer)]).toEqual([200, ['access-token']]);
      expect(await client.get('/me')).toMatchObject({ body: { claims: { role: 'admin' } } });
    });

    it('stay in headers when the user proves again who they are', async () => {
      const { app, client } = await signedIn({ transport });
      const before = client.copy();
      const answer = await client.post('/native/again');
      expect([answer.status, tokenHeaders(answer)]).toEqual([200, BOTH]);
      expect(await client.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
      expect((await before.get('/me')).status).toBe(401);
      expect((await app.sessions.findAllForUser('alice')).sessions).toHaveLength(1);
    });

    it('cannot act as another user in a cookie, and can without', async () => {
      const { app, client } = await signedIn({ transport });
      expect(await client.post('/native/act')).toMatchObject({
        status: 400,
        body: { code: 'invalid_input', message: expect.stringContaining('sessions.tokens.impersonate()') },
      });
      expect(await client.post('/native/stop')).toMatchObject({ body: { ended: false } });
      const { id } = (await client.get('/me')).body as { id: string };
      const { accessToken } = await app.sessions.tokens.impersonate(id, { userId: 'ann' });
      const acting = { headers: { authorization: `Bearer ${accessToken.token}` } };
      expect(await client.get('/me', acting)).toMatchObject({ body: { userId: 'ann' } });
      // What was begun as Ann is not done as Alice, by the refresh token beside it.
      pass('16m');
      const over = { status: 401, body: { code: 'session_over', impersonation: true } };
      expect(await client.post('/orders', undefined, acting)).toMatchObject(over);
      await app.sessions.rotateSigningKeys({ drop: 'all' });
      expect(await client.post('/orders', undefined, acting)).toMatchObject(over);
      expect(await client.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
    });

    it.each(['/sign-out', '/logout'])('are over after %s', async (path) => {
      const { app, client } = await signedIn({ transport });
      expect((await client.post(path)).status).toBe(204);
      expect((await app.sessions.findAllForUser('alice')).sessions).toEqual([]);
      expect((await client.get('/me')).status).toBe(401);
    });

    it('say why they are over, when the client has looked again', async () => {
      const { app, client } = await signedIn({ transport });
      await app.sessions.revokeAllForUser('alice', { reason: 'password_change' });
      const first = await client.get('/me');
      const second = await client.lookAgain(first, 'GET', '/me');
      expect(second).toMatchObject({
        status: 401,
        body: { code: 'session_over', reason: 'password_change' },
      });
      expect(tokenHeaders(second)).toEqual([]);
    });

    it('need no CSRF token, and no page of this origin', async () => {
      for (const mode of ['origin', 'token', 'header'] as const) {
        const app = await start({ transport, csrf: { mode } });
        const client = new HeaderClient(app.url);
        const foreign = { headers: { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' } };
        const login = await client.signIn({ userId: 'alice' }, foreign);
        expect(login.headers.has('anti-csrf')).toBe(false);
        pass('16m');
        for (const path of ['/orders', '/orders', '/native/again', '/sign-out']) {
          const answer = await client.post(path, undefined, foreign);
          expect([answer.status < 300, answer.headers.has('anti-csrf')]).toEqual([true, false]);
        }
      }
    });
  });

  describe('of honest clients', () => {
    it('survive lost responses', async () => {
      const { client } = await signedIn();
      for (let round = 0; round < 3; round++) {
        pass('16m');
        for (let lost = 0; lost < 3; lost++) {
          const answer = await client.get('/me', { loseResponse: true });
          expect([answer.status, tokenHeaders(answer)]).toEqual([200, BOTH]);
        }
        expect((await client.get('/me')).status).toBe(200);
        pass('90s');
        expect((await client.get('/me')).status).toBe(200);
      }
    });

    it('survive many requests at the moment at which they expire, in two processes', async () => {
      const { app, client } = await signedIn();
      const other = await start({}, { database: app.database });
      const thefts: string[] = [];
      for (const each of [app, other]) {
        each.sessions.events.subscribe(({ type }) => type === 'theft' && thefts.push(type));
      }
      for (let round = 0; round < 4; round++) {
        pass('16m');
        const answers = await Promise.all(
          Array.from({ length: 12 }, (_, n) => client.get('/me', { at: n % 2 ? app.url : other.url })),
        );
        expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
        pass('90s');
        expect((await client.get('/me', { at: other.url })).status).toBe(200);
      }
      expect(thefts).toEqual([]);
    });

    it('that come late are not taken for stolen: the client looks again', async () => {
      const { client } = await signedIn();
      const late = client.copy();
      pass('16m');
      await client.get('/me');
      pass('90s');
      await client.get('/me');
      const stale = await late.get('/me');
      expect(stale).toMatchObject(refusal(401, 'look_again'));
      expect(stale.headers.get('look-again')).toBe(tokenIdOf(late.refresh!));
      expect(stale.headers.get('cache-control')).toBe('private, no-store');
      expect(stale.headers.has('location')).toBe(false);
      // It reads its storage again, where another request has put newer ones.
      Object.assign(late, { access: client.access, refresh: client.refresh });
      expect(await late.lookAgain(stale, 'GET', '/me')).toMatchObject({ status: 200 });
    });

    it('go on where the sign-in of somebody else on the device has ended their session', async () => {
      const { client } = await signedIn();
      const late = client.copy();
      await client.signIn({ userId: 'bob' });
      const stale = await late.get('/me');
      Object.assign(late, { access: client.access, refresh: client.refresh });
      expect(await late.lookAgain(stale, 'GET', '/me')).toMatchObject({ body: { userId: 'bob' } });
    });

    it('may be in a header that a proxy sends twice', async () => {
      const { client } = await signedIn();
      pass('16m');
      client.refresh = `${client.refresh}, ${client.refresh}`;
      expect(await client.get('/me')).toMatchObject({ status: 200 });
      expect(client.refresh).not.toContain(',');
    });
  });

  describe('in the hands of thieves', () => {
    it.each(['thief', 'owner'])('are found out when the %s comes second', async (second) => {
      for (const options of [{}, ENDPOINT]) {
        const { app, client } = await signedIn(options);
        const path = 'refresh' in options ? '/auth/refresh' : '/me';
        const method = path === '/me' ? 'GET' : 'POST';
        const thief = client.copy();
        const [one, two] = second === 'thief' ? [client, thief] : [thief, client];
        pass('16m');
        await one.request(method, path);
        pass('90s');
        expect((await one.get('/me')).status).toBe(200);
        const stale = await two.request(method, path);
        expect(await two.lookAgain(stale, method, path)).toMatchObject(refusal(401, 'token_theft'));
        pass('1s');
        expect((await one.get('/me')).status).toBe(401);
        expect((await app.sessions.findAllForUser('alice')).sessions).toEqual([]);
      }
    });

    it('are not called stolen by the name of another token', async () => {
      const { client } = await signedIn();
      const late = client.copy();
      pass('16m');
      await client.get('/me');
      pass('90s');
      await client.get('/me');
      for (const name of ['', 'junk', tokenIdOf(client.refresh!)]) {
        const answer = await late.get('/me', { headers: { 'look-again': name } });
        expect(answer).toMatchObject(refusal(401, 'look_again'));
      }
      const named = `junk, ${tokenIdOf(late.refresh!)}`;
      expect(await late.get('/me', { headers: { 'look-again': named } })).toMatchObject(
        refusal(401, 'token_theft'),
      );
    });

    it('count at once without looking again, if the application says so', async () => {
      const { client } = await signedIn({ lookAgain: false });
      const thief = client.copy();
      pass('16m');
      await client.get('/me');
      pass('90s');
      await client.get('/me');
      expect(await thief.get('/me')).toMatchObject(refusal(401, 'token_theft'));
    });

    it('are held for a moment where the newer token may be under way', async () => {
      const { client } = await signedIn({ accessToken: { ttl: 9 }, reuseWindow: 4.5 });
      const late = client.copy();
      pass('10s');
      // Both have a sibling of the next generation. One of them is exchanged.
      await client.get('/me');
      await late.get('/me');
      pass('10s');
      await client.get('/me');
      const before = performance.now();
      expect(await late.get('/me')).toMatchObject(refusal(401, 'look_again'));
      expect(performance.now() - before).toBeGreaterThan(95); // a fifth of D, which is a ninth of the window
    });
  });

  describe('of late responses', () => {
    it.each<[what: string, path: string, pause: string, expected: string[]]>([
      ['of a refresh in time', '/native/slow', '10s', BOTH],
      ['of a refresh', '/native/slow', '11s', []],
      ['of a refresh with new claims', '/native/slow?claims=new', '11s', []],
    ])('%s: %s after %s has %o', async (_what, path, pause, expected) => {
      const { client } = await signedIn();
      pass('16m');
      const { reached, open } = closeGate();
      const answer = client.get(path);
      await reached;
      pass(pause);
      open();
      expect((await answer).status).toBe(200);
      expect(tokenHeaders(await answer)).toEqual(expected);
      expect((await client.get('/me')).status).toBe(200);
    });

    it('are not there when the session has ended in the meantime, here or in another process', async () => {
      for (const isElsewhere of [false, true]) {
        const { app, client } = await signedIn();
        const other = await start({}, { database: app.database });
        pass('16m');
        const { reached, open } = closeGate();
        const answer = client.get('/native/slow');
        await reached;
        await (isElsewhere ? other : app).sessions.revokeAllForUser('alice');
        if (isElsewhere) await delay(1_500); // this process looks once a second
        open();
        expect(tokenHeaders(await answer)).toEqual([]);
      }
    });
  });

  describe('and sign-ins', () => {
    it('get cookies unless they ask for headers', async () => {
      const app = await start();
      for (const headers of [{}, { 'session-transport': 'cookie' }] as Record<string, string>[]) {
        const answer = await app.browser().post('/login', { userId: 'alice' }, { headers });
        expect(tokenHeaders(answer)).toEqual(['set-cookie']);
      }
    });

    it.each(['headers', 'Header', 'bearer', ' ', 'header, header'])('cannot ask for %j', async (asked) => {
      const app = await start();
      const headers = { 'session-transport': asked };
      const answer = await app.browser().post('/login', { userId: 'alice' }, { headers });
      expect(answer).toMatchObject(refusal(400, 'invalid_input'));
      expect(await app.rows()).toEqual([]);
    });

    it('end the session that the client had', async () => {
      const { app, client } = await signedIn();
      const before = client.copy();
      await client.signIn({ userId: 'bob' });
      expect((await app.sessions.findAllForUser('alice')).sessions).toEqual([]);
      expect((await before.get('/me')).status).toBe(401);
    });
  });

  it('are neither read nor written with transport "cookie"', async () => {
    const app = await start({ transport: 'cookie', ...ENDPOINT });
    const headers = { 'session-transport': 'header' };
    const answer = await app.browser().post('/login', { userId: 'alice' }, { headers });
    expect(tokenHeaders(answer)).toEqual(['set-cookie']);
    const { accessToken, refreshToken } = await app.sessions.tokens.issue({ userId: 'bob' });
    const client = Object.assign(new HeaderClient(app.url), {
      access: accessToken.token,
      refresh: refreshToken.token,
    });
    expect(await client.get('/me')).toMatchObject(refusal(401, 'no_credentials'));
    expect(await client.post('/auth/refresh')).toMatchObject(refusal(401, 'no_credentials'));
    expect((await client.post('/sign-out')).status).toBe(204);
    expect((await app.sessions.findAllForUser('bob')).sessions).toHaveLength(1);
    const browser = await app.signIn();
    const both = { headers: client.tokens };
    expect(await browser.get('/me', both)).toMatchObject({ body: { userId: 'alice' } });
  });

  it('are alone with transport "header": no cookie is read or set', async () => {
    const [app, ofCookies] = [await start({ transport: 'header', ...ENDPOINT }), await start()];
    const answer = await app.browser().post('/login', { userId: 'alice' });
    expect(tokenHeaders(answer)).toEqual(BOTH);
    const { accessToken, refreshToken } = await app.sessions.tokens.issue({ userId: 'bob' });
    const browser = await ofCookies.signIn();
    for (const cookie of browser.cookies) {
      const value = cookie.name.endsWith('access') ? accessToken.token : refreshToken.token;
      browser.set({ ...cookie, value });
    }
    for (const [method, path, status] of [
      ['GET', '/me', 401],
      ['POST', '/auth/refresh', 401],
      ['POST', '/sign-out', 204],
      ['POST', '/login', 200],
    ] as const) {
      const init = { at: app.url, ...(path === '/login' && { body: { userId: 'carol' } }) };
      const each = await browser.request(method, path, init);
      expect([each.status, each.setCookies]).toEqual([status, []]);
    }
    expect((await app.sessions.findAllForUser('bob')).sessions).toHaveLength(1);
  });

  it.each([
    ['any', 2_600, 4_500, 'too long for a cookie'],
    ['header', 4_500, 6_400, 'too long for a header'],
  ] as const)(
    'with transport "%s" may have %i characters of claims, not %i',
    async (transport, fitting, tooMany, message) => {
      const app = await start({ transport });
      const signIn = async (size: number) => {
        const client = new HeaderClient(app.url);
        const input = { userId: 'alice', claims: { text: 'x'.repeat(size) } };
        const headers = { 'session-transport': 'header' };
        return { client, answer: await client.post('/login', input, { headers }) };
      };
      const { client } = await signIn(fitting);
      expect(await client.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
      expect((await signIn(tooMany)).answer).toMatchObject({
        status: 400,
        body: { code: 'invalid_claims', message: expect.stringContaining(message) },
      });
    },
  );

  it('are let through, and shown to pages of trusted origins', async () => {
    const origin = 'https://app.example.com';
    const { client, app } = await signedIn(
      { csrf: { trustedOrigins: [origin] } },
      { metadata, configure: (nest) => nest.enableCors(nest.get(SessionService).corsOptions()) },
    );
    const names = ['authorization', 'refresh-token', 'look-again', 'session-transport'];
    const preflight = await app.browser().request('OPTIONS', '/me', {
      headers: {
        origin,
        'access-control-request-method': 'GET',
        'access-control-request-headers': names.join(','),
      },
    });
    const allowed = preflight.headers.get('access-control-allow-headers')!.toLowerCase();
    for (const name of names) expect(allowed).toContain(name);
    pass('16m');
    const answer = await client.get('/me', { headers: { origin } });
    const exposed = answer.headers.get('access-control-expose-headers')!.toLowerCase();
    for (const name of ['access-token', 'refresh-token', 'look-again']) expect(exposed).toContain(name);
    expect(answer.headers.get('access-control-allow-origin')).toBe(origin);
  });

  it('are signed out together with what the browser’s cache has, if the application says so', async () => {
    const { client } = await signedIn({ transport: 'header', caches: { clearAtSignOut: true } });
    expect((await client.post('/sign-out')).headers.get('clear-site-data')).toBe('"cache"');
  });
});
