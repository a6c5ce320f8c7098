import { createHash } from 'node:crypto';
import { Controller, Get, Inject, Injectable, type Type, UseGuards } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { decodeJwt, decodeProtectedHeader, type JWK, SignJWT, importJWK } from 'jose';
import {
  AuthenticatedSession,
  InvalidOptionError,
  KeysUnavailableError,
  Session,
  SessionGuard,
  SessionModule,
  SessionService,
  SessionVerifier,
  type SessionVerifierOptions,
  type SessionVerifierOptionsFactory,
  TryRefreshError,
} from 'nestjs-session-tokens';
import { DataSource } from 'typeorm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { generateJwk } from '../../lib/keys/signing-key.js';
import { ACCESS, accountApps, cookieOf, refusal } from '../http/account-app.js';
import { type Adapter, adapters } from '../support/app.js';
import { asModule } from '../support/as-module.js';
import { type Answer, Browser, type Init } from '../support/browser.js';
import { foreignTokens } from '../support/foreign-tokens.js';
import { LogCapture } from '../support/log-capture.js';
import { pass, SECOND } from '../support/time.js';
import { KeyServer } from './key-server.js';
import { AUDIENCE, ISSUER, issuing, type ServiceApp, startService, verifying } from './service-app.js';

const NOBODY = refusal(401, 'no_credentials');
const REFRESH = refusal(401, 'try_refresh');
const FORGED = refusal(403, 'csrf_failed');
const UNAVAILABLE = refusal(503, 'keys_unavailable');

vi.setConfig({ testTimeout: 60_000 });

/** For the tests of one suite: stops everything that was started after each test. */
function services(adapter: Adapter) {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });
  return {
    service: async (
      ...parameters: Parameters<typeof startService> extends [Adapter, ...infer R] ? R : never
    ) => {
      const app = await startService(adapter, ...parameters);
      cleanups.push(() => app.close());
      return app;
    },
    keyServer: async () => {
      const server = await KeyServer.start();
      cleanups.push(() => server.close());
      return server;
    },
  };
}

/** A request with a token in the `Authorization` header, and with no cookie. */
async function withBearer(
  { url }: ServiceApp,
  token: string,
  path = '/me',
  init: Init = {},
): Promise<Answer> {
  const headers = { ...init.headers, authorization: `Bearer ${token}` };
  return new Browser(url).request(path === '/orders' || path === '/hook' ? 'POST' : 'GET', path, {
    ...init,
    headers,
  });
}

/** The test's own key, with which it makes tokens as the library writes them. */
async function newKey(alg: 'ES256' | 'EdDSA' | 'RS256' | 'HS256' = 'ES256', kid = `key-${alg}`) {
  const jwk = { ...(await generateJwk(alg)), kid, alg };
  const { kty, crv, x, y, n, e } = jwk as JWK;
  const publicJwk = JSON.parse(JSON.stringify({ kty, crv, x, y, n, e, kid, alg, use: 'sig' })) as JWK;
  return { jwk: jwk as JWK, publicJwk, kid, alg };
}

type TestKey = Awaited<ReturnType<typeof newKey>>;

async function sign(
  { jwk, kid, alg }: Pick<TestKey, 'jwk' | 'kid' | 'alg'>,
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
): Promise<string> {
  const now = Math.floor(Date.now() / SECOND);
  return new SignJWT({
    sub: 'alice',
    sid: '0190abcd-0000-7000-8000-000000000001',
    iat: now,
    exp: now + 900,
    iss: ISSUER,
    aud: AUDIENCE,
    ...claims,
  })
    .setProtectedHeader({ alg, kid, typ: 'at+jwt', ...header })
    .sign(await importJWK(jwk, alg));
}

const TRUSTED = 'https://app.example.com';

/** The headers by which a browser tells where a request comes from. */
function site(value: string, origin?: string): Record<string, string> {
  return { 'sec-fetch-site': value, ...(origin !== undefined && { origin }) };
}

/** Valid tokens of another issuer, each with another unknown key. */
async function unknownTokens(count: number): Promise<string[]> {
  const stranger = await newKey();
  return Promise.all(
    Array.from({ length: count }, (_, n) => sign({ ...stranger, kid: `unknown-${n}-${Date.now()}` })),
  );
}

/** The part of a token that is signed. */
function inputOf(token: string): string {
  return token.slice(0, token.lastIndexOf('.'));
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}

@Controller('tokens')
class TokensController {
  constructor(private readonly verifier: SessionVerifier) {}

  @Get('verifier')
  verifies(): object {
    return { isThere: this.verifier instanceof SessionVerifier };
  }
}

@Controller('elsewhere')
@UseGuards(SessionGuard)
class ElsewhereController {
  @Get('me')
  me(@Session('userId') userId: string): object {
    return { userId };
  }
}

const URI = Symbol('URI');

@Injectable()
class OptionsFactory implements SessionVerifierOptionsFactory {
  constructor(@Inject(URI) private readonly url: string) {}

  createSessionVerifierOptions(): SessionVerifierOptions {
    return verifying(this.url);
  }
}

/** A module that does not import the verifier's. */
function elsewhere(): Type {
  return asModule({ controllers: [ElsewhereController] });
}

