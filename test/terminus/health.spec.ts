import { Controller, Get } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { HealthCheckService, TerminusModule } from '@nestjs/terminus';
import {
  SessionModule,
  type SessionModuleOptions,
  type VerifierRevocationOptions,
} from 'nestjs-session-tokens';
import {
  type SessionHealth,
  SessionHealthIndicator,
  type SessionHealthOptions,
} from 'nestjs-session-tokens/terminus';
import type { DataSource } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { partsOf } from '../../lib/module/session-modules.js';
import { type AccountApp, accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { connect, databases } from '../support/databases.js';
import { DAY, HOUR, pass } from '../support/time.js';
import { KeyServer } from '../verifier/key-server.js';
import { AUDIENCE, ISSUER, issuing } from '../verifier/service-app.js';

@Controller('health')
class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly sessions: SessionHealthIndicator,
  ) {}

  @Get()
  async check(): Promise<object> {
    return this.health.check([async () => this.sessions.isHealthy('sessions')]);
  }
}

const metadata = {
  controllers: [HealthController],
  imports: [TerminusModule.forRoot({ logger: false })],
  providers: [SessionHealthIndicator],
};

async function healthOf({ app }: AccountApp, options?: SessionHealthOptions): Promise<SessionHealth> {
  return (await app.get(SessionHealthIndicator).isHealthy('sessions', options)).sessions;
}

/** Does something while a table is away. */
async function without(
  app: AccountApp,
  table: string,
  act: (admin: DataSource) => Promise<void>,
): Promise<void> {
  const admin = await connect(app.database);
  try {
    await admin.query(`ALTER TABLE ${table} RENAME TO away`);
    await act(admin).finally(() => admin.query(`ALTER TABLE away RENAME TO ${table}`));
  } finally {
    await admin.destroy();
  }
}

/** The feed fails to be read, and then no request comes for some time. */
async function lag(browser: Browser, after: string): Promise<void> {
  pass('2s');
  await browser.get('/me');
  pass(after);
}

/** Has an answer of the database take as long as `wait` does. @returns how often it was asked */
function slowDown({ app }: AccountApp, wait: () => Promise<unknown>): () => number {
  const [parts] = [...app.get(ModulesContainer).values()].flatMap((each) => partsOf(each) ?? []);
  let asked = 0;
  const ask = async () => {
    asked++;
    return wait();
  };
  Object.assign(parts!.vitals, { ask });
  return () => asked;
}

const forever = () => new Promise<never>(() => undefined);

const UP = { status: 'up', database: 'up', feedLag: 0, keyAge: { access: 0, refresh: 0 } };

describe.each(adapters)('on %s, Terminus', (adapter) => {
  const start = accountApps(adapter);

  it('says that the sessions are well', async () => {
    const app = await start({}, { metadata });
    expect(await app.browser().get('/health')).toMatchObject({
      status: 200,
      body: { status: 'ok', details: { sessions: UP } },
    });
  });

  it('answers 503 while they are not, says why, and names no host', async () => {
    const app = await start({}, { metadata });
    await without(app, 'user_session', async () => {
      const answer = await app.browser().get('/health');
      expect(answer).toMatchObject({
        status: 503,
        body: {
          status: 'error',
          error: {
            sessions: {
              status: 'down',
              message: 'The database of the sessions does not answer as it should.',
              database: 'down',
            },
          },
        },
      });
      expect(JSON.stringify(answer.body)).not.toMatch(/user_session|sqlite|SELECT/i);
    });
    pass('1s');
    expect(await app.browser().get('/health')).toMatchObject({ status: 200 });
  });
});

