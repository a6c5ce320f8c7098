import { decodeProtectedHeader, generateKeyPair, SignJWT } from 'jose';
import { SessionEntity, type SessionModuleOptions } from 'nestjs-session-tokens';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type LibraryProcess, plainOptions, setClocks, useProcesses } from '../processes/process-pool.js';
import { type Answer, Browser } from '../support/browser.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { HOUR, MINUTE, SECOND, START, stopClock } from '../support/time.js';
import { issuing, verifying } from './service-app.js';

/** The defaults of the verifier. */
const CACHE_MAX_AGE = 30 * SECOND;
const COOLDOWN = 5 * SECOND;
const TTL = 15 * MINUTE;
const REFUSED = { status: 401, body: { code: 'try_refresh' } };

type Refresh = 'transparent' | 'endpoint';

describe(
  'an issuer and a service that only verifies, each in a process of its own',
  { timeout: MINUTE },
  () => {
    const processes = useProcesses(2);
    let issuer: LibraryProcess;
    let verifier: LibraryProcess;

    beforeAll(() => {
      [issuer, verifier] = processes as [LibraryProcess, LibraryProcess];
    });

    const setTime = (time: number) => setClocks(processes, time);

    describe.each(databases)('with a database of the issuer on $name', (kind) => {
      let database: TestDatabase;

      beforeEach(async () => {
        stopClock();
        database = await kind.create();
        await setTime(START);
      });
      afterEach(async () => {
        await Promise.all(processes.map((each) => each.call('close')));
        await database.remove();
        vi.useRealTimers();
      });

      /** Both processes, and clients that act like a page: they refresh when told to, and try again. */
      const start = async (refresh: Refresh, options: SessionModuleOptions = {}) => {
        const url = await issuer.call('listen', plainOptions(database), {
          ...issuing,
          ...options,
          refresh,
          refreshPath: '/auth/refresh',
        });
        const at = await verifier.call('listenAsVerifier', verifying(url));
        return {
          signIn: async (userId: number) => {
            const browser = new Browser(url);
            expect(await browser.post('/login', { userId })).toMatchObject({ status: 200 });
            return browser;
          },
          /** Sends one request to the service, with any result. */
          visit: async (browser: Browser) => browser.get('/me', { at }),
          withBearer: async (token: string, to = at) =>
            new Browser(to).get('/me', { headers: { authorization: `Bearer ${token}` } }),
          refresh: async (browser: Browser) => {
            const answer = await (refresh === 'endpoint'
              ? browser.post('/auth/refresh')
              : browser.get('/me'));
            expect(answer.status).toBe(refresh === 'endpoint' ? 204 : 200);
          },
          url,
        };
      };
      const revoked = async () => {
        const dataSource = await connect(database);
        const rows = await dataSource.getRepository(SessionEntity).find();
        await dataSource.destroy();
        return { count: rows.length, revoked: rows.filter(({ revokedAt }) => revokedAt !== null).length };
      };

      test.each<Refresh>(['transparent', 'endpoint'])(
        'through a rotation by schedule, not one request is refused (refresh: %s)',
        async (mode) => {
          const { signIn, visit, withBearer, refresh } = await start(mode, {
            signingKeys: { rotation: '1h' },
          });
          const clients: { browser: Browser; userId: number; until: number }[] = [];
          const kids = new Set<string>();
          const answers: Answer[] = [];

          /** One client signs in, those with expired tokens refresh, and all send a request to the service. */
          const step = async () => {
            const userId = clients.length;
            clients.push({ browser: await signIn(userId), userId, until: Date.now() + TTL });
            await Promise.all(
              clients.map(async (client) => {
                if (client.until <= Date.now()) {
                  await refresh(client.browser);
                  client.until = Date.now() + TTL;
                }
                kids.add(kidOf(tokenOf(client.browser)));
                const answer = await visit(client.browser);
                answers.push(answer);
                expect(answer).toMatchObject({ status: 200, body: { userId: client.userId } });
                expect(answer.setCookies).toEqual([]);
              }),
            );
          };
          for (let minute = 0; minute < 60; minute += 8) {
            await setTime(START + minute * MINUTE);
            await step();
          }
          await setTime(START + HOUR - SECOND);
          // Junk right before that keeps the service from fetching keys when the new key begins to sign. It already knows
          // this key.
          expect(await withBearer(await junk())).toMatchObject(REFUSED);
          await step();
          const [former] = [...kids];
          expect(kids.size).toBe(1);
          for (const after of [0, 1, SECOND, 10 * SECOND, 5 * MINUTE, 14 * MINUTE, 16 * MINUTE]) {
            await setTime(START + HOUR + after);
            await step();
          }
          expect(kids.size).toBe(2);
          expect(clients.map(({ browser }) => kidOf(tokenOf(browser)))).not.toContain(former);
          expect(answers.length).toBeGreaterThan(100);
          expect(await revoked()).toEqual({ count: clients.length, revoked: 0 });
        },
      );

      test.each<{ mode: Refresh; next: string; at: number }>([
        { mode: 'transparent', next: 'published already', at: START + 23.5 * HOUR },
        { mode: 'endpoint', next: 'not published yet', at: START + HOUR },
      ])(
        'after an emergency rotation, tokens of the dropped key are refused within the life of the cache, and clients go on (refresh: $mode, next key $next)',
        async ({ mode, at }) => {
          const { signIn, visit, withBearer, refresh, url } = await start(mode);
          await setTime(at);
          const clients = await Promise.all(Array.from({ length: 20 }, async (_, n) => signIn(n)));
          const sessions = (await Promise.all(clients.map(visit))).map(({ body }) => body as { id: string });
          // The thief has used some of the tokens here, but not others.
          const stolen = [...clients.map(tokenOf), tokenOf(await signIn(20))];
          await setTime(at + MINUTE);
          for (const answer of await Promise.all(clients.map(visit))) expect(answer.status).toBe(200);

          const { current, dropped } = await issuer.call('rotateKeys', 'current');
          expect(new Set(stolen.map(kidOf))).toEqual(new Set(dropped));
          await setTime(at + MINUTE + CACHE_MAX_AGE);
          for (const token of stolen) {
            expect(await withBearer(token)).toMatchObject(REFUSED);
            expect(await withBearer(token, url)).toMatchObject(REFUSED);
          }
          for (const [n, browser] of clients.entries()) {
            expect(await visit(browser)).toMatchObject(REFUSED);
            await refresh(browser);
            expect(kidOf(tokenOf(browser))).toBe(current);
            const answer = await visit(browser);
            expect(answer).toMatchObject({ status: 200, body: { id: sessions[n]!.id, userId: n } });
          }
          await setTime(at + MINUTE + 2 * CACHE_MAX_AGE);
          for (const answer of await Promise.all(clients.map(visit))) expect(answer.status).toBe(200);
          expect(await revoked()).toEqual({ count: 21, revoked: 0 });
        },
      );

      test('after an emergency rotation, the first token of a new key takes those of the dropped one along', async () => {
        const { signIn, visit, withBearer, refresh } = await start('transparent');
        const [early, late] = [await signIn(1), await signIn(2)];
        const stolen = [tokenOf(early), tokenOf(late)];
        for (const token of stolen) expect((await withBearer(token)).status).toBe(200);
        await setTime(START + COOLDOWN);
        await issuer.call('rotateKeys', 'all');
        await refresh(early);
        expect(await visit(early)).toMatchObject({ status: 200, body: { userId: 1 } });
        for (const token of stolen) expect(await withBearer(token)).toMatchObject(REFUSED);
        expect(await visit(late)).toMatchObject(REFUSED);
        await refresh(late);
        expect(await visit(late)).toMatchObject({ status: 200, body: { userId: 2 } });
      });
    });
  },
);

function tokenOf(browser: Browser): string {
  return browser.cookie('session_access')!.value;
}

function kidOf(token: string): string {
  return decodeProtectedHeader(token).kid!;
}

async function junk(): Promise<string> {
  const { privateKey } = await generateKeyPair('ES256');
  return new SignJWT({ sub: 'nobody' })
    .setProtectedHeader({ alg: 'ES256', kid: 'unknown', typ: 'at+jwt' })
    .sign(privateKey);
}