/** A module that provides the options' values, as a configuration module would. */
function configuration(url: string): Type {
  return asModule({
    providers: [{ provide: URI, useValue: url }, OptionsFactory],
    exports: [URI, OptionsFactory],
  });
}

describe.each(adapters)('a service that only verifies, over %s', (adapter) => {
  const startIssuer = accountApps(adapter);
  const { service, keyServer } = services(adapter);

  /** A server of keys, one that it has, and what starts a service with these keys. */
  const setUp = async (options: Partial<SessionVerifierOptions> = {}, logger?: LogCapture) => {
    const server = await keyServer();
    const key = await newKey();
    server.publish([key.publicJwk]);
    const start = () =>
      service({ jwksUri: server.uri, issuer: ISSUER, audience: AUDIENCE, ...options }, {}, logger);
    return { server, key, start };
  };

  describe('next to the application that issues', () => {
    it('has no database, and nothing of one', async () => {
      const issuer = await startIssuer(issuing);
      const { app } = await service(verifying(issuer.url));
      expect(() => app.get(DataSource, { strict: false })).toThrow(/DataSource/);
      expect(() => app.get(SessionService, { strict: false })).toThrow(/SessionService/);
    });

    it.each<{ userId: string | number }>([{ userId: 'alice' }, { userId: '7' }, { userId: 7 }])(
      'knows a session by its cookie and by its token alone: $userId',
      async ({ userId }) => {
        const issuer = await startIssuer(issuing);
        const { url, ...app } = await service(verifying(issuer.url));
        const claims = { roles: ['admin'], tenant: { id: 3 } };
        const browser = await issuer.signIn({ userId, claims });
        const issued = (await browser.get('/me')).body;
        expect(issued).toMatchObject({ userId, claims });
        const token = cookieOf(browser, 'session_access').value;
        for (const answer of [
          await browser.get('/me', { at: url }),
          await withBearer({ url, ...app }, token),
        ]) {
          expect(answer).toMatchObject({ status: 200, setCookies: [] });
          expect(answer.body).toEqual(issued);
        }
        expect((await browser.get('/session', { at: url })).body).toEqual({
          isAuthenticated: true,
          isActive: false,
          isAttached: true,
          isFrozen: true,
          areDates: true,
          userId,
          claims,
        });
      },
    );

    it('refuses a token when it has expired, to the second, and lets who has refreshed in again', async () => {
      const issuer = await startIssuer(issuing);
      const app = await service(verifying(issuer.url));
      const browser = await issuer.signIn();
      const token = cookieOf(browser, 'session_access').value;
      const both = async () => [await browser.get('/me', { at: app.url }), await withBearer(app, token)];
      pass('14m');
      pass('59s');
      for (const answer of await both()) expect(answer.status).toBe(200);
      pass('1s');
      for (const answer of await both()) {
        expect(answer).toMatchObject(REFRESH);
        expect(answer.setCookies).toEqual([]);
      }
      // The issuer has refreshed the session. Its new tokens have not been used yet.
      expect((await browser.get('/me')).status).toBe(200);
      const renewed = cookieOf(browser, 'session_access').value;
      expect(decodeJwt(renewed)).toHaveProperty('gen');
      for (const answer of [await browser.get('/me', { at: app.url }), await withBearer(app, renewed)]) {
        expect(answer).toMatchObject({ status: 200, body: { userId: 'alice', claims: {} } });
        expect(answer.setCookies).toEqual([]);
      }
    });

    it('asks who has nothing to sign in, and takes no other kind of credentials', async () => {
      const issuer = await startIssuer(issuing);
      const app = await service(verifying(issuer.url));
      const browser = await issuer.signIn();
      const token = cookieOf(browser, 'session_access').value;
      const others: Record<string, string>[] = [
        {},
        { authorization: `Basic ${token}` },
        { authorization: token },
        { 'x-access-token': token },
        { cookie: `session_access=${token}` },
        { cookie: `__Secure-session_access=${token}` },
        { cookie: `${browser.cookie('session_refresh')!.name}=${browser.cookie('session_refresh')!.value}` },
      ];
      for (const headers of others) {
        const [name] = Object.keys(headers);
        expect(await new Browser(app.url).get('/me', { headers }), `with ${name}`).toMatchObject(NOBODY);
      }
      expect(await new Browser(app.url).get(`/me?access_token=${token}`)).toMatchObject(NOBODY);
    });

    it('refuses junk, in the cookie and in the header', async () => {
      const issuer = await startIssuer(issuing);
      const app = await service(verifying(issuer.url));
      const browser = await issuer.signIn();
      const token = cookieOf(browser, 'session_access').value;
      const [header, payload, signature] = token.split('.') as [string, string, string];
      const { kid } = decodeProtectedHeader(token);
      const flipped = Buffer.from(signature, 'base64url');
      flipped[3]! ^= 1;
      const junk = [
        'junk',
        'a.b.c',
        '..',
        'null',
        `${header}.${payload}`,
        `${header}.${payload}.`,
        `${token}.${signature}`,
        `${header}.${payload}.${flipped.toString('base64url')}`,
        `${header}.${encode({ ...decodeJwt(token), sub: 'root' })}.${signature}`,
        `${encode({ alg: 'none', kid, typ: 'at+jwt' })}.${payload}.`,
        `${encode({ alg: 'none', kid, typ: 'at+jwt' })}.${payload}.${signature}`,
        `${encode({ alg: 'HS256', kid, typ: 'at+jwt' })}.${payload}.${signature}`,
        `${encode({ alg: 'ES256', kid, typ: 'JWT' })}.${payload}.${signature}`,
        `${encode({ alg: 'ES256', typ: 'at+jwt' })}.${payload}.${signature}`,
        'x'.repeat(9_000),
      ];
      for (const each of junk) {
        const name = each.slice(0, 60);
        expect(await withBearer(app, each), `header ${name}`).toMatchObject(REFRESH);
        const cookie = `${ACCESS}=${each}`;
        expect(
          await new Browser(app.url).get('/me', { headers: { cookie } }),
          `cookie ${name}`,
        ).toMatchObject(REFRESH);
      }
      expect((await withBearer(app, token)).status).toBe(200);
    });

    it.each([
      ['another issuer', { issuer: 'https://other.example.com' }],
      ['another audience', { audience: 'https://other.example.com' }],
      ['an issuer that begins alike', { issuer: `${ISSUER}/` }],
    ])('refuses tokens for where %s is expected', async (_, expected) => {
      const issuer = await startIssuer(issuing);
      const browser = await issuer.signIn();
      const token = cookieOf(browser, 'session_access').value;
      const wrong = await service({ ...verifying(issuer.url), ...expected });
      expect(await browser.get('/me', { at: wrong.url })).toMatchObject(REFRESH);
      expect(await withBearer(wrong, token)).toMatchObject(REFRESH);
      expect((await withBearer(await service(verifying(issuer.url)), token)).status).toBe(200);
    });

    it.each([
      ['neither issuer nor audience', {}],
      ['no issuer', { audience: AUDIENCE }],
      ['no audience', { issuer: ISSUER }],
    ])('refuses tokens that name %s, though the keys are right', async (_, accessToken) => {
      const issuer = await startIssuer(issuing);
      const app = await service(verifying(issuer.url));
      const careless = await startIssuer({ jwksPath: '/keys', accessToken }, { database: issuer.database });
      const browser = await careless.signIn();
      const token = cookieOf(browser, 'session_access').value;
      const own = await (await issuer.signIn()).get('/me', { at: app.url });
      expect(own.status).toBe(200);
      expect(await withBearer(app, token)).toMatchObject(REFRESH);
    });

    it('refuses tokens of another issuer that calls itself the same', async () => {
      const [issuer, impostor] = [await startIssuer(issuing), await startIssuer(issuing)];
      const app = await service(verifying(issuer.url));
      expect((await (await issuer.signIn()).get('/me', { at: app.url })).status).toBe(200);
      expect(await (await impostor.signIn()).get('/me', { at: app.url })).toMatchObject(REFRESH);
    });

    it('takes the first good one of several cookies of the name', async () => {
      const issuer = await startIssuer(issuing);
      const app = await service(verifying(issuer.url));
      const former = cookieOf(await issuer.signIn({ userId: 'bob' }), 'session_access').value;
      pass('16m');
      const token = cookieOf(await issuer.signIn(), 'session_access').value;
      const send = async (...values: string[]) =>
        new Browser(app.url).get('/me', {
          headers: { cookie: values.map((value) => `${ACCESS}=${value}`).join('; ') },
        });
      expect(await send(former, 'junk', token)).toMatchObject({ status: 200, body: { userId: 'alice' } });
      expect(await send(token, former)).toMatchObject({ status: 200, body: { userId: 'alice' } });
      expect(await send(former, 'junk')).toMatchObject(REFRESH);
    });

    it.each<[string, SessionVerifierOptions['cookies'] & object, string]>([
      ['a name of its own', { accessName: 'shop' }, '__Host-Http-shop'],
      ['a domain', { domain: 'example.com' }, '__Secure-session_access'],
      ['a path', { path: '/app' }, '__Secure-session_access'],
      ['no prefix', { prefix: 'none' }, 'session_access'],
      ['no "Secure"', { secure: false }, 'session_access'],
    ])('finds a cookie with %s', async (_, cookies, name) => {
      const issuer = await startIssuer({ ...issuing, cookies });
      const app = await service({ ...verifying(issuer.url), cookies });
      const { setCookies } = await issuer.browser().post('/login', { userId: 'alice' });
      const { value } = setCookies.find((cookie) => cookie.name === name)!;
      const cookie = `${name}=${value}`;
      expect(await new Browser(app.url).get('/me', { headers: { cookie } })).toMatchObject({ status: 200 });
    });

    it('gives what it needs to code of its own: SessionVerifier', async () => {
      const issuer = await startIssuer(issuing);
      const { app } = await service(verifying(issuer.url), { controllers: [TokensController] });
      const verifier = app.get(SessionVerifier, { strict: false });
      const token = cookieOf(await issuer.signIn(), 'session_access').value;
      const session = await verifier.verify(token);
      expect(session).toBeInstanceOf(AuthenticatedSession);
      expect(session).toMatchObject({ userId: 'alice', claims: {}, id: decodeJwt(token)['sid'] });
      expect(() => Object.assign(session.claims, { role: 'root' })).toThrow(TypeError);
      expect(session.newAccessToken).toBeUndefined();
      await expect(verifier.verify('junk')).rejects.toThrow(TryRefreshError);
      pass('15m');
      await expect(verifier.verify(token)).rejects.toThrow(TryRefreshError);
    });
  });

  it.each([
    ['any', 200, 200],
    ['header', 200, 401],
    ['cookie', 401, 200],
  ] as const)('looks for tokens where it is told to: "%s"', async (transport, inHeader, inCookie) => {
    const issuer = await startIssuer(issuing);
    const app = await service({ ...verifying(issuer.url), transport });
    const browser = await issuer.signIn();
    const token = cookieOf(browser, 'session_access').value;
    expect((await withBearer(app, token)).status).toBe(inHeader);
    expect((await browser.get('/me', { at: app.url })).status).toBe(inCookie);
    await expect(service({ ...verifying(issuer.url), transport: 'both' as never })).rejects.toThrow(
      'cookie, header, any',
    );
  });

  describe('with a bearer token that is none of this module’s', () => {
    it('goes by the cookie that is there beside it, as the issuing application does', async () => {
      const issuer = await startIssuer(issuing);
      const app = await service(verifying(issuer.url));
      const browser = await issuer.signIn();
      const headers = { authorization: 'Bearer of-another-system' };
      for (const at of [issuer.url, app.url]) {
        expect(await browser.get('/me', { at, headers })).toMatchObject({ status: 200 });
        expect((await new Browser(at).get('/me', { headers })).status).toBe(401);
        const damaged = `${ACCESS}=damaged`;
        const answer = await new Browser(at).get('/me', { headers: { ...headers, cookie: damaged } });
        expect(answer).toMatchObject(REFRESH);
      }
    });

    it('and holds such a request to the rules for cookies', async () => {
      const issuer = await startIssuer(issuing);
      const app = await service(verifying(issuer.url));
      const token = cookieOf(await issuer.signIn(), 'session_access').value;
      const headers = {
        authorization: 'Bearer of-another-system',
        cookie: `${ACCESS}=${token}`,
        ...site('cross-site', 'https://evil.example'),
      };
      const answer = await new Browser(app.url).post('/orders', {}, { headers });
      expect(answer).toMatchObject({ status: 403, body: { code: 'csrf_failed' } });
    });
  });

  it.each([
    [undefined, 'private'],
    [{ private: false }, null],
  ])('says that its responses are for one client, unless it is told not to: %o', async (caches, expected) => {
    const issuer = await startIssuer(issuing);
    const app = await service({ ...verifying(issuer.url), ...(caches && { caches }) });
    const browser = await issuer.signIn();
    const answer = await browser.get('/me', { at: app.url });
    expect([answer.status, answer.headers.get('cache-control')]).toEqual([200, expected]);
  });

  describe('and cross-site requests', () => {
    it.each<{ from: string; headers: Record<string, string>; passes: boolean }>([
      { from: 'another site', headers: site('cross-site'), passes: false },
      { from: 'another host of the site', headers: site('same-site'), passes: false },
      { from: 'itself', headers: site('same-origin'), passes: true },
      { from: 'the address bar', headers: site('none'), passes: true },
      { from: 'a trusted origin', headers: site('cross-site', TRUSTED), passes: true },
      {
        from: 'an origin that begins like a trusted one',
        headers: site('cross-site', `${TRUSTED}.evil.example`),
        passes: false,
      },
      { from: 'another origin', headers: { origin: 'https://evil.example' }, passes: false },
      { from: 'an opaque origin', headers: { origin: 'null' }, passes: false },
      { from: 'no browser', headers: {}, passes: true },
    ])('from $from: what is unsafe passes with a cookie: $passes', async ({ headers, passes }) => {
      const issuer = await startIssuer(issuing);
      const app = await service({ ...verifying(issuer.url), csrf: { trustedOrigins: [TRUSTED] } });
      const browser = await issuer.signIn();
      const at = { at: app.url, headers };
      expect(await browser.post('/orders', {}, at)).toMatchObject(passes ? { status: 200 } : FORGED);
      // Safe methods, routes without the check, and tokens that browsers do not send on their own.
      expect((await browser.get('/me', at)).status).toBe(200);
      expect((await browser.request('HEAD', '/me', at)).status).toBe(200);
      expect((await browser.post('/hook', {}, at)).status).toBe(200);
      const token = cookieOf(browser, 'session_access').value;
      expect((await withBearer(app, token, '/orders', { headers })).status).toBe(200);
    });

    it('are refused before the token is looked at, and nobody is asked to prove what he has not', async () => {
      const issuer = await startIssuer(issuing);
      const app = await service(verifying(issuer.url));
      const browser = await issuer.signIn();
      const forged = { at: app.url, headers: site('cross-site') };
      pass('16m');
      expect(await browser.post('/orders', {}, forged)).toMatchObject(FORGED);
      expect(await new Browser(app.url).post('/orders', {}, forged)).toMatchObject(NOBODY);
      const own = { at: app.url, headers: { origin: app.url } };
      expect(await browser.post('/orders', {}, own)).toMatchObject(REFRESH);
    });

    it('can be told by a header instead, or not be looked for', async () => {
      const issuer = await startIssuer(issuing);
      const browser = await issuer.signIn();
      const byHeader = await service({
        ...verifying(issuer.url),
        csrf: { mode: 'header', header: 'X-Shop' },
      });
      const post = (at: string, headers: Record<string, string>) =>
        browser.post('/orders', {}, { at, headers });
      expect(await post(byHeader.url, site('same-origin'))).toMatchObject(FORGED);
      expect(await post(byHeader.url, { ...site('cross-site'), 'x-shop': '1' })).toMatchObject({
        status: 200,
      });
      const off = await service({ ...verifying(issuer.url), csrf: { mode: 'off' } });
      expect(await post(off.url, site('cross-site'))).toMatchObject({ status: 200 });
    });
  });

  describe('on its routes', () => {
    it('knows who is signed in where that is optional, and says so where a token is no good', async () => {
      const issuer = await startIssuer(issuing);
      const app = await service(verifying(issuer.url));
      const at = { at: app.url };
      expect(await new Browser(app.url).get('/visitor')).toMatchObject({
        status: 200,
        body: { userId: null },
      });
      const browser = await issuer.signIn();
      expect(await browser.get('/visitor', at)).toMatchObject({ status: 200, body: { userId: 'alice' } });
      // A client whose token has expired is told to refresh. Otherwise an optional page would show an empty cart.
      pass('16m');
      expect(await browser.get('/visitor', at)).toMatchObject(REFRESH);
    });

    it.each(foreignTokens)(
      'takes a token of somebody else for none where it is told to: %s',
      async (_, token) => {
        const issuer = await startIssuer(issuing);
        const app = await service(verifying(issuer.url));
        expect(await withBearer(app, token, '/visitor')).toMatchObject({
          status: 200,
          body: { userId: null },
        });
        expect((await withBearer(app, token)).status).toBe(401);
      },
    );

    it('lets everybody through where it is told to, without a look', async () => {
      const issuer = await startIssuer(issuing);
      const app = await service(verifying(issuer.url));
      const browser = await issuer.signIn();
      const open = { status: 200, body: { hasSession: false } };
      expect(await browser.get('/open', { at: app.url })).toMatchObject(open);
      expect(await withBearer(app, 'junk', '/open')).toMatchObject(open);
    });

    it.each([
      { as: 'class', provider: { provide: APP_GUARD, useClass: SessionGuard } },
      { as: 'existing provider', provider: { provide: APP_GUARD, useExisting: SessionGuard } },
    ])('can stand before all of them: APP_GUARD by $as', async ({ provider }) => {
      const issuer = await startIssuer(issuing);
      const app = await service(verifying(issuer.url), { providers: [provider] });
      const browser = await issuer.signIn();
      expect(await browser.get('/me', { at: app.url })).toMatchObject({
        status: 200,
        body: { userId: 'alice' },
      });
      expect(await new Browser(app.url).get('/me')).toMatchObject(NOBODY);
      expect((await new Browser(app.url).get('/open')).status).toBe(200);
    });
  });

  describe('is set up', () => {
    it.each<[string, (url: string) => ReturnType<typeof SessionModule.forVerifier>]>([
      ['forVerifier', (url) => SessionModule.forVerifier({ ...verifying(url), isGlobal: true })],
      [
        'forVerifierAsync with useFactory',
        (url) =>
          SessionModule.forVerifierAsync({
            imports: [configuration(url)],
            inject: [URI],
            useFactory: async (uri: string) => Promise.resolve(verifying(uri)),
            isGlobal: true,
          }),
      ],
      [
        'forVerifierAsync with useClass',
        (url) =>
          SessionModule.forVerifierAsync({
            imports: [configuration(url)],
            useClass: OptionsFactory,
            isGlobal: true,
          }),
      ],
      [
        'forVerifierAsync with useExisting',
        (url) =>
          SessionModule.forVerifierAsync({
            imports: [configuration(url)],
            useExisting: OptionsFactory,
            isGlobal: true,
          }),
      ],
    ])('by %s, for all modules where it is global', async (_, moduleFor) => {
      const issuer = await startIssuer(issuing);
      const app = await service(moduleFor(issuer.url), { imports: [elsewhere()] });
      const browser = await issuer.signIn();
      const answer = await browser.get('/elsewhere/me', { at: app.url });
      expect(answer).toMatchObject({ status: 200, body: { userId: 'alice' } });
    });

    it('for the modules that import it where it is not', async () => {
      const issuer = await startIssuer(issuing);
      const starting = service(verifying(issuer.url), { imports: [elsewhere()] });
      await expect(starting).rejects.toThrow(/SessionGuard/);
    });
  });

  describe('whose keys come from a server', () => {
    it('starts while it is down, answers 503, and recovers', async () => {
      const logger = new LogCapture();
      const { server, key, start } = await setUp({}, logger);
      server.breakDown();
      const app = await start();
      expect(server.requests).toBe(1);
      expect(logger.lines.filter((line) => line.includes('public keys'))).toHaveLength(1);
      const token = await sign(key);
      expect(await withBearer(app, token)).toMatchObject(UNAVAILABLE);
      const headers = { cookie: `${ACCESS}=${token}` };
      for (const path of ['/me', '/visitor']) {
        expect(await new Browser(app.url).get(path, { headers })).toMatchObject(UNAVAILABLE);
      }
      // A request without a token needs no keys. The key server is not asked again during the cooldown.
      expect(await new Browser(app.url).get('/me')).toMatchObject(NOBODY);
      expect((await new Browser(app.url).get('/visitor')).status).toBe(200);
      expect((await new Browser(app.url).get('/open')).status).toBe(200);
      expect(server.requests).toBe(1);

      pass('5s');
      const failing = await Promise.all(Array.from({ length: 20 }, () => withBearer(app, token)));
      for (const answer of failing) expect(answer).toMatchObject(UNAVAILABLE);
      expect(server.requests).toBe(2);

      server.publish([key.publicJwk]);
      pass('5s');
      expect(await withBearer(app, token)).toMatchObject({ status: 200, body: { userId: 'alice' } });
      expect(server.requests).toBe(3);
    });

    it.each<[string, (server: KeyServer) => void]>([
      ['breaks connections', (server) => server.breakDown()],
      [
        'answers 500',
        (server) => server.answer((response) => void response.writeHead(500).end('{"keys":[]}')),
      ],
      ['answers a page', (server) => server.answer((response) => void response.end('<html>'))],
      ['answers other JSON', (server) => server.answer((response) => void response.end('{"keys":{}}'))],
      [
        'sends elsewhere',
        (server) => server.answer((response) => void response.writeHead(302, { location: '/other' }).end()),
      ],
      ['never answers', (server) => server.answer(() => undefined)],
    ])('goes on with the keys it knows while that %s', async (_, fail) => {
      const { server, key, start } = await setUp({ timeout: '100ms' });
      const app = await start();
      const token = await sign(key);
      expect((await withBearer(app, token)).status).toBe(200);
      fail(server);
      for (const time of ['31s', '5s', '10m']) {
        pass(time);
        const before = server.requests;
        expect((await withBearer(app, token)).status).toBe(200);
        expect(await withBearer(app, await sign(key))).toMatchObject({ status: 200 });
        // If the keys are not available, that says nothing about the token.
        for (const unknown of await unknownTokens(3))
          expect(await withBearer(app, unknown)).toMatchObject(UNAVAILABLE);
        expect(server.requests).toBe(before + 1);
      }
      const added = await newKey('ES256', 'added');
      server.publish([key.publicJwk, added.publicJwk]);
      pass('5s');
      expect((await withBearer(app, await sign(added))).status).toBe(200);
    });

    it('asks once per cooldown, however many tokens with unknown keys come, and refuses them all', async () => {
      const { server, key, start } = await setUp();
      const app = await start();
      const token = await sign(key);
      expect((await withBearer(app, token)).status).toBe(200);
      expect(server.requests).toBe(1);
      for (let second = 1; second <= 15; second++) {
        pass('1s');
        const answers = await Promise.all((await unknownTokens(15)).map((each) => withBearer(app, each)));
        expect(answers).toMatchObject(Array(15).fill(REFRESH));
        expect((await withBearer(app, token)).status).toBe(200);
        expect(server.requests).toBeLessThanOrEqual(1 + Math.floor(second / 5));
      }
      expect(server.requests).toBe(4);
    });

    it('asks for nothing while no requests come, and once where many come at the same time', async () => {
      const { server, key, start } = await setUp();
      const app = await start();
      const token = await sign(key);
      pass('10m');
      expect(server.requests).toBe(1);
      const answers = await Promise.all(Array.from({ length: 30 }, () => withBearer(app, token)));
      expect(server.requests).toBe(2);
      for (let second = 0; second < 29; second++) {
        pass('1s');
        answers.push(await withBearer(app, token));
      }
      expect(answers.map(({ status }) => status)).toEqual(Array(59).fill(200));
      expect(server.requests).toBe(2);
    });

    it.each(['1s', '30s', '5m'])(
      'refuses a key that was taken away after a cacheMaxAge of %s',
      async (age) => {
        const { server, key, start } = await setUp({ cacheMaxAge: age });
        const app = await start();
        const other = await newKey('ES256', 'other');
        server.publish([other.publicJwk]);
        const [seen, unseen] = [await sign(key), await sign(key, { sub: 'bob' })];
        expect((await withBearer(app, seen)).status).toBe(200);
        pass(age);
        expect(await withBearer(app, seen)).toMatchObject(REFRESH);
        expect(await withBearer(app, unseen)).toMatchObject(REFRESH);
        expect((await withBearer(app, await sign(other))).status).toBe(200);
      },
    );

    it('refuses a key that was taken away as soon as a token of a new one has come', async () => {
      const { server, key, start } = await setUp({ cacheMaxAge: '10m' });
      const app = await start();
      const token = await sign(key);
      expect((await withBearer(app, token)).status).toBe(200);
      const other = await newKey('ES256', 'other');
      server.publish([other.publicJwk]);
      pass('5s');
      expect((await withBearer(app, token)).status).toBe(200);
      expect((await withBearer(app, await sign(other))).status).toBe(200);
      expect(await withBearer(app, token)).toMatchObject(REFRESH);
    });

    it.each(['ES256', 'EdDSA', 'RS256'] as const)('verifies with %s keys', async (alg) => {
      const { server, start } = await setUp();
      const key = await newKey(alg);
      server.publish([key.publicJwk]);
      const app = await start();
      const token = await sign(key);
      expect(await withBearer(app, token)).toMatchObject({ status: 200, body: { userId: 'alice' } });
      // Even with a right signature, a token must be for this service and of this kind.
      const wrong = [
        [{ aud: 'x' }],
        [{ iss: 'x' }],
        [{ aud: [AUDIENCE] }],
        [{ exp: undefined }],
        [{ sid: undefined }],
        [{}, { typ: 'JWT' }],
        [{}, { typ: undefined }],
        [{}, { jku: server.uri }],
      ] as const;
      for (const [claims, header] of wrong) {
        const name = JSON.stringify([claims, header]);
        expect(await withBearer(app, await sign(key, claims, header)), `token with ${name}`).toMatchObject(
          REFRESH,
        );
      }
    });

    it('uses no symmetric key of that set, nor a public key as one', async () => {
      const { server, key, start } = await setUp();
      const symmetric = await newKey('HS256');
      const rsa = await newKey('RS256');
      server.publish([symmetric.jwk, rsa.publicJwk, key.publicJwk]);
      const app = await start();
      expect((await withBearer(app, await sign(rsa))).status).toBe(200);
      expect(await withBearer(app, await sign(symmetric))).toMatchObject(REFRESH);
      // HS256 with the public key as the secret, in the forms that libraries have accepted by mistake.
      const texts = [JSON.stringify(rsa.publicJwk), rsa.publicJwk.n!];
      for (const text of texts) {
        const jwk = { kty: 'oct', k: Buffer.from(text).toString('base64url') };
        const confused = await sign({ jwk, kid: rsa.kid, alg: 'HS256' });
        expect(await withBearer(app, confused)).toMatchObject(REFRESH);
      }
    });

    it('uses no key of that set with which everybody can sign', async () => {
      const { server, key, start } = await setUp();
      const rsa = await newKey('RS256', 'e-is-one');
      const edwards = await newKey('EdDSA', 'neutral');
      server.publish([
        { ...rsa.publicJwk, e: 'AQ' },
        // The neutral point: any R = S × B is a signature.
        { ...edwards.publicJwk, x: Buffer.alloc(32).fill(1, 0, 1).toString('base64url') },
        key.publicJwk,
      ]);
      const app = await start();
      expect((await withBearer(app, await sign(key))).status).toBe(200);

      const rsaInput = inputOf(await sign(rsa));
      const digest = createHash('sha256').update(rsaInput).digest();
      const info = Buffer.concat([Buffer.from('3031300d060960864801650304020105000420', 'hex'), digest]);
      const padding = Buffer.alloc(256 - 3 - info.length, 0xff);
      const forgedRsa = Buffer.concat([Buffer.from([0, 1]), padding, Buffer.from([0]), info]);
      // R is the neutral point, and S is 0.
      const forgedEdwards = Buffer.alloc(64).fill(1, 0, 1);
      for (const [signed, signature] of [
        [rsaInput, forgedRsa],
        [inputOf(await sign(edwards)), forgedEdwards],
      ] as const) {
        const token = `${signed}.${signature.toString('base64url')}`;
        expect(await withBearer(app, token)).toMatchObject(REFRESH);
      }
    });

    it('leaves alone what else is in the set: other kinds, other uses, and what is damaged', async () => {
      const { server, key, start } = await setUp();
      server.publish([
        { kty: 'EC', crv: 'P-384', x: 'x', y: 'y', kid: 'a', alg: 'ES384' },
        { kty: 'RSA', n: 'AQAB', e: 'AQAB', kid: 'short', alg: 'RS256' },
        { kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid: 'damaged', alg: 'ES256' },
        { ...key.publicJwk, kid: undefined },
        { ...key.publicJwk, alg: undefined, kid: 'no alg' },
        { kty: 'from the future' },
        key.publicJwk,
      ]);
      const app = await start();
      expect((await withBearer(app, await sign(key))).status).toBe(200);
    });

    it('has its keys from https, or from this machine', async () => {
      for (const jwksUri of [
        'https://127.0.0.1:1/keys',
        'http://127.0.0.1:1/keys',
        'http://127.8.9.1:1/keys',
        'http://localhost:1/keys',
        'http://[::1]:1/keys',
      ]) {
        const app = await service({ jwksUri, issuer: ISSUER, audience: AUDIENCE });
        expect(await withBearer(app, await sign(await newKey()))).toMatchObject(UNAVAILABLE);
        await expect(app.app.get(SessionVerifier, { strict: false }).verify('x.y.z')).rejects.toThrow(
          TryRefreshError,
        );
        const asking = app.app.get(SessionVerifier, { strict: false }).verify(await sign(await newKey()));
        await expect(asking).rejects.toThrow(KeysUnavailableError);
      }
    });
  });
});

