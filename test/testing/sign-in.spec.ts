import { inspect } from 'node:util';
import type { INestApplication } from '@nestjs/common';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { InvalidInputError, InvalidOptionError, SessionService } from 'nestjs-session-tokens';
import { type ClientState, signIn, type TestClient } from 'nestjs-session-tokens/testing';
import request from 'supertest';
import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { places, testedApps } from './apps.js';

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

type Send = (
  app: INestApplication,
  method: 'GET' | 'POST',
  path: string,
  headers: Record<string, string>,
) => Promise<Answer>;

/** The ways in which applications send requests in their tests. */
const WAYS: Readonly<Record<string, Send>> = {
  async supertest(app, method, path, headers) {
    const server = request(app.getHttpServer());
    const { status, body } = await (method === 'GET' ? server.get(path) : server.post(path)).set(headers);
    return { status, body };
  },
  async fetch(app, method, path, headers) {
    const answer = await fetch((await app.getUrl()) + path, { method, headers });
    return { status: answer.status, body: await answer.json() };
  },
  async inject(app, method, path, headers) {
    if (!(app.getHttpAdapter() instanceof FastifyAdapter))
      return WAYS['supertest']!(app, method, path, headers);
    const answer = await (app as NestFastifyApplication).inject({ method, url: path, headers });
    return { status: answer.statusCode, body: answer.json() };
  },
};

const get: Send = WAYS['supertest']!;

/** What a guarded route answers to each state, with cookies in both modes, and with the access token alone. */
const STATES: readonly [
  state: ClientState,
  transparent: Answer,
  endpoint: Answer,
  refreshRoute: Answer,
  bearer: Answer,
][] = [
  ['active', ok(), ok(), done(), ok()],
  ['expired', ok(), refused('try_refresh'), done(), refused('try_refresh')],
  [
    'idle',
    refused('session_over', { reason: 'expired' }),
    refused('try_refresh'),
    refused('session_over', { reason: 'expired' }),
    refused('try_refresh'),
  ],
  [
    'revoked',
    refused('session_over', { reason: 'revoked' }),
    refused('try_refresh'),
    refused('session_over', { reason: 'revoked' }),
    refused('session_over', { reason: 'revoked' }),
  ],
  ['stale', refused('look_again'), refused('try_refresh'), refused('look_again'), refused('try_refresh')],
  ['stolen', refused('token_theft'), refused('try_refresh'), refused('token_theft'), refused('try_refresh')],
];

function ok(): Answer {
  return { status: 200, body: expect.objectContaining({ userId: 'alice', claims: { role: 'admin' } }) };
}

function done(): Answer {
  return { status: 204, body: {} };
}

function refused(code: string, more = {}): Answer {
  return { status: 401, body: expect.objectContaining({ code, ...more }) };
}

const ALICE = { userId: 'alice', claims: { role: 'admin' } };

