import { type INestApplication, RequestMethod, VersioningType } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { createRemoteJWKSet, decodeProtectedHeader, type JWK, jwtVerify } from 'jose';
import {
  InvalidOptionError,
  SessionGuard,
  SessionKeyEntity,
  type SessionModuleExtras,
  type SessionModuleOptions,
  type SessionService,
} from 'nestjs-session-tokens';
import { describe, expect, it, vi } from 'vitest';
import { generateJwk } from '../../lib/keys/signing-key.js';
import { type AccountApp, accountApps, refusal } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { type Answer, Browser } from '../support/browser.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { pass, SECOND } from '../support/time.js';
import { AUDIENCE, ISSUER, issuing, JWKS_PATH } from './service-app.js';

vi.setConfig({ testTimeout: 60_000 });

/** Members of a key that must never be seen (RFC 7518, 6.2.2, 6.3.2 and 6.4.1). */
const SECRET = new Set(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']);
/** The exact members of the keys of each algorithm. */
const PUBLIC = {
  ES256: { kty: 'EC', crv: 'P-256', members: ['x', 'y'] },
  EdDSA: { kty: 'OKP', crv: 'Ed25519', members: ['x'] },
  RS256: { kty: 'RSA', members: ['n', 'e'] },
};
type Asymmetric = keyof typeof PUBLIC;
const asymmetric = Object.keys(PUBLIC) as Asymmetric[];

const TEXT = expect.any(String) as string;

/** The present response of the route. Expects that every key in it is public. */
async function published({ url }: { url: string }, path = JWKS_PATH): Promise<Answer & { keys: JWK[] }> {
  const answer = await new Browser(url).get(path);
  expect(answer.status).toBe(200);
  const { keys } = answer.body as { keys: JWK[] };
  for (const key of keys) {
    const { kty, crv, members } = { crv: undefined, ...PUBLIC[key.alg as Asymmetric] };
    const parts = Object.fromEntries(members.map((name) => [name, TEXT]));
    expect(key).toEqual({ kty, ...(crv && { crv }), ...parts, kid: TEXT, alg: key.alg, use: 'sig' });
    expect(Object.keys(key).filter((name) => SECRET.has(name))).toEqual([]);
  }
  return { ...answer, keys };
}

async function publishedKids(app: { url: string }): Promise<(string | undefined)[]> {
  return (await published(app)).keys.map(({ kid }) => kid);
}

async function newToken({ sessions }: { sessions: SessionService }): Promise<{ token: string; kid: string }> {
  const { token } = (await sessions.tokens.issue({ userId: 'alice', claims: { role: 'admin' } })).accessToken;
  return { token, kid: decodeProtectedHeader(token).kid! };
}

async function storedKeys(database: TestDatabase): Promise<SessionKeyEntity[]> {
  const dataSource = await connect(database);
  try {
    return await dataSource
      .getRepository(SessionKeyEntity)
      .find({ where: { purpose: 'access' }, order: { sequence: 'ASC' } });
  } finally {
    await dataSource.destroy();
  }
}

describe.each(databases)('the published keys on $name', (kind) => {
  describe.each(adapters)('over %s', (adapter) => {
    const start = accountApps(adapter, kind);

    it.each(asymmetric)('are the public halves of %s keys, which may be cached', async (algorithm) => {
      const app = await start({ jwksPath: JWKS_PATH, accessToken: { algorithm } });
      const { keys, headers, setCookies } = await published(app);
      expect(headers.get('content-type')).toBe('application/jwk-set+json; charset=utf-8');
      expect(headers.get('cache-control')).toBe('public, max-age=60');
      expect(setCookies).toEqual([]);
      expect(keys).toMatchObject([{ kid: (await newToken(app)).kid, alg: algorithm }]);
    });

    it('never have a symmetric one, though it signs: right after a change from HS256 to ES256', async () => {
      const former = await start({ accessToken: { algorithm: 'HS256' } });
      const app = await start({ jwksPath: JWKS_PATH }, { database: former.database });
      const symmetric = await newToken(app);
      const [first, second] = await storedKeys(app.database);
      expect(first).toMatchObject({ kid: symmetric.kid, algorithm: 'HS256' });
      expect(second).toMatchObject({ algorithm: 'ES256' });
      const { k } = JSON.parse(first!.material) as { k: string };

      for (const minutes of [0, 61, 10]) {
        pass(`${minutes}m`);
        const { keys, body } = await published(app);
        expect(keys.map(({ kid, alg }) => ({ kid, alg }))).toEqual([{ kid: second!.kid, alg: 'ES256' }]);
        expect(JSON.stringify(body)).not.toContain(first!.kid);
        expect(JSON.stringify(body)).not.toContain(k);
      }
      expect((await newToken(app)).kid).toBe(second!.kid);
      expect(await storedKeys(app.database)).toHaveLength(2);
    });

    it('disappear at once where they are dropped, and within the interval elsewhere', async () => {
      const options = { jwksPath: JWKS_PATH, revocationInterval: '5s' };
      const one = await start(options);
      const two = await start(options, { database: one.database });
      pass('23h');
      pass('30m');
      const [current, next] = await publishedKids(one);
      expect(next).toBeDefined();
      expect(await publishedKids(two)).toEqual([current, next]);

      expect(await one.sessions.rotateSigningKeys({ drop: 'current' })).toMatchObject({ current: next });
      expect(await publishedKids(one)).toEqual([next]);
      pass('5s');
      expect(await publishedKids(two)).toEqual([next]);

      const all = await two.sessions.rotateSigningKeys({ drop: 'all' });
      expect(await publishedKids(two)).toEqual([all.current]);
      pass('5s');
      expect(await publishedKids(one)).toEqual([all.current]);
    });
  });

  describe('through rotations', () => {
    const start = accountApps('express', kind);

    it('have each key for longer than an answer may be cached before it signs, in every process', async () => {
      const options = { ...issuing, signingKeys: { rotation: '1h' } };
      const one = await start(options);
      const two = await start(options, { database: one.database });
      const apps = [one, two];
      const since = apps.map(() => new Map<string | undefined, number>());
      const first = (await newToken(one)).kid;
      const signers = new Set<string>();
      let shortestAge = Infinity;
      /** By how much longer a key was known before it signed than an answer may be cached, at the least. */
      let margin = Infinity;

      const lookAndSign = async () => {
        let maxAge = 0;
        for (const [index, app] of apps.entries()) {
          const { keys, headers } = await published(app);
          maxAge = Number(/max-age=(\d+)/.exec(headers.get('cache-control')!)![1]) * SECOND;
          for (const { kid } of keys) {
            if (!since[index]!.has(kid)) since[index]!.set(kid, Date.now());
          }
        }
        shortestAge = Math.min(shortestAge, maxAge);
        for (const app of apps) {
          const { kid } = await newToken(app);
          signers.add(kid);
          if (kid === first) continue;
          // Who has asked whichever process just before that has the key when the last answer may be cached no longer.
          for (const seen of since) margin = Math.min(margin, Date.now() - seen.get(kid)! - maxAge);
        }
      };
      for (let minute = 0; minute <= 65; minute++) {
        await lookAndSign();
        pass('1m');
      }
      expect(signers.size).toBe(2);
      // After a long time without requests, the next key is overdue. It must still be published.
      pass('10h');
      for (let minute = 0; minute <= 18; minute++) {
        await lookAndSign();
        pass('1m');
      }
      expect(signers.size).toBe(3);
      expect(shortestAge).toBeGreaterThanOrEqual(30 * SECOND);
      expect(margin).toBeGreaterThan(0);
    });
  });
});

describe.each(asymmetric)('the "jose" library and published %s keys', (algorithm) => {
  const start = accountApps('fastify');

  it('verifies our tokens with nothing but the address of the keys', async () => {
    const app = await start({ ...issuing, accessToken: { ...issuing.accessToken, algorithm } });
    const keySet = createRemoteJWKSet(new URL(app.url + JWKS_PATH));
    const { token, kid } = await newToken(app);
    const expected = { issuer: ISSUER, audience: AUDIENCE, typ: 'at+jwt' };
    const { payload, protectedHeader } = await jwtVerify(token, keySet, expected);
    expect(protectedHeader).toEqual({ alg: algorithm, kid, typ: 'at+jwt' });
    expect(payload).toEqual({
      sub: 'alice',
      sid: TEXT,
      role: 'admin',
      iss: ISSUER,
      aud: AUDIENCE,
      iat: Date.now() / SECOND,
      exp: Date.now() / SECOND + 900,
    });
    for (const wrong of [{ issuer: 'x' }, { audience: 'x' }, { typ: 'JWT' }]) {
      await expect(jwtVerify(token, keySet, { ...expected, ...wrong })).rejects.toThrow(/./);
    }

    // After an emergency, a client with a long cache time learns of the new key when it gets a token with it.
    const { current } = await app.sessions.rotateSigningKeys({ drop: 'all' });
    pass('31s');
    const renewed = await newToken(app);
    expect(renewed.kid).toBe(current);
    await jwtVerify(renewed.token, keySet, expected);
    await expect(jwtVerify(token, keySet, expected)).rejects.toMatchObject({
      code: 'ERR_JWKS_NO_MATCHING_KEY',
    });
  });

  it('gets through a rotation with what it fetched, for as long as it may keep that', async () => {
    const app = await start({
      ...issuing,
      accessToken: { ...issuing.accessToken, algorithm },
      signingKeys: { rotation: '1h' },
    });
    // No unknown key makes it fetch the keys: it uses the keys that it already has.
    const keySet = createRemoteJWKSet(new URL(app.url + JWKS_PATH), {
      cacheMaxAge: 60 * SECOND,
      cooldownDuration: 1_000_000 * SECOND,
    });
    const signers = new Set<string>();
    for (let step = 0; step <= 135; step++) {
      const { token, kid } = await newToken(app);
      signers.add(kid);
      await jwtVerify(token, keySet, { issuer: ISSUER, audience: AUDIENCE, typ: 'at+jwt' });
      pass('29s');
    }
    expect(signers.size).toBe(2);
  });
});

describe.each(adapters)('the route of the keys over %s', (adapter) => {
  const start = accountApps(adapter);

  it.each<
    [
      string,
      {
        options?: SessionModuleOptions & SessionModuleExtras;
        configure?: (app: INestApplication) => void;
        path: string;
      },
    ]
  >([
    ['as it is', { path: JWKS_PATH }],
    ['without a slash in front', { options: { jwksPath: 'keys' }, path: '/keys' }],
    [
      'under a global prefix',
      { configure: (app) => app.setGlobalPrefix('api/v1'), path: `/api/v1${JWKS_PATH}` },
    ],
    [
      'excluded from a global prefix',
      {
        configure: (app) =>
          app.setGlobalPrefix('api', { exclude: [{ path: JWKS_PATH, method: RequestMethod.GET }] }),
        path: JWKS_PATH,
      },
    ],
    [
      'whatever the version of the interface',
      {
        configure: (app) => app.enableVersioning({ type: VersioningType.URI, defaultVersion: '2' }),
        path: JWKS_PATH,
      },
    ],
  ])('is there %s', async (_, { options, configure, path }) => {
    const app = await start({ ...issuing, ...options }, { configure });
    expect((await published(app, path)).keys).toHaveLength(1);
  });

  it('is open to everybody where the guard stands before the whole application', async () => {
    const app = await start(issuing, {
      metadata: { providers: [{ provide: APP_GUARD, useExisting: SessionGuard }] },
    });
    expect(await app.browser().get('/me')).toMatchObject(refusal(401, 'no_credentials'));
    expect((await published(app)).keys).toHaveLength(1);

    // Session cookies, expired or not, do not change the response, because shared caches may store it.
    const browser = await app.signIn();
    pass('16m');
    const answer = await browser.get(JWKS_PATH);
    expect(answer).toMatchObject({ status: 200, setCookies: [] });
    expect(answer.headers.get('cache-control')).toBe('public, max-age=60');
    expect(answer.headers.get('vary') ?? '').not.toMatch(/cookie/i);
  });

  it('stands next to the one that refreshes', async () => {
    const app = await start(
      { ...issuing, refresh: 'endpoint', refreshPath: '/auth/refresh' },
      { configure: (each) => void each.setGlobalPrefix('api', { exclude: ['login'] }) },
    );
    const browser = await app.signIn();
    expect((await published(app, `/api${JWKS_PATH}`)).keys).toHaveLength(1);
    expect(await browser.post('/api/auth/refresh')).toMatchObject({ status: 204 });
    expect(await browser.post(`/api${JWKS_PATH}`)).toMatchObject({ status: 404 });
    expect(await browser.get('/api/auth/refresh')).toMatchObject({ status: 404 });
  });

  it('is not there unless it is asked for', async () => {
    const app = await start();
    expect(await app.browser().get(JWKS_PATH)).toMatchObject({ status: 404 });
  });

  it('is no way to the keys of the database: parameters and methods get nothing else', async () => {
    const app = await start(issuing);
    const plain = await published(app);
    for (const query of ['?private=true', '?kid=x', '?purpose=refresh']) {
      expect((await published(app, JWKS_PATH + query)).body).toEqual(plain.body);
    }
    for (const method of ['POST', 'PUT', 'DELETE']) {
      expect(await app.browser().request(method, JWKS_PATH)).toMatchObject({ status: 404 });
    }
  });

  it('lists the application’s own keys, but for the symmetric ones and the private halves', async () => {
    const source = await Promise.all(
      (['ES256', 'HS256', 'RS256', 'EdDSA'] as const).map(async (alg) =>
        Object.assign(await generateJwk(alg), { kid: `own-${alg}`, alg }),
      ),
    );
    const app = await start({ jwksPath: JWKS_PATH, signingKeys: { source: () => source } });
    const { headers } = await published(app);
    expect(headers.get('cache-control')).toBe('public, max-age=60');
    expect(await publishedKids(app)).toEqual(['own-ES256', 'own-RS256', 'own-EdDSA']);
  });

  it('answers 503 while the application’s own keys cannot be had, and goes on afterwards', async () => {
    const key = { ...(await generateJwk('ES256')), kid: 'mine', alg: 'ES256' };
    let isDown = false;
    const source = () => {
      if (isDown) throw new Error('the key server did not answer');
      return [key];
    };
    const revocationsPath = '/revocations';
    const app: AccountApp = await start({ ...issuing, signingKeys: { source }, revocationsPath });
    isDown = true;
    pass('6m');
    for (const path of [JWKS_PATH, revocationsPath]) {
      const unavailable = await app.browser().get(path);
      expect(unavailable).toMatchObject(refusal(503, 'keys_unavailable'));
      expect(unavailable.headers.get('retry-after')).toBe('1');
    }
    isDown = false;
    pass('10s');
    expect(await publishedKids(app)).toEqual(['mine']);
  });

  it.each<[string, SessionModuleOptions & SessionModuleExtras]>([
    [
      'with HS256, whose keys have no public half',
      { jwksPath: JWKS_PATH, accessToken: { algorithm: 'HS256' } },
    ],
    ['with what is no path', { jwksPath: 7 as unknown as string }],
  ])('stops the start %s', async (_, options) => {
    const starting = start(options);
    await expect(starting).rejects.toThrow(InvalidOptionError);
    await expect(starting).rejects.toMatchObject({ option: 'jwksPath', code: 'invalid_option' });
  });
});