describe.each(databases)('on $name, the sessions', (kind) => {
  const start = accountApps('express', kind);

  it.each<[string, SessionModuleOptions, SessionHealth]>([
    ['with a feed', {}, { ...UP, status: 'up', database: 'up' }],
    [
      'without a feed',
      { revocation: 'none' },
      { status: 'up', database: 'up', keyAge: { access: 0, refresh: 0 } },
    ],
  ])('are well %s', async (_, options, expected) => {
    expect(await healthOf(await start(options, { metadata }))).toEqual(expected);
  });

  it.each([
    ['50s', 'up', {}],
    ['70s', 'down', {}],
    ['70s', 'up', { maxFeedLag: '2m' }],
    ['5s', 'down', { maxFeedLag: '2s' }],
  ])('whose feed cannot be read for %s are %s with %o', async (after, status, options) => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    await without(app, 'user_session_not_before', async () => {
      await lag(browser, after);
      expect(await healthOf(app, options)).toMatchObject({ status, database: 'up' });
    });
  });

  it('are well again when the feed can be read, though no request reads it', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    await without(app, 'user_session_not_before', async () => {
      await lag(browser, '70s');
      const { status, message, feedLag } = await healthOf(app);
      expect({ status, message, feedLag }).toEqual({
        status: 'down',
        message:
          'Revocations have not been read for 70 s. Sessions that were revoked elsewhere may be accepted.',
        feedLag: 70,
      });
    });
    pass('1s');
    expect(await healthOf(app)).toMatchObject({ status: 'up', feedLag: 0 });
  });

  it.each([
    ['access', DAY],
    ['refresh', (365 * DAY) / 12],
  ])('with an %s key that nobody replaces are not well', async (purpose, rotation) => {
    const app = await start({}, { metadata });
    await without(app, 'user_session_key', async () => {
      pass(rotation + HOUR / 2);
      // Of the other purpose, the keys may be overdue.
      const { message = '' } = await healthOf(app);
      expect(message).not.toContain(`next ${purpose} key`);
      pass(HOUR);
      expect(await healthOf(app)).toMatchObject({
        status: 'down',
        message: expect.stringContaining(`The next ${purpose} key is overdue for 5400 s.`) as string,
      });
    });
    pass('6m');
    // The old key signs until all processes know the next one.
    expect(await healthOf(app)).toMatchObject({ status: 'up' });
  });

  it('are well after days without a request', async () => {
    const app = await start({}, { metadata });
    pass('70d');
    const { status, keyAge } = await healthOf(app);
    expect({ status, keyAge }).toEqual({
      status: 'up',
      keyAge: { access: (70 * DAY) / 1_000, refresh: (70 * DAY) / 1_000 },
    });
  });
});

/** Keeps all others from the table of sessions until the connection ends. */
const LOCK: Record<string, string[]> = {
  postgres: ['BEGIN', 'LOCK TABLE user_session IN ACCESS EXCLUSIVE MODE'],
  mysql: ['LOCK TABLES user_session WRITE'],
};
/** The statements that wait for it. */
const WAITING: Record<string, string> = {
  postgres:
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
  mysql:
    "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND state LIKE 'Waiting for table%'",
};

describe.each(databases.filter(({ name }) => name in LOCK))('a table of $name that is locked', (kind) => {
  const start = accountApps('express', kind);

  it('has one statement waiting, however many probes come', async () => {
    const app = await start({}, { metadata });
    const admin = await connect(app.database);
    const locking = admin.createQueryRunner();
    for (const statement of LOCK[kind.name]!) await locking.query(statement);
    for (let probes = 0; probes < 5; probes++) {
      expect(await healthOf(app, { timeout: '50ms' })).toMatchObject({ status: 'down' });
      pass('1s');
    }
    expect(await admin.query(WAITING[kind.name]!)).toHaveLength(1);
    await locking.query(kind.name === 'postgres' ? 'ROLLBACK' : 'UNLOCK TABLES');
    await locking.release();
    await expect.poll(() => pass('1s') ?? healthOf(app)).toMatchObject({ status: 'up' });
    await admin.destroy();
  });
});

describe('a probe', () => {
  const start = accountApps('express');

  it('is answered in time by a database that hangs, and adds no statement to those that hang', async () => {
    const app = await start({}, { metadata });
    const asked = slowDown(app, forever);
    for (let probes = 0; probes < 5; probes++) {
      const begun = performance.now();
      expect(await healthOf(app, { timeout: '50ms' })).toMatchObject({
        status: 'down',
        database: 'down',
        message: 'The database of the sessions has not answered within 0.05 s.',
      });
      expect(performance.now() - begun).toBeLessThan(1_000);
      pass('5s');
    }
    expect(asked()).toBe(1);
  });

  it('gives a statement up that never comes back', async () => {
    const app = await start({}, { metadata });
    slowDown(app, forever);
    expect(await healthOf(app, { timeout: '50ms' })).toMatchObject({ status: 'down' });
    slowDown(app, async () => undefined);
    pass('29s');
    expect(await healthOf(app, { timeout: '50ms' })).toMatchObject({ status: 'down' });
    pass('1s');
    expect(await healthOf(app)).toMatchObject({ status: 'up' });
  });

  it('is answered by default within a second', async () => {
    const app = await start({}, { metadata });
    slowDown(app, forever);
    expect(await app.browser().get('/health')).toMatchObject({
      status: 503,
      body: { error: { sessions: { message: 'The database of the sessions has not answered within 1 s.' } } },
    });
  });

  it.each<[string, () => Promise<unknown>, string]>([
    ['works', async () => undefined, 'up'],
    ['fails', () => Promise.reject(new Error('secret host')), 'down'],
  ])(
    'costs one statement at most, with all others of half a second, while the database %s',
    async (_, wait, status) => {
      const app = await start({}, { metadata });
      const asked = slowDown(app, wait);
      const all = await Promise.all(Array.from({ length: 20 }, () => healthOf(app)));
      expect(all.map((each) => each.database)).toEqual(Array.from({ length: 20 }, () => status));
      pass('400ms');
      await healthOf(app);
      expect(asked()).toBe(1);
      pass('100ms');
      expect(JSON.stringify(await healthOf(app))).not.toContain('host');
      expect(asked()).toBe(2);
      pass(-DAY);
      await healthOf(app);
      expect(asked()).toBe(3);
    },
  );
});

