import { describe, expect, it } from 'vitest';
import { SessionModule, SessionService, sessionServiceToken } from 'nestjs-session-tokens';
import { moduleStates } from '../../lib/diagnostics/channels.js';
import { SESSION_RUNTIME } from '../../lib/module/session.constants.js';
import type { SessionDataSource } from '../../lib/storage/session-data-source.js';
import { accountApps } from '../http/account-app.js';
import { applications } from '../module/context.js';
import { adapters } from '../support/app.js';
import { databases } from '../support/databases.js';
import { withoutDatabase } from '../support/statements.js';
import { pass } from '../support/time.js';
import { issuing, startService, verifying } from '../verifier/service-app.js';
import { steps } from './steps.js';
import { type Series, type Telemetry, useTelemetry } from './telemetry.js';

/** The database decides on them, not what clients do. */
const OWN_TABLE = /^(?:statement|feed|key\.(?:reads|age))/;

/** What has changed since. */
async function changesOf(telemetry: Telemetry, before: Series): Promise<Series> {
  const changes = Object.entries(await telemetry.series())
    .map(([name, value]) => [name, value - (before[name] ?? 0)] as const)
    .filter(([name, change]) => change !== 0 && !OWN_TABLE.test(name));
  return Object.fromEntries(changes);
}

/** Of the keys that sign access and refresh tokens, in seconds. */
async function agesOf(telemetry: Telemetry) {
  const series = await telemetry.series();
  return ['access', 'refresh'].map((purpose) => series[`key.age{module=default,purpose=${purpose}}`]);
}

describe.each(adapters)('over %s', (adapter) => {
  const start = accountApps(adapter);
  const telemetry = useTelemetry();

  it.each(steps)('$name changes only its metrics', async ({ prepare, changes }) => {
    const app = await start();
    const act = await prepare(app);
    const before = await telemetry().series();
    await act();
    const expected = Object.entries(changes).filter(([, change]) => change !== 0);
    expect(await changesOf(telemetry(), before)).toEqual(Object.fromEntries(expected));
  });

  it('thefts are there before the first one, so that an alert sees them rise', async () => {
    await start();
    expect(await telemetry().series()).toMatchObject({
      'thefts{module=default,kind=superseded}': 0,
      'thefts{module=default,kind=sibling}': 0,
    });
  });

  it('the statements of a sign-in and a refresh are measured by their names', async () => {
    const app = await start();
    const browser = await app.signIn();
    pass('16m');
    await browser.get('/me');
    const series = await telemetry().series();
    expect(series).toMatchObject({
      'statement.duration{module=default,statement=insert,result=succeeded}': expect.any(Number) as number,
      'statement.duration{module=default,statement=redeem,result=succeeded}': 1,
    });
  });

  it('the key that signs grows older until it is rotated', async () => {
    const app = await start();
    await app.signIn();
    expect(await agesOf(telemetry())).toEqual([0, 0]);
    pass('1h');
    expect(await agesOf(telemetry())).toEqual([3_600, 3_600]);
    await app.sessions.rotateSigningKeys();
    expect(await agesOf(telemetry())).toEqual([0, 3_600]);
  });

  it('a service that only verifies tells of its verifications and its keys', async () => {
    const issuer = await start(issuing);
    const { accessToken } = await issuer.sessions.tokens.issue({ userId: 'alice' });
    const service = await startService(
      adapter,
      SessionModule.forVerifier({ name: 'api', ...verifying(issuer.url) }),
      { controllers: [] },
    );
    try {
      const verifier = service.app.get<{ verify(token: string): Promise<unknown> }>('SessionVerifier api');
      await verifier.verify(accessToken.token);
      await verifier.verify(accessToken.token);
      await expect(verifier.verify('junk')).rejects.toThrow('no longer good');
      expect(await telemetry().series()).toMatchObject({
        'access_token.verifications{module=api,result=valid}': 2,
        'access_token.verifications{module=api,result=invalid}': 1,
        'access_token.cache_hits{module=api}': 1,
        'key.reads{module=api,purpose=public,result=succeeded}': 1,
        'key.reads{module=api,purpose=public,result=failed}': 0,
      });
    } finally {
      await service.close();
    }
    // A module that has stopped tells nothing any more.
    expect(moduleStates().map(({ module }) => module)).toEqual(['default']);
  });
});

describe.each(databases)('on $name', (kind) => {
  const start = accountApps('express', kind);
  const telemetry = useTelemetry();

  it('the feed lags while the database is down, and no longer', async () => {
    const app = await start();
    const { database } = app.app.get<{ database: SessionDataSource }>(SESSION_RUNTIME);
    const browser = await app.signIn();
    const feed = async () => {
      // With or without the database, valid tokens are accepted.
      expect(await browser.get('/me')).toMatchObject({ status: 200 });
      const series = await telemetry().series();
      return [
        series['feed.reads{module=default,result=succeeded}'],
        series['feed.reads{module=default,result=failed}'],
        series['feed.lag{module=default}'],
      ];
    };
    expect(await feed()).toEqual([1, 0, 0]);
    // Nobody asks, so nobody waits.
    pass('5m');
    expect((await telemetry().series())['feed.lag{module=default}']).toBe(0);
    expect(await feed()).toEqual([2, 0, 0]);
    await withoutDatabase(database, async () => {
      pass('10s');
      expect(await feed()).toEqual([2, 1, 0]);
      pass('30s');
      expect(await feed()).toEqual([2, 2, 30]);
      // The feed is read no earlier than its interval says, and lags on.
      pass(500);
      expect(await feed()).toEqual([2, 2, 30.5]);
    });
    pass('10s');
    expect(await feed()).toEqual([3, 2, 0]);
  });
});

describe('several modules', () => {
  const { start, database } = applications();
  const telemetry = useTelemetry();

  it('are told apart by their names', async () => {
    const cookies = { accessName: 'a', refreshName: 'r', lookAgainName: 'l' };
    const { context } = await start({
      imports: [
        SessionModule.forRoot({ isGlobal: true, database: (await database()).options }),
        SessionModule.forRoot({ name: 'admin', database: (await database()).options, cookies }),
      ],
      providers: [
        {
          provide: 'both',
          useFactory: (...both: SessionService[]) => both,
          inject: [SessionService, sessionServiceToken('admin')],
        },
      ],
    });
    const [sessions, admins] = context.get<[SessionService, SessionService]>('both');
    await sessions.tokens.issue({ userId: 1 });
    for (const userId of [2, 3]) {
      const { accessToken } = await admins.tokens.issue({ userId });
      await admins.tokens.verify(accessToken.token);
    }
    expect(await telemetry().series()).toMatchObject({
      'sessions.created{module=default}': 1,
      'sessions.created{module=admin}': 2,
      'access_token.verifications{module=default,result=valid}': 0,
      'access_token.verifications{module=admin,result=valid}': 2,
      'feed.reads{module=default,result=succeeded}': 0,
      'feed.reads{module=admin,result=succeeded}': 1,
      'statement.duration{module=admin,statement=insert,result=succeeded}': expect.any(Number) as number,
    });
  });
});
