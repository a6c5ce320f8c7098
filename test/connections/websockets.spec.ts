import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  attempt,
  type Client,
  closeClients,
  connect,
  type Transport,
  transports,
} from '../contexts/gateway-client.js';
import {
  adapterFor,
  connectionsOf,
  GuardedGateway,
  OptionalGateway,
  PartlyGuardedGateway,
} from '../contexts/gateways.js';
import { type AccountApp, accountApps, cookieOf } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { pass } from '../support/time.js';
import { issuing, type ServiceApp, startService, verifying } from '../verifier/service-app.js';
import { ends, endsOfImpersonations, type World } from './ends.js';

const options = { revocationInterval: 0.05 } as const;

/** How a client is told that its session has ended. */
function ended(transport: Transport, code: string): object {
  return transport === 'ws' ? { code: 4_401, reason: code } : { reason: code };
}

describe.each(adapters)('on %s', (adapter) => {
  const start = accountApps(adapter);
  const services: ServiceApp[] = [];
  afterEach(async () => {
    closeClients();
    for (const service of services.splice(0)) await service.close();
  });

  describe.each(transports)('a connection by %s', (transport) => {
    const setUp = async (
      gateway: new () => object = GuardedGateway,
    ): Promise<World & { other: AccountApp }> => {
      const settings = { metadata: { providers: [gateway] }, configure: adapterFor(transport) };
      const app = await start(options, settings);
      const other = await start(options, { ...settings, database: app.database });
      const browser = await app.signIn();
      const [row] = await app.rows();
      return { app, other, browser, id: row!.id };
    };

    it.each(ends)(
      'ends in every process, though it is silent, when its session $name',
      async ({ end, mayRefresh }) => {
        const world = await setUp();
        const { app, other, browser } = world;
        const here = await connect(transport, app.url, { browser });
        const there = await connect(transport, other.url, { browser });
        const bearer = { authorization: `Bearer ${cookieOf(browser, 'session_access').value}` };
        const native = await connect(transport, other.url, { headers: bearer });
        await end(world);
        pass('1s');
        const expected = ended(transport, mayRefresh ? 'try_refresh' : 'session_over');
        expect(await Promise.all([here.ended, there.ended, native.ended])).toEqual([
          expected,
          expected,
          expected,
        ]);
        for (const { app: nest } of [app, other]) {
          await vi.waitFor(() => {
            expect(connectionsOf(nest)).toBe(0);
            expect(nest.get(GuardedGateway).calls.filter((call) => call === 'disconnected').length).toBe(
              nest === app.app ? 1 : 2,
            );
          });
        }
      },
    );

    it.each(endsOfImpersonations)('ends in every process when its impersonation $name', async ({ end }) => {
      const world = await setUp();
      const { app, other, id } = world;
      const { accessToken, session } = await app.sessions.tokens.impersonate(id, { userId: 'ann' });
      const headers = { authorization: `Bearer ${accessToken.token}` };
      const clients = [
        await connect(transport, app.url, { headers }),
        await connect(transport, other.url, { headers }),
      ];
      await end({ ...world, actingId: session.id });
      pass('1s');
      const expected = ended(transport, 'session_over');
      expect(await Promise.all(clients.map((client) => client.ended))).toEqual([expected, expected]);
    });

    it.each([{ gateway: OptionalGateway }, { gateway: PartlyGuardedGateway }])(
      'to $gateway.name ends with the session that it has, and goes on when it has none',
      async ({ gateway }) => {
        const { app, other, browser } = await setUp(gateway);
        const alice = await connect(transport, other.url, { browser });
        const stranger = await connect(transport, other.url);
        await app.sessions.revokeAll();
        pass('1s');
        expect(await alice.ended).toEqual(ended(transport, 'session_over'));
        expect(await stranger.send('ping')).toBe('pong');
        expect(await attempt(transport, other.url, { browser })).toBe('nobody');
      },
    );

    it('goes on while its session lives, and connects again when a key was dropped', async () => {
      const { app, other, browser } = await setUp();
      const there = await connect(transport, other.url, { browser });
      for (let days = 0; days < 5; days++) {
        pass('3d');
        expect((await browser.get('/me')).status).toBe(200);
        expect(await there.send('say', 'hello')).toBe('alice: hello');
      }
      const later = await connect(transport, other.url, { browser });
      await app.sessions.rotateSigningKeys({ drop: 'all' });
      pass('1s');
      expect(await later.ended).toEqual(ended(transport, 'try_refresh'));
      expect((await browser.get('/me')).status).toBe(200);
      expect(await attempt(transport, other.url, { browser })).toBe('alice');
    });

    it.each([
      { hears: true, ends: 'session_over' },
      { hears: false, ends: 'try_refresh' },
    ])(
      'ends in a service without the database (hears of revocations: $hears)',
      async ({ hears, ends: code }) => {
        const path = '/revocations';
        const app = await start({ ...issuing, revocationsPath: path, ...options });
        const revocations = { uri: app.url + path, interval: 0.05, maxStaleness: 60 };
        const service = await startService(
          adapter,
          { ...verifying(app.url), ...(hears && { revocations }) },
          { providers: [GuardedGateway] },
          false,
          adapterFor(transport),
        );
        services.push(service);
        const browser = await app.signIn();
        const client = await connect(transport, service.url, { browser });
        expect(await client.send('say', 'hello')).toBe('alice: hello');
        if (hears) await app.sessions.revokeAllForUser('alice');
        pass(hears ? '1s' : '15m');
        expect(await client.ended).toEqual(ended(transport, code));
        await vi.waitFor(() => expect(connectionsOf(service.app)).toBe(0));
      },
    );

    it('leaves nothing behind, however often clients come and go', async () => {
      const { app, browser } = await setUp();
      const clients: Client[] = [];
      for (let round = 0; round < 5; round++) {
        clients.push(
          ...(await Promise.all(
            Array.from({ length: 10 }, async () => connect(transport, app.url, { browser })),
          )),
        );
        expect(await attempt(transport, app.url)).not.toBe('nobody');
        for (const client of clients.splice(5)) client.close();
      }
      for (const client of clients) client.close();
      await vi.waitFor(() => expect(connectionsOf(app.app)).toBe(0));
    });
  });
});
