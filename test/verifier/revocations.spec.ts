import { decodeJwt, decodeProtectedHeader, importJWK, SignJWT } from 'jose';
import {
  RevocationsUnavailableError,
  SessionModule,
  type SessionModuleExtras,
  type SessionModuleOptions,
  SessionOverError,
  SessionVerifier,
  type VerifierRevocationOptions,
} from 'nestjs-session-tokens';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { generateJwk } from '../../lib/keys/signing-key.js';
import { RemoteRevocations } from '../../lib/revocation/remote-revocations.js';
import { type Adapter, adapters, startApp, type TestApp } from '../support/app.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { LogCapture } from '../support/log-capture.js';
import { HOUR, MINUTE, pass, SECOND, SETTLED, stopClock, TTL } from '../support/time.js';
import { insist } from '../support/world.js';
import { type Misdeed, Proxy } from './proxy.js';
import { AUDIENCE, ISSUER, issuing, JWKS_PATH, type ServiceApp, startService } from './service-app.js';

const PATH = '/.well-known/session-revocations';
const INTERVAL = SECOND;
const STALE = 20 * SECOND;

vi.setConfig({ testTimeout: 60_000 });

interface Client {
  readonly id: string;
  readonly token: string;
  readonly refreshToken: string;
}

/** An issuing application, a proxy before its list of revocations, and services. All stop after the test. */
function useServices() {
  const cleanups: (() => Promise<unknown>)[] = [];
  let database: TestDatabase | undefined;
  beforeEach(() => stopClock());
  afterEach(async () => {
    vi.useRealTimers();
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
    await database?.remove();
    database = undefined;
  });

  const use = <T extends { close(): Promise<unknown> }>(value: T): T => {
    cleanups.push(() => value.close());
    return value;
  };
  return {
    issuers: async (
      count: number,
      options: SessionModuleOptions & SessionModuleExtras = {},
      adapter: Adapter = 'express',
    ): Promise<TestApp[]> => {
      database ??= await databases[0]!.create();
      const apps: TestApp[] = [];
      while (apps.length < count) {
        const all = { ...issuing, revocationsPath: PATH, ...options };
        apps.push(use(await startApp({ adapter, database, options: all })));
      }
      return apps;
    },
    proxy: async (...targets: TestApp[]) => use(await Proxy.start(...targets.map(({ url }) => url))),
    service: async (
      issuer: { readonly url: string },
      proxy: { readonly url: string },
      options: Partial<VerifierRevocationOptions> = {},
      logger?: LogCapture,
    ): Promise<ServiceApp> => {
      const module = SessionModule.forVerifier({
        jwksUri: issuer.url + JWKS_PATH,
        issuer: ISSUER,
        audience: AUDIENCE,
        timeout: 2,
        revocations: { uri: proxy.url + PATH, maxStaleness: STALE / SECOND, ...options },
      });
      return use(await startService('express', module, {}, logger));
    },
    database: () => database!,
  };
}

async function signIn({ sessions }: TestApp, userId: string | number = 'ann'): Promise<Client> {
  const { session, accessToken, refreshToken } = await sessions.tokens.issue({ userId });
  return { id: session.id, token: accessToken.token, refreshToken: refreshToken.token };
}