describe('a service that only verifies does not start with a wrong option', () => {
  const { service } = services('express');
  const GOOD = verifying('https://accounts.example.com');
  it.each<[string, string, object, RegExp]>([
    ['no address', 'jwksUri', { jwksUri: undefined }, /must be an address such as "https:/],
    ['no URL', 'jwksUri', { jwksUri: 'accounts.example.com/keys' }, /must be an address/],
    ['a path', 'jwksUri', { jwksUri: '/.well-known/jwks.json' }, /must be an address/],
    ['another protocol', 'jwksUri', { jwksUri: 'file:///etc/keys.json' }, /must be an address/],
    ['no text', 'jwksUri', { jwksUri: 7 }, /must be an address/],
    ['a user', 'jwksUri', { jwksUri: 'https://ann@accounts.example.com/' }, /must have no user/],
    ['a password', 'jwksUri', { jwksUri: 'https://:pw@accounts.example.com/' }, /must have no user/],
    ['http:', 'jwksUri', { jwksUri: 'http://accounts.example.com/keys' }, /must be an https: address/],
    [
      'http: to a name that only begins like this machine',
      'jwksUri',
      { jwksUri: 'http://localhost.evil.example/' },
      /https:/,
    ],
    [
      'http: to a name that looks like an address',
      'jwksUri',
      { jwksUri: 'http://127.0.0.1.evil.example/' },
      /https:/,
    ],
    ['http: to a private network', 'jwksUri', { jwksUri: 'http://10.0.0.7/keys' }, /https:/],
    [
      'no issuer',
      'issuer',
      { issuer: undefined },
      /is missing\. It has to be what the tokens are issued with/,
    ],
    ['an empty issuer', 'issuer', { issuer: '' }, /must be a non-empty string/],
    ['no audience', 'audience', { audience: undefined }, /is missing/],
    ['several audiences', 'audience', { audience: [AUDIENCE] }, /must be a non-empty string/],
    ['CSRF by token', 'csrf.mode', { csrf: { mode: 'token' } }, /does not have\. Choose "origin"/],
    [
      'an unknown CSRF mode',
      'csrf.mode',
      { csrf: { mode: 'strict' } },
      /"strict" is not known\. Known: origin/,
    ],
    [
      'an origin with a path',
      'csrf.trustedOrigins',
      { csrf: { trustedOrigins: ['https://a.example/x'] } },
      /is not an origin/,
    ],
    ['a short cacheMaxAge', 'cacheMaxAge', { cacheMaxAge: '500ms' }, /must be at least 1000 ms/],
    ['no duration', 'cacheMaxAge', { cacheMaxAge: 'soon' }, /"soon" is not a duration/],
    ['no cooldown', 'cooldown', { cooldown: 0 }, /must be at least 100 ms/],
    ['no time to answer', 'timeout', { timeout: 0 }, /must be at least 100 ms/],
    ['a wide clock tolerance', 'clockTolerance', { clockTolerance: '10m' }, /at most five minutes/],
    ['half a token', 'cacheSize', { cacheSize: 0.5 }, /must be a whole number/],
    ['a wrong cookie name', 'cookies.accessName', { cookies: { accessName: 'a b' } }, /is not a cookie name/],
    [
      'a cookie that browsers refuse',
      'cookies.accessName',
      { cookies: { accessName: '__Host-a', domain: 'example.com' } },
      /browsers accept only/,
    ],
    ['"false" in a string', 'cookies.secure', { cookies: { secure: 'false' } }, /must be true or false/],
    [
      'cookies that are none of its own',
      'cookies.refreshName',
      { cookies: { refreshName: 'x' } },
      /is not known\. Known here: accessName/,
    ],
    [
      'a misspelt name',
      'jwksUrl',
      { jwksUrl: 'https://a.example/' },
      /is not known\. Known here: jwksUri, issuer/,
    ],
    ['a misspelt CSRF option', 'csrf.modes', { csrf: { modes: 'origin' } }, /is not known/],
    ['a database', 'database', { database: { type: 'postgres' } }, /is not known/],
    ['a secret', 'secret', { secret: 'x'.repeat(32) }, /is not known/],
    ['cookies that are no object', 'cookies', { cookies: 'session' }, /must be an object/],
  ])('%s', async (_, option, wrong, message) => {
    // JSON leaves out members that are undefined.
    const options = JSON.parse(JSON.stringify({ ...GOOD, ...wrong })) as SessionVerifierOptions;
    const forms = [
      SessionModule.forVerifier(options),
      SessionModule.forVerifierAsync({ useFactory: () => options }),
    ];
    for (const module of forms) {
      const error: unknown = await service(module).then(
        () => 'it started',
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(InvalidOptionError);
      expect(error).toMatchObject({ option, code: 'invalid_option' });
      expect((error as Error).message).toMatch(message);
      expect((error as Error).message).toContain(`option "${option}"`);
    }
  });

  it.each([undefined, null, 'https://accounts.example.com', []])('%j from the factory', async (wrong) => {
    const useFactory = () => wrong as unknown as SessionVerifierOptions;
    const starting = service(SessionModule.forVerifierAsync({ useFactory }));
    await expect(starting).rejects.toMatchObject({ code: 'invalid_option', option: 'options' });
  });

  it('nothing at all', async () => {
    const starting = service(SessionModule.forVerifier(undefined as never));
    await expect(starting).rejects.toMatchObject({ code: 'invalid_option', option: 'jwksUri' });
  });
});