describe('a service without the database', () => {
  const start = accountApps('express');

  async function service(jwksUri: string, revocations?: VerifierRevocationOptions): Promise<AccountApp> {
    const verifier = SessionModule.forVerifier({
      name: 'service',
      isGlobal: true,
      jwksUri,
      issuer: ISSUER,
      audience: AUDIENCE,
      ...(revocations && { revocations }),
    });
    return start({}, { metadata: { ...metadata, imports: [...metadata.imports, verifier] } });
  }

  const issuer = async () => start({ ...issuing, revocationsPath: '/revocations' });

  it('is well with keys, and not before it has any', async () => {
    const server = await KeyServer.start();
    const app = await service(server.uri);
    expect(await healthOf(app, { module: 'service' })).toEqual({
      status: 'down',
      message: 'No public keys are known. Tokens cannot be verified.',
      keyAge: {},
    });
    const signing = await start(issuing);
    server.publish(async () => (await signing.sessions.publicKeys()).keys);
    pass('1m');
    expect(await healthOf(app, { module: 'service' })).toEqual({ status: 'up', keyAge: {} });
    server.breakDown();
    pass('1d');
    // It still verifies tokens.
    expect(await healthOf(app, { module: 'service' })).toMatchObject({ status: 'up' });
    await server.close();
  });

  it.each<[string, string, Partial<VerifierRevocationOptions>, SessionHealthOptions]>([
    ['up', '50s', { whenStale: 'refuse' }, {}],
    ['down', '70s', { whenStale: 'refuse' }, {}],
    ['up', '70s', { whenStale: 'refuse', maxStaleness: '5m' }, {}],
    ['up', '1d', { whenStale: 'accept' }, {}],
    ['down', '70s', { whenStale: 'accept' }, { maxFeedLag: '1m' }],
  ])(
    'is %s if it has not heard of revocations for %s with %o, %o',
    async (status, after, revocations, options) => {
      const accounts = await issuer();
      const { url } = accounts;
      const app = await service(`${url}/.well-known/jwks.json`, {
        uri: `${url}/revocations`,
        ...revocations,
      });
      await accounts.close();
      pass('2s');
      // Requests would ask, too.
      const { vitals } = [...app.app.get(ModulesContainer).values()]
        .flatMap((each) => partsOf(each) ?? [])
        .find(({ authenticator }) => authenticator.module === 'service')!;
      await vitals.freshen();
      pass(after);
      expect(await healthOf(app, { module: 'service', ...options })).toMatchObject({ status });
    },
  );
});

describe('the options', () => {
  const start = accountApps('express');

  it.each<[object, string]>([
    [{ timeout: 'soon' }, '"timeout"'],
    [{ timeout: 0 }, '"timeout"'],
    [{ timeout: '31s' }, '"timeout"'],
    [{ maxFeedLag: -1 }, '"maxFeedLag"'],
    [{ maxKeyOverdue: '1 fortnight' }, '"maxKeyOverdue"'],
    [{ maxKeyAge: '1h' }, '"maxKeyAge"'],
    [{ module: 'other' }, 'no session module has the name "other". Those of the application: "default".'],
  ])('%o are refused', async (options, message) => {
    const app = await start({}, { metadata });
    await expect(healthOf(app, options)).rejects.toThrow(message);
  });

  it('choose among several modules', async () => {
    const database = await databases[0]!.create();
    const admin = SessionModule.forRoot({
      name: 'admin',
      database: database.options,
      cookies: { accessName: 'a', refreshName: 'b', lookAgainName: 'c' },
    });
    const app = await start({}, { metadata: { ...metadata, imports: [...metadata.imports, admin] } });
    await without(app, 'user_session', async () => {
      expect(await healthOf(app)).toMatchObject({ status: 'down' });
      expect(await healthOf(app, { module: 'admin' })).toMatchObject({ status: 'up' });
    });
    await app.close();
    await database.remove();
  });
});