describe.each(adapters)('signIn() over %s', (adapter) => {
  const start = testedApps(adapter);

  describe.each(places)('with sessions in $name', ({ database }) => {
    it.each(Object.entries(WAYS))('opens guarded routes by %s', async (_way, send) => {
      const app = await start({ database });
      const alice = await signIn(app, ALICE);
      expect(await send(app, 'GET', '/me', alice.headers)).toEqual(ok());
      expect(await send(app, 'GET', '/me', alice.bearer)).toEqual(ok());
      const orderedBy = { status: 200, body: { orderedBy: alice.session.id } };
      expect(await send(app, 'POST', '/orders', alice.headers)).toEqual(orderedBy);
      expect(await send(app, 'GET', '/me', {})).toEqual(refused('no_credentials'));
    });

    it.each(STATES)('%s: as its name says, where requests refresh', async (state, transparent) => {
      const app = await start({ database });
      const client = await signIn(app, ALICE, { state });
      expect(await get(app, 'GET', '/me', client.headers)).toEqual(transparent);
    });

    it.each(STATES)(
      '%s: as its name says, where a route refreshes',
      async (state, _transparent, endpoint, refreshRoute) => {
        const app = await start({
          database,
          options: { refresh: 'endpoint', refreshPath: '/auth/refresh' },
        });
        const client = await signIn(app, ALICE, { state });
        // A session that was revoked is over, but only the refresh route can tell whether another has taken its place.
        expect(await get(app, 'GET', '/me', client.headers)).toEqual(endpoint);
        expect(await get(app, 'POST', '/auth/refresh', client.headers)).toEqual(refreshRoute);
      },
    );

    it.each(STATES)('%s: as its name says, with the access token alone', async (state, ...answers) => {
      const app = await start({ database });
      const client = await signIn(app, ALICE, { state });
      expect(await get(app, 'GET', '/me', client.bearer)).toEqual(answers[3]);
    });
  });

  it.each(['stale', 'stolen'] as const)('%s: the other party is signed in', async (state) => {
    const app = await start();
    const client = await signIn(app, ALICE, { state });
    expect(client.newest!.session.id).toBe(client.session.id);
    expect(await get(app, 'GET', '/me', client.newest!.headers)).toEqual(ok());
    await get(app, 'GET', '/me', client.headers);
    // A theft signs both out. The other party looks again first.
    const after = state === 'stale' ? ok() : refused('look_again');
    expect(await get(app, 'GET', '/me', client.newest!.headers)).toEqual(after);
  });

  it('a browser whose tokens look old is redirected to the same URL', async () => {
    const app = await start();
    const { headers } = await signIn(app, ALICE, { state: 'stale' });
    const answer = await request(app.getHttpServer())
      .get('/me')
      .set({ ...headers, 'sec-fetch-site': 'same-origin' })
      .redirects(0);
    expect(answer.status).toBe(307);
  });

  it.each<[name: string, options: object, state: ClientState]>([
    ['strict single use', { reuseWindow: 0 }, 'stale'],
    ['strict single use', { reuseWindow: 0 }, 'stolen'],
    ['short access tokens', { accessToken: { ttl: '10s' } }, 'stolen'],
    ['a day of access tokens', { accessToken: { ttl: '1d' } }, 'stolen'],
    ['sessions that live an hour', { refreshToken: { ttl: '1h' } }, 'idle'],
    ['revocations that are looked up', { revocation: 'database' }, 'revoked'],
    ['one session for each user', { maxSessionsPerUser: 1 }, 'stolen'],
  ])('works with %s: %s', async (_name, options, state) => {
    const app = await start({ options });
    const [, expected] = STATES.find(([name]) => name === state)!;
    const client = await signIn(app, ALICE, { state });
    expect(await get(app, 'GET', '/me', client.headers)).toEqual(expected);
  });

  it('idle: also with a lifetime of its own', async () => {
    const app = await start();
    for (const life of [{ ttl: '1m' }, { absoluteTtl: '1m' }, { ttl: 60 }] as const) {
      const client = await signIn(app, { ...ALICE, ...life }, { state: 'idle' });
      expect(await get(app, 'GET', '/me', client.headers)).toEqual(
        refused('session_over', { reason: 'expired' }),
      );
      expect(Date.now() - client.session.expiresAt.getTime()).toBe(1_000);
    }
  });

  it.each(['token', 'header', 'origin', 'off'] as const)('passes the CSRF check of mode %s', async (mode) => {
    const app = await start({ options: { csrf: { mode, header: 'x-page' } } });
    const { headers } = await signIn(app, ALICE);
    expect(Object.keys(headers)).toEqual(
      mode === 'token' || mode === 'header' ? ['cookie', 'x-page'] : ['cookie'],
    );
    expect(await get(app, 'POST', '/orders', headers)).toMatchObject({ status: 200 });
  });

  it('signs in who acts as another user', async () => {
    const app = await start();
    const actor = { userId: 'root', amr: ['pwd'], reason: 'case 4711' };
    const client = await signIn(app, { ...ALICE, actor });
    const { body } = await get(app, 'GET', '/me', client.headers);
    const acting = { userId: 'root', sessionId: expect.any(String) as string };
    expect(body).toMatchObject({ ...ALICE, actor: acting, amr: ['pwd'] });
    expect(client.session.actor).toMatchObject({ userId: 'root', reason: 'case 4711' });
    expect(client.refreshToken).toBeUndefined();
    await expect(signIn(app, { ...ALICE, actor }, { state: 'stolen' })).rejects.toThrow(InvalidInputError);
  });

  it('gives the tokens to clients without cookies', async () => {
    const app = await start();
    const { accessToken, refreshToken, csrfToken, session } = await signIn(app, ALICE, { state: 'expired' });
    const { tokens } = app.get(SessionService);
    await expect(tokens.verify(accessToken)).rejects.toMatchObject({ code: 'try_refresh' });
    const refreshed = await tokens.refresh(refreshToken!);
    expect(refreshed.session.id).toBe(session.id);
    const verified = await tokens.verify(refreshed.accessToken.token, { csrfToken });
    expect(verified.userId).toBe('alice');
  });

  it('fills the jar of an agent, which then keeps what responses set', async () => {
    const app = await start();
    const client = await signIn(app, ALICE, { state: 'expired' });
    const agent = request.agent(app.getHttpServer());
    agent.jar.setCookies(client.setCookies, '127.0.0.1', '/');
    const first = await agent.get('/me');
    expect(first.status).toBe(200);
    expect(first.headers['set-cookie']).toHaveLength(2);
    const second = await agent.get('/me');
    expect(second.status).toBe(200);
    expect(second.headers['set-cookie']).toBeUndefined();
    await agent.post('/sign-out').expect(204);
    expect((await agent.get('/me')).body).toMatchObject({ code: 'no_credentials' });
  });

  it('refuses wrong input, and says what is right', async () => {
    const app = await start();
    await expect(signIn(app, { userId: '' })).rejects.toMatchObject({ code: 'invalid_user_id' });
    await expect(signIn(app, undefined as never)).rejects.toMatchObject({
      code: expect.stringMatching(/^invalid/),
    });
    const unknown = signIn(app, ALICE, { state: 'toString' as ClientState });
    await expect(unknown).rejects.toThrow(/There are: active, expired, idle, revoked, stale, stolen\./);
    const module = signIn(app, ALICE, { module: 'admin' });
    await expect(module).rejects.toThrow(/no SessionModule with the name "admin"/);
    await expect(
      signIn(
        {
          get: () => {
            throw new Error('unknown');
          },
        },
        ALICE,
      ),
    ).rejects.toThrow(InvalidOptionError);
  });

  it('shows no token of a client that is inspected or logged', async () => {
    const app = await start();
    const client: TestClient = await signIn(app, ALICE, { state: 'stolen' });
    for (const text of [inspect(client, { depth: 9 }), JSON.stringify(client)]) {
      expect(text).toContain(client.session.id);
      for (const secret of [
        client.accessToken,
        client.refreshToken!,
        client.csrfToken,
        ...Object.values(client.cookies),
      ])
        expect(text).not.toContain(secret);
    }
  });
});