async function visit({ url }: ServiceApp, { token }: Pick<Client, 'token'>, path = '/me') {
  const response = await fetch(url + path, { headers: { authorization: `Bearer ${token}` } });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const OVER = { status: 401, body: { code: 'session_over' } };

/** Has the session of a client stolen, and the theft seen. */
async function steal({ sessions }: TestApp, client: Client): Promise<Client> {
  pass(TTL);
  const owner = await sessions.tokens.refresh(client.refreshToken);
  pass(SETTLED);
  const { newAccessToken } = await sessions.tokens.verify(owner.accessToken.token);
  await expect(insist(sessions, client.refreshToken)).rejects.toMatchObject({ code: 'token_theft' });
  return { ...client, token: newAccessToken!.token };
}

const ways: [string, string, (app: TestApp, client: Client) => Promise<unknown>][] = [
  ['revoke', 'admin', async ({ sessions }, { id }) => sessions.revoke(id, { reason: 'admin' })],
  ['revokeMany', 'revoked', async ({ sessions }, { id }) => sessions.revokeMany([id])],
  ['revokeAllForUser', 'user', async ({ sessions }) => sessions.revokeAllForUser('ann', { reason: 'user' })],
  ['revokeAll', 'breach', async ({ sessions }) => sessions.revokeAll({ reason: 'breach' })],
];

describe.each(adapters)('a service that hears of revocations from an issuer on %s', (adapter) => {
  const services = useServices();

  it.each(ways)('refuses a session after %s, within its interval', async (_, reason, revoke) => {
    const [issuer] = (await services.issuers(1, {}, adapter)) as [TestApp];
    const [client, other] = [await signIn(issuer), await signIn(issuer, 'bob')];
    const service = await services.service(issuer, issuer);
    expect(await visit(service, client)).toMatchObject({ status: 200, body: { id: client.id } });
    await revoke(issuer, client);
    expect(await visit(service, client)).toMatchObject({ status: 200 });
    pass(INTERVAL);
    expect(await visit(service, client)).toMatchObject({
      status: 401,
      body: { code: 'session_over', reason },
    });
    expect(await visit(service, other)).toMatchObject(reason === 'breach' ? OVER : { status: 200 });
    pass(1);
    const later = await signIn(issuer);
    pass(MINUTE);
    expect(await visit(service, later)).toMatchObject({ status: 200 });
    expect(await visit(service, client)).toMatchObject(OVER);
  });

  it('refuses a stolen session', async () => {
    const [issuer] = (await services.issuers(1, {}, adapter)) as [TestApp];
    const service = await services.service(issuer, issuer);
    const client = await steal(issuer, await signIn(issuer));
    pass(INTERVAL);
    expect(await visit(service, client)).toMatchObject({ ...OVER, body: { reason: 'theft' } });
  });

  it('refuses somebody who acts as another user when their own session is over', async () => {
    const [issuer] = (await services.issuers(1, {}, adapter)) as [TestApp];
    const service = await services.service(issuer, issuer);
    const revocations: [string, (client: Client) => Promise<unknown>][] = [
      ['root', async ({ id }) => issuer.sessions.revoke(id)],
      ['admin', async () => issuer.sessions.revokeAllForUser('admin')],
    ];
    for (const [userId, revoke] of revocations) {
      const client = await signIn(issuer, userId);
      const { accessToken } = await issuer.sessions.tokens.impersonate(client.id, { userId: 'ann' });
      const acting = { token: accessToken.token };
      expect(await visit(service, acting)).toMatchObject({ status: 200, body: { userId: 'ann' } });
      await revoke(client);
      pass(INTERVAL);
      expect(await visit(service, acting)).toMatchObject({ ...OVER, body: { impersonation: true } });
      const verified = service.app.get(SessionVerifier).verify(acting.token);
      await expect(verified).rejects.toMatchObject({ code: 'session_over', impersonation: true });
    }
  });

  it('answers what is new, and 304 when nothing is', async () => {
    const [issuer] = (await services.issuers(1, {}, adapter)) as [TestApp];
    const first = await fetch(issuer.url + PATH);
    expect(first.status).toBe(200);
    expect(first.headers.get('content-type')).toMatch(/^application\/jwt/);
    expect(first.headers.get('cache-control')).toContain('no-store');
    const etag = first.headers.get('etag')!;
    const ask = async (query: string, headers = {}) => fetch(`${issuer.url}${PATH}?${query}`, { headers });
    const { cursor } = decodeJwt(await first.text()) as { cursor: string };
    const unchanged = await ask(`since=${cursor}`, { 'if-none-match': etag });
    expect([unchanged.status, await unchanged.text(), unchanged.headers.get('etag')]).toEqual([
      304,
      '',
      etag,
    ]);
    const { id } = await signIn(issuer);
    await issuer.sessions.revoke(id);
    pass(INTERVAL);
    const next = await ask(`since=${cursor}&nonce=once`, { 'if-none-match': etag });
    expect(next.status).toBe(200);
    const list = decodeJwt(await next.text());
    expect(list).toMatchObject({ since: cursor, nonce: 'once', iss: ISSUER });
    expect(Object.keys(list['sessions'] as object)).toEqual(['revoked']);
    const again = await ask(`since=${list['cursor'] as string}`);
    expect(decodeJwt(await again.text())).toMatchObject({ sessions: {}, before: [] });
  });
});

describe('the list of revocations', () => {
  const services = useServices();

  it('has nothing secret, and is no access token', async () => {
    const [issuer] = (await services.issuers(1)) as [TestApp];
    const client = await signIn(issuer, 'ann@example.com');
    await issuer.sessions.revokeAllForUser('ann@example.com', { by: 'root' });
    await issuer.sessions.revoke((await signIn(issuer, 'bob@example.com')).id);
    const text = await (await fetch(issuer.url + PATH)).text();
    const { iss, ...content } = decodeJwt(text);
    const payload = JSON.stringify(content);
    expect(iss).toBe(ISSUER);
    for (const secret of ['ann', 'bob', 'example', 'root', client.refreshToken.slice(0, 20)]) {
      expect(payload).not.toContain(secret);
    }
    expect(decodeProtectedHeader(text)).toMatchObject({ typ: 'session-revocations+jwt', alg: 'ES256' });
    await expect(issuer.sessions.tokens.verify(text)).rejects.toMatchObject({ code: 'try_refresh' });
    const service = await services.service(issuer, issuer);
    expect(await visit(service, { token: text })).toMatchObject({ status: 401 });
  });

  it.each([
    'since=junk',
    'since=',
    'since=0123456789abcdef.5',
    'since[]=a&since[]=b',
    'since[a]=b&nonce[b]=c',
    `since=${'9'.repeat(5_000)}`,
    'since=0123456789abcdef.999999999999999.999999999999999',
    `nonce=${'n'.repeat(5_000)}`,
    'nonce=%00%ff',
  ])('is answered whatever is asked with: %s', async (query) => {
    const [issuer] = (await services.issuers(1)) as [TestApp];
    const response = await fetch(`${issuer.url}${PATH}?${query}`, { headers: { 'if-none-match': '*' } });
    expect(response.status).toBe(200);
    expect(JSON.stringify(decodeJwt(await response.text()))).not.toContain('n'.repeat(200));
  });

  it('is asked for once per interval when requests come, however many, and never otherwise', async () => {
    const [issuer] = (await services.issuers(1)) as [TestApp];
    const proxy = await services.proxy(issuer);
    const service = await services.service(issuer, proxy);
    const client = await signIn(issuer);
    expect(proxy.requests).toBe(1);
    for (let second = 1; second <= 5; second++) {
      pass(INTERVAL);
      await Promise.all(Array.from({ length: 20 }, async () => visit(service, client)));
      pass(INTERVAL - 1);
      await visit(service, client);
      expect(proxy.requests).toBe(1 + second);
      pass(-(INTERVAL - 1));
    }
    pass(5 * MINUTE);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(proxy.requests).toBe(6);
  });

  it('is refused as "nothing new" when that is all for half of the time that a list is trusted', async () => {
    const [issuer] = (await services.issuers(1)) as [TestApp];
    const proxy = await services.proxy(issuer);
    const service = await services.service(issuer, proxy);
    const client = await signIn(issuer);
    for (let second = 0; second < 25; second++) {
      pass(INTERVAL);
      await visit(service, client);
    }
    const statuses = proxy.passed.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(3);
    expect(statuses.slice(1, 10)).toEqual(Array(9).fill(304));
  });

  it.each([1, 2])(
    'misses nothing when several processes of the issuer answer in turn (%i)',
    async (offset) => {
      const [one, two] = (await services.issuers(2)) as [TestApp, TestApp];
      const proxy = await services.proxy(one, two);
      const all = [await services.service(one, proxy), await services.service(one, proxy)];
      for (let round = 0; round < 12; round++) {
        const client = await signIn(one, round);
        for (const service of all) expect(await visit(service, client)).toMatchObject({ status: 200 });
        const app = (round + offset) % 2 ? one : two;
        await (round % 3 ? app.sessions.revoke(client.id) : app.sessions.revokeAllForUser(round));
        pass(2 * INTERVAL);
        for (const service of all) expect(await visit(service, client)).toMatchObject(OVER);
      }
    },
  );

  it('misses nothing when a process answers that has started later', async () => {
    const [one] = (await services.issuers(1)) as [TestApp];
    for (let n = 0; n < 30; n++) await one.sessions.revoke((await signIn(one, n)).id);
    pass(2 * HOUR);
    const [two] = (await services.issuers(1)) as [TestApp];
    const proxy = await services.proxy(one);
    const service = await services.service(one, proxy);
    for (let round = 0; round < 3; round++) {
      const client = await signIn(one);
      expect(await visit(service, client)).toMatchObject({ status: 200 });
      await one.sessions.revoke(client.id);
      proxy.targets[0] = (round % 2 ? one : two).url;
      pass(INTERVAL);
      expect(await visit(service, client)).toMatchObject(OVER);
    }
  });

  it('is published in every mode of revocation', async () => {
    for (const revocation of ['database', 'none'] as const) {
      const [issuer] = (await services.issuers(1, { revocation })) as [TestApp];
      const service = await services.service(issuer, issuer);
      const client = await signIn(issuer);
      await issuer.sessions.revoke(client.id);
      pass(INTERVAL);
      expect(await visit(service, client)).toMatchObject(OVER);
    }
  });

  it('lets a route with an optional session go on without one, and verify() throw', async () => {
    const [issuer] = (await services.issuers(1)) as [TestApp];
    const service = await services.service(issuer, issuer);
    const client = await signIn(issuer);
    expect(await visit(service, client, '/visitor')).toMatchObject({ body: { userId: 'ann' } });
    await issuer.sessions.revoke(client.id);
    pass(INTERVAL);
    expect(await visit(service, client, '/visitor')).toMatchObject({ status: 200, body: { userId: null } });
    await expect(service.app.get(SessionVerifier).verify(client.token)).rejects.toThrow(SessionOverError);
  });

  it('forgets what matters no more', async () => {
    const [issuer] = (await services.issuers(1)) as [TestApp];
    const started = vi.spyOn(RemoteRevocations.prototype, 'start');
    const service = await services.service(issuer, issuer);
    const memory = memoryOf(started.mock.contexts[0] as RemoteRevocations);
    started.mockRestore();
    for (let n = 0; n < 20; n++) await issuer.sessions.revoke((await signIn(issuer, n)).id);
    await issuer.sessions.revokeAllForUser('ann');
    const client = await signIn(issuer, 'bob');
    pass(INTERVAL);
    await visit(service, client);
    expect([memory.sessions.size, memory.notBefores.size]).toEqual([20, 1]);
    pass(2 * HOUR);
    await visit(service, await signIn(issuer, 'bob'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([memory.sessions.size, memory.notBefores.size]).toEqual([0, 0]);
  });
});

/** What a service remembers. */
function memoryOf(revocations: RemoteRevocations) {
  return Reflect.get(revocations, 'memory') as {
    sessions: Map<string, unknown>;
    notBefores: Map<string, unknown>;
  };
}

/** What may happen between issuer and service. None of it may take a service down, or make it believe anything. */
const misdeeds: [string, Misdeed][] = [
  ['cuts the connection', (_, response) => response.destroy()],
  ['answers 500', (_, response) => response.writeHead(500).end()],
  ['answers 404', (_, response) => response.writeHead(404).end()],
  [
    'redirects',
    (request, response, { targets }) =>
      response.writeHead(302, { location: targets[0]! + request.url! }).end(),
  ],
  ['answers a page', (_, response) => response.end('<html>')],
  ['answers nothing', (_, response) => response.end()],
  ['answers a text with dots', (_, response) => response.end('a.b.c')],
  ['replays the first list', (_, response, proxy) => proxy.send(response, proxy.passed[0]!)],
  [
    'replays the newest list',
    (_, response, proxy) =>
      proxy.send(
        response,
        proxy.passed.findLast(({ status }) => status === 200)!,
      ),
  ],
  [
    'asks without the nonce',
    async (request, response, proxy) => {
      proxy.send(response, await proxy.ask(request.url!.replace(/nonce=[^&]*/, '')));
    },
  ],
  [
    'asks for what is new since a later time',
    async (request, response, proxy) => {
      const own = decodeJwt((await proxy.ask(PATH)).body);
      const url = request.url!.replace(/since=[^&]*/, `since=${own['cursor'] as string}`);
      proxy.send(response, await proxy.ask(url));
    },
  ],
  [
    'changes a byte of the list',
    async (request, response, proxy) => {
      const answer = await proxy.ask(request.url!);
      proxy.send(response, {
        ...answer,
        body: answer.body.replace(/\.(.)/, (_, c) => (c === 'A' ? '.B' : '.A')),
      });
    },
  ],
  [
    'signs a list with a key of its own',
    async (request, response, proxy) => {
      const { body } = await proxy.ask(request.url!);
      const key = await importJWK(await generateJwk('ES256'), 'ES256');
      const { kid } = decodeProtectedHeader(body) as { kid: string };
      const header = { alg: 'ES256', typ: 'session-revocations+jwt', kid };
      response.end(await new SignJWT(decodeJwt(body)).setProtectedHeader(header).sign(key));
    },
  ],
  [
    'leaves the signature out',
    async (request, response, proxy) => {
      const { body } = await proxy.ask(request.url!);
      response.end(`${body.slice(0, body.lastIndexOf('.'))}.`);
    },
  ],
  [
    'says for ever that nothing is new',
    (request, response) => response.writeHead(request.headers['if-none-match'] ? 304 : 502).end(),
  ],
];

describe('between issuer and services, somebody', () => {
  const services = useServices();

  it.each(misdeeds)(
    '%s: known revocations stand, and the rest is decided as the service was told',
    async (_, misdeed) => {
      const [issuer] = (await services.issuers(1)) as [TestApp];
      const proxy = await services.proxy(issuer);
      const log = new LogCapture();
      const [open, closed] = [
        await services.service(issuer, proxy, {}, log),
        await services.service(issuer, proxy, { whenStale: 'refuse' }, log),
      ];
      const [known, hidden, live] = [
        await signIn(issuer, 1),
        await signIn(issuer, 2),
        await signIn(issuer, 3),
      ];
      await issuer.sessions.revoke(known.id);
      pass(INTERVAL);
      for (const service of [open, closed]) expect(await visit(service, known)).toMatchObject(OVER);

      proxy.misdeed = misdeed;
      await issuer.sessions.revoke(hidden.id);
      const trusting: number[] = [];
      for (let eighth = 1; eighth <= 8; eighth++) {
        pass(STALE / 8);
        for (const service of [open, closed]) expect(await visit(service, known)).toMatchObject(OVER);
        expect(await visit(open, live)).toMatchObject({ status: 200 });
        trusting.push((await visit(closed, live)).status);
      }
      expect(trusting.slice(0, 7)).toEqual(Array(7).fill(200));
      pass(STALE);
      expect(await visit(open, live)).toMatchObject({ status: 200 });
      expect(await visit(closed, live)).toMatchObject({
        status: 503,
        body: { code: 'revocations_unavailable' },
      });

      proxy.misdeed = undefined;
      pass(INTERVAL);
      for (const service of [open, closed]) {
        expect(await visit(service, live)).toMatchObject({ status: 200 });
        expect(await visit(service, hidden)).toMatchObject(OVER);
        expect(await visit(service, known)).toMatchObject(OVER);
      }
      // Each service says when the trouble begins, and when it is over.
      const lines = log.lines.filter((line) => line.includes('The revocations'));
      expect(lines).toHaveLength(4);
      for (const line of lines.slice(0, 2))
        expect(line).toMatch(/could not be read\. If that goes on, .*(accepted|503)/);
      for (const line of lines.slice(2)) expect(line).toMatch(/can be read again/);
    },
  );

  it('takes its time: a token waits for a second at most, once', async () => {
    const [issuer] = (await services.issuers(1)) as [TestApp];
    const proxy = await services.proxy(issuer);
    const service = await services.service(issuer, proxy);
    const client = await signIn(issuer);
    proxy.misdeed = () => undefined;
    pass(INTERVAL);
    const begin = performance.now();
    const together = await Promise.all(Array.from({ length: 10 }, async () => visit(service, client)));
    const waited = performance.now() - begin;
    expect(together.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect(waited).toBeGreaterThan(900);
    expect(waited).toBeLessThan(1_900);
    const next = performance.now();
    pass(INTERVAL);
    for (let n = 0; n < 20; n++) expect(await visit(service, client)).toMatchObject({ status: 200 });
    expect(performance.now() - next).toBeLessThan(700);
  });

  it('is the issuer itself, which does not reach its database', async () => {
    const [issuer] = (await services.issuers(1)) as [TestApp];
    const [open, closed] = [
      await services.service(issuer, issuer),
      await services.service(issuer, issuer, { whenStale: 'refuse' }),
    ];
    const client = await signIn(issuer);
    for (const service of [open, closed]) expect(await visit(service, client)).toMatchObject({ status: 200 });
    const dataSource = await connect(services.database());
    await dataSource.query('ALTER TABLE user_session_not_before RENAME TO gone');
    pass(STALE + INTERVAL);
    expect(await visit(open, client)).toMatchObject({ status: 200 });
    expect(await visit(closed, client)).toMatchObject({ status: 503 });
    await dataSource.query('ALTER TABLE gone RENAME TO user_session_not_before');
    await dataSource.destroy();
    pass(INTERVAL);
    expect(await visit(closed, client)).toMatchObject({ status: 200 });
  });

  it('is not there yet: the service starts all the same', async () => {
    const [issuer] = (await services.issuers(1)) as [TestApp];
    const proxy = await services.proxy(issuer);
    proxy.misdeed = (_, response) => response.destroy();
    const open = await services.service(issuer, proxy);
    const closed = await services.service(issuer, proxy, { whenStale: 'refuse' });
    const client = await signIn(issuer);
    await issuer.sessions.revoke(client.id);
    expect(await visit(open, client)).toMatchObject({ status: 200 });
    await expect(closed.app.get(SessionVerifier).verify(client.token)).rejects.toThrow(
      RevocationsUnavailableError,
    );
    proxy.misdeed = undefined;
    pass(INTERVAL);
    for (const service of [open, closed]) expect(await visit(service, client)).toMatchObject(OVER);
  });
});

describe('with wrong options', () => {
  const services = useServices();

  it.each([
    [{ uri: undefined }, /"revocations.uri": must be an address/],
    [{ uri: 'http://example.com/list' }, /"revocations.uri": must be an https: address/],
    [{ interval: 0 }, /"revocations.interval"/],
    [{ interval: '10s', maxStaleness: '15s' }, /"revocations.maxStaleness": must be at least twice/],
    [{ whenStale: 'open' }, /"revocations.whenStale"/],
    [{ intervall: 5 }, /"revocations.intervall"/],
  ])('a service does not start: %o', async (options, message) => {
    const service = services.service(
      { url: 'http://127.0.0.1:1' },
      { url: 'http://127.0.0.1:1' },
      options as never,
    );
    await expect(service).rejects.toThrow(message);
  });

  it.each([
    [{ jwksPath: undefined }, /"revocationsPath": needs "jwksPath"/],
    [{ revocationsPath: 'a;b' }, /"revocationsPath": must be a route path/],
  ])('an issuer does not start: %o', async (options, message) => {
    await expect(services.issuers(1, options)).rejects.toThrow(message);
  });
});
