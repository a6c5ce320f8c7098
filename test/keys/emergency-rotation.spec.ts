import { decodeProtectedHeader } from 'jose';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  type DroppedKeys,
  InvalidOptionError,
  type KeyRotation,
  SessionEntity,
  SessionError,
  SessionKeyEntity,
  type SessionModuleOptions,
  type SigningAlgorithm,
  SigningKeyNotFoundError,
} from 'nestjs-session-tokens';
import { generateJwk } from '../../lib/keys/signing-key.js';
import { type LibraryProcess, plainOptions, setClocks, useProcesses } from '../processes/process-pool.js';
import { type Answer, Browser } from '../support/browser.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { seededRandom } from '../support/random.js';
import { beforeQuery, shuffleStatements } from '../support/statements.js';
import { DAY, HOUR, MINUTE, pass, SECOND, SETTLED, START, stopClock, TTL } from '../support/time.js';
import { useWorld, type Instance } from '../support/world.js';

/** The default `revocationInterval`. */
const INTERVAL = SECOND;
const CLIENTS = 100;
const THREE = [0, 1, 2];

describe('three processes', { timeout: MINUTE }, () => {
  const processes = useProcesses(3);
  const setTime = (time: number) => setClocks(processes, time);

  describe.each(databases)('on $name', (kind) => {
    let database: TestDatabase;

    beforeEach(async () => {
      stopClock();
      database = await kind.create();
      await setTime(START);
    });
    afterEach(async () => {
      await Promise.all(processes.map((each) => each.call('close')));
      await Promise.all(processes.map((each) => each.call('stop')));
      await database.remove();
      vi.useRealTimers();
    });

    const start = async (each: LibraryProcess, options: SessionModuleOptions = {}) =>
      each.call('start', plainOptions(database), options);
    const look = async () => {
      const dataSource = await connect(database);
      const keys = await dataSource
        .getRepository(SessionKeyEntity)
        .find({ where: { purpose: 'access' }, order: { sequence: 'ASC' } });
      const rows = await dataSource.getRepository(SessionEntity).find();
      await dataSource.destroy();
      return { keys, rows };
    };
    test.each([
      { isPublished: false, at: START + HOUR, count: CLIENTS },
      { isPublished: true, at: START + DAY - HOUR / 2, count: 30 },
    ])(
      'of which one drops the key that signs: all refuse its tokens within the interval, and every client can refresh (next key published: $isPublished)',
      async ({ isPublished, at, count }) => {
        await Promise.all(processes.map((each) => start(each)));
        await setTime(at);
        const older = await issueIn(processes, 2 * Math.ceil(count / 5));
        const now = at + TTL + SETTLED;
        /** Exchanges some of the tokens, in any process. */
        const refresh = async (issued: typeof older) =>
          Promise.all(
            issued.map(
              async ({ refreshToken }, n) => (await processes[n % 2]!.call('refresh', refreshToken, 1))[0]!,
            ),
          );
        // Some were refreshed, so their tokens are unproven. Some of these would be proven by their next use.
        await setTime(at + TTL);
        const settled = await refresh(older.slice(0, older.length / 2));
        await setTime(now);
        const young = await refresh(older.slice(older.length / 2));
        const signedIn = await issueIn(processes, count - older.length);
        const clients = [...young, ...signedIn, ...settled];
        expect(clients).toHaveLength(count);
        const tokens = clients.map(({ accessToken }) => accessToken);
        const [dropped, ...published] = (await look()).keys;
        expect(new Set(tokens.map(kidOf))).toEqual(new Set([dropped!.kid]));
        // The last process has seen half of them. So some are in its cache, and it must verify the others.
        const [dropper, busy, other] = processes as [LibraryProcess, LibraryProcess, LibraryProcess];
        expect(await outcomesOf([dropper, busy], tokens)).toEqual(['valid']);
        expect(await outcomesOf([other], tokens.slice(count / 2))).toEqual(['valid']);

        const rotation = await dropper.call('rotateKeys', 'current');
        expect(rotation.dropped).toEqual([dropped!.kid]);
        const { keys } = await look();
        expect(keys.map(({ kid }) => kid)).toEqual([rotation.current]);
        expect(published.map(({ kid }) => kid)).toEqual(isPublished ? [rotation.current] : []);
        expect(await outcomesOf([dropper], tokens)).toEqual(['try_refresh']);

        await setTime(now + INTERVAL);
        expect(await outcomesOf(processes, tokens)).toEqual(['try_refresh']);
        const refreshed = await Promise.all(
          clients.map(({ refreshToken }, n) => processes[n % 3]!.call('refresh', refreshToken!, 1)),
        );
        const renewed = refreshed.map(([pair]) => pair!.accessToken);
        expect(new Set(renewed.map(kidOf))).toEqual(new Set([rotation.current]));
        expect(await outcomesOf(processes, renewed)).toEqual(['valid']);
        const { rows } = await look();
        expect(rows.filter(({ revokedAt }) => revokedAt === null)).toHaveLength(count);
      },
    );

    test.each<{ drop: DroppedKeys; count: number }>([
      { drop: 'current', count: CLIENTS },
      { drop: 'all', count: 20 },
    ])(
      'of which one drops $drop: $count clients with cookies go on, in whichever process, and none is signed out',
      async ({ drop, count }) => {
        const urls = await Promise.all(
          processes.map((each) => each.call('listen', plainOptions(database), {})),
        );
        const random = seededRandom(4);
        const anywhere = () => urls[Math.floor(random() * urls.length)]!;
        const signIn = async (userId: number) => {
          const browser = new Browser(anywhere());
          const { body } = await browser.post('/login', { userId });
          return { browser, userId, id: (body as { id: string }).id };
        };
        const answers: Answer[] = [];
        /** Each client sends some requests at once, to any process. */
        const round = async (clients: Awaited<ReturnType<typeof signIn>>[]) => {
          await Promise.all(
            clients.flatMap(({ browser, userId, id }) =>
              Array.from({ length: 1 + Math.floor(random() * 2) }, async () => {
                const isSafe = random() < 0.7;
                const answer = isSafe
                  ? await browser.get('/me', { at: anywhere() })
                  : await browser.post('/orders', {}, { at: anywhere() });
                answers.push(answer);
                expect(answer).toMatchObject({
                  status: 200,
                  body: isSafe ? { id, userId } : { orderedBy: id },
                });
              }),
            ),
          );
        };
        // Some were refreshed, some of these have used their new tokens, and some have just signed in.
        const half = Array.from({ length: count / 2 }, (_, index) => index);
        const older = await Promise.all(half.map(signIn));
        await setTime(START + TTL);
        await round(older);
        await round(older.slice(0, count / 4));
        const clients = [...older, ...(await Promise.all(half.map((index) => signIn(index + count / 2))))];
        expect(clients).toHaveLength(count);
        const begin = START + TTL + SETTLED;
        await setTime(begin);

        const stolen = clients.map(({ browser }) => browser.cookie('session_access')!.value);
        const { dropped } = await processes[1]!.call('rotateKeys', drop);
        expect(stolen.map(kidOf)).toEqual(stolen.map(() => dropped[0]));

        for (const after of [0, 0.6, 1, 40, 40 + SETTLED / SECOND]) {
          await setTime(begin + after * SECOND);
          await round(clients);
          if (after < INTERVAL / SECOND) continue;
          for (const each of processes) {
            expect(await outcomesOf([each], stolen), `after ${after} s`).toEqual(['try_refresh']);
          }
        }
        // By now all clients have proven access tokens.
        await round(clients);
        const before = answers.length;
        await round(clients);
        expect(answers.slice(before).flatMap(({ setCookies }) => setCookies)).toEqual([]);
        const { keys, rows } = await look();
        expect(rows.filter(({ revokedAt }) => revokedAt === null)).toHaveLength(count);
        expect(rows).toHaveLength(count);
        expect(keys).toHaveLength(1);
        expect(new Set(clients.map(({ browser }) => kidOf(browser.cookie('session_access')!.value)))).toEqual(
          new Set([keys[0]!.kid]),
        );
        const replayed = await fetch(`${urls[0]}/me`, { headers: { authorization: `Bearer ${stolen[0]}` } });
        expect(replayed.status).toBe(401);
        expect(await replayed.json()).toMatchObject({ code: 'try_refresh' });
      },
    );

    test('that drop at the same moment agree on a key afterwards, and none of the old ones is left', async () => {
      await Promise.all(processes.map((each) => start(each)));
      const rounds: (DroppedKeys | null)[][] = [
        ['current', 'current', 'current'],
        ['all', 'all', 'all'],
        ['current', 'all', 'current'],
        ['current', null, 'all'],
      ];
      for (const [n, drops] of rounds.entries()) {
        const now = START + n * HOUR;
        await setTime(now);
        const tokens = (await issueIn(processes, 9)).map(({ accessToken }) => accessToken);
        const old = new Set(tokens.map(kidOf));
        await Promise.all(processes.map((each, index) => each.call('rotateKeys', drops[index]!)));
        await setTime(now + INTERVAL);
        expect(await outcomesOf(processes, tokens)).toEqual(['try_refresh']);
        const { keys } = await look();
        expect(keys.filter(({ kid }) => old.has(kid))).toEqual([]);
        const renewed = (await issueIn(processes, 9)).map(({ accessToken }) => accessToken);
        expect(new Set(renewed.map(kidOf)).size).toBe(1);
        expect(await outcomesOf(processes, renewed)).toEqual(['valid']);
      }
    });

    test('that are started again one after the other with another algorithm, through all four, refuse nothing', async () => {
      const ring: SigningAlgorithm[] = ['HS256', 'ES256', 'EdDSA', 'RS256', 'HS256'];
      const running = new Set<LibraryProcess>();
      let now = START;
      let alive: { token: string; until: number }[] = [];
      const signed = new Set<string>();
      /** Expects that every running process issues tokens, and that every process accepts all tokens that must be valid. */
      const use = async () => {
        alive = alive.filter(({ until }) => until > now);
        for (const each of running) {
          const { accessToken } = (await each.call('issue', 1))[0]!;
          alive.push({ token: accessToken, until: now + TTL });
          signed.add(decodeProtectedHeader(accessToken).alg!);
        }
        expect(
          await outcomesOf(
            [...running],
            alive.map(({ token }) => token),
          ),
        ).toEqual(['valid']);
      };
      for (const algorithm of ring) {
        for (const each of processes) {
          running.delete(each);
          await each.call('stop');
          await start(each, { accessToken: { algorithm }, signingKeys: { rotation: '1h' } });
          running.add(each);
          await use();
          await setTime((now += 2 * MINUTE));
        }
        // The next key is published a quarter of a rotation before it signs.
        for (let step = 0; step < 3; step++) {
          await setTime((now += 5 * MINUTE));
          await use();
        }
        expect(decodeProtectedHeader(alive.at(-1)!.token).alg).toBe(algorithm);
      }
      expect([...signed]).toEqual(['HS256', 'ES256', 'EdDSA', 'RS256']);
    });
  });
});

describe.each(databases)('signing keys that are rotated by hand on $name', (kind) => {
  const world = useWorld(kind);

  const kids = async () => (await world.keys('access')).map(({ kid }) => kid);

  test('without a drop: another key signs at once, and nobody has to refresh', async () => {
    const instances = await world.start(3);
    const before = await newToken(instances[1]!);
    const [first] = await kids();
    const rotation = await instances[0]!.service.rotateSigningKeys();
    expect(rotation).toEqual({ current: (await kids())[1], dropped: [] });
    expect(kidOf(await newToken(instances[0]!))).toBe(rotation.current);

    pass(INTERVAL);
    expect(await outcomesIn(instances, before)).toEqual(everywhere('valid'));
    for (const each of instances) {
      const after = await newToken(each);
      expect(kidOf(after)).toBe(rotation.current);
      expect(await outcomesIn(instances, after)).toEqual(everywhere('valid'));
    }
    pass(TTL - INTERVAL - SECOND);
    for (const each of instances) await each.signingKeys.removeRetired(Date.now());
    expect(await outcomesIn(instances, before)).toEqual(everywhere('valid'));
    expect(await kids()).toContain(first);
  });

  test('without a drop the published key takes over, which everybody knows: not one token is refused', async () => {
    const instances = await world.start(3);
    pass(DAY - HOUR);
    const before = await Promise.all(instances.map(newToken));
    pass(INTERVAL);
    for (const token of before) expect(await outcomesIn(instances, token)).toEqual(everywhere('valid'));
    const [, published] = await kids();
    expect((await instances[2]!.service.rotateSigningKeys()).current).toBe(published);
    const after = await Promise.all(instances.map(newToken));
    expect(kidOf(after[2]!)).toBe(published);
    for (const token of [...before, ...after]) {
      expect(await outcomesIn(instances, token)).toEqual(everywhere('valid'));
    }
    pass(INTERVAL);
    for (const each of instances) expect(kidOf(await newToken(each))).toBe(published);
    expect(await kids()).toHaveLength(2);
  });

  test('and go on by schedule afterwards', async () => {
    const instances = await world.start(3);
    pass(5 * HOUR);
    await instances[0]!.service.rotateSigningKeys({ drop: 'current' });
    const rotatedAt = Date.now();
    const signers = new Map<string, number>();
    const outcomes = new Set<string>();
    for (let hour = 0; hour <= 48; hour++) {
      const token = await newToken(instances[hour % 3]!);
      if (!signers.has(kidOf(token))) signers.set(kidOf(token), Date.now() - rotatedAt);
      pass(INTERVAL);
      for (const outcome of await outcomesIn(instances, token)) outcomes.add(outcome);
      pass(HOUR - INTERVAL);
    }
    expect(outcomes).toEqual(new Set(['valid']));
    expect([...signers.values()]).toEqual([0, DAY, 2 * DAY]);
  });

  test('drop a key that signs no more: its tokens are refused, and nobody else notices', async () => {
    const instances = await world.start(3);
    pass(DAY - HOUR);
    await newToken(instances[0]!);
    pass(HOUR - MINUTE);
    const retired = await newToken(instances[1]!);
    pass(MINUTE);
    const present = await newToken(instances[2]!);
    expect(await outcomesIn(instances, retired)).toEqual(everywhere('valid'));
    expect(kidOf(present)).not.toBe(kidOf(retired));

    expect(await instances[0]!.service.rotateSigningKeys({ drop: kidOf(retired) })).toEqual({
      current: kidOf(present),
      dropped: [kidOf(retired)],
    });
    pass(INTERVAL);
    expect(await outcomesIn(instances, retired)).toEqual(everywhere('try_refresh'));
    expect(await outcomesIn(instances, present)).toEqual(everywhere('valid'));
    expect(kidOf(await newToken(instances[1]!))).toBe(kidOf(present));
  });

  test('drop the key that is to sign next: another one is made in its place, in good time', async () => {
    const instances = await world.start(3);
    pass(DAY - HOUR);
    const present = await newToken(instances[0]!);
    const [current, next] = await kids();
    expect(await instances[1]!.service.rotateSigningKeys({ drop: next })).toEqual({
      current,
      dropped: [next],
    });
    pass(INTERVAL);
    expect(await outcomesIn(instances, present)).toEqual(everywhere('valid'));
    pass(HOUR + MINUTE);
    const later = await newToken(instances[2]!);
    expect([current, next]).not.toContain(kidOf(later));
    expect(await outcomesIn(instances, later)).toEqual(everywhere('valid'));
  });

  test('drop all: the published key goes, too, because it can have leaked as well', async () => {
    const instances = await world.start(3);
    pass(DAY - HOUR);
    await newToken(instances[0]!);
    pass(HOUR);
    const retired = await newToken(instances[0]!);
    pass(DAY - HOUR);
    const present = await newToken(instances[1]!);
    const old = await kids();
    expect(old).toHaveLength(3);
    const rotation = await instances[2]!.service.rotateSigningKeys({ drop: 'all' });
    expect(rotation.dropped).toEqual(old);
    expect(await kids()).toEqual([rotation.current]);
    expect(old).not.toContain(rotation.current);
    pass(INTERVAL);
    for (const token of [retired, present]) {
      expect(await outcomesIn(instances, token)).toEqual(everywhere('try_refresh'));
    }
  });

  test('know no key of another name, say so, and change nothing', async () => {
    const [one] = (await world.start(1)) as [Instance];
    const before = await world.keys('access');
    for (const kid of ['no-such-key', '', 'CURRENT']) {
      const dropping = one.service.rotateSigningKeys({ drop: kid });
      await expect(dropping).rejects.toThrow(SigningKeyNotFoundError);
      await expect(dropping).rejects.toMatchObject({ code: 'signing_key_not_found', kid });
    }
    expect(await world.keys('access')).toEqual(before);
  });

  test('do not know a key that has been dropped already, or a key of refresh tokens', async () => {
    const [one, two] = (await world.start(2)) as [Instance, Instance];
    const { dropped } = await one.service.rotateSigningKeys({ drop: 'current' });
    const [refreshKey] = await world.keys('refresh');
    for (const kid of [dropped[0]!, refreshKey!.kid]) {
      await expect(two.service.rotateSigningKeys({ drop: kid })).rejects.toMatchObject({
        code: 'signing_key_not_found',
      });
    }
    expect(await world.keys('refresh')).toHaveLength(1);
  });

  test('are not this module’s to rotate where the application gives them', async () => {
    const key = { ...(await generateJwk('ES256')), kid: 'mine', alg: 'ES256' };
    const [one] = (await world.start(1, { signingKeys: { source: () => [key] } })) as [Instance];
    for (const drop of [undefined, 'current', 'all', 'mine']) {
      const rotating = one.service.rotateSigningKeys({ drop });
      await expect(rotating).rejects.toThrow(InvalidOptionError);
      await expect(rotating).rejects.toMatchObject({ code: 'invalid_option', option: 'signingKeys.source' });
    }
    expect(await outcomeIn(one, await newToken(one))).toBe('valid');
  });

  test('drop all, and meanwhile the new key: the published one, which is about to go, does not come back', async () => {
    const [one, two] = (await world.start(2)) as [Instance, Instance];
    pass(DAY - HOUR / 2);
    await newToken(one);
    expect(await kids()).toHaveLength(2);
    const dropsCurrent: { result?: Promise<KeyRotation> } = {};
    beforeQuery(one.dataSource, async (query) => {
      if (!/^DELETE/i.test(query)) return;
      dropsCurrent.result ??= two.service.rotateSigningKeys({ drop: 'current' });
      await dropsCurrent.result;
    });
    await one.service.rotateSigningKeys({ drop: 'all' });
    const { current } = await dropsCurrent.result!;
    expect(await kids()).toEqual([current]);
    pass(INTERVAL);
    const token = await newToken(one);
    expect(await outcomesIn([one, two], token)).toEqual(everywhere('valid').slice(0, 2));
  });

  test('at the same moment, in any order of their statements: there is always a key, and all agree on it', async () => {
    const random = seededRandom(17);
    const instances = await world.start(3);
    shuffleStatements(instances, random);
    const DROPS: (DroppedKeys | undefined)[][] = [
      ['current', 'current', undefined],
      ['all', 'all', undefined],
      ['all', 'current', undefined],
    ];
    for (let round = 0; round < 24; round++) {
      // Sometimes the next key is published, and sometimes it is just being made.
      pass(round % 4 === 0 ? DAY - HOUR : HOUR);
      if (round % 2 === 0) await newToken(instances[round % 3]!);
      const before = await kids();
      const drops = DROPS[round % 3]!;
      const asked = instances.map(() => drops[Math.floor(random() * drops.length)]);
      const rotations = await Promise.all(
        instances.map(async ({ service }, index) => service.rotateSigningKeys({ drop: asked[index] })),
      );
      // Each process that was asked to drop a key has dropped it, even if another process was faster.
      expect(rotations.map(({ dropped }) => dropped.length > 0)).toEqual(asked.map(Boolean));
      const gone = rotations.flatMap(({ dropped }) => dropped);
      const left = await world.keys('access');
      expect(left.filter(({ kid }) => gone.includes(kid))).toEqual([]);
      const known = new Set([...gone, ...left.map(({ kid }) => kid)]);
      expect(rotations.filter(({ current }) => !known.has(current))).toEqual([]);
      expect(left.filter(({ activeAt }) => activeAt <= Date.now()).length).toBeGreaterThanOrEqual(1);
      expect(left.length).toBeLessThanOrEqual(before.length + 3);
      pass(INTERVAL);
      const tokens = await Promise.all(instances.map(newToken));
      expect(new Set(tokens.map(kidOf)).size).toBe(1);
      for (const token of tokens) expect(await outcomesIn(instances, token)).toEqual(everywhere('valid'));
      for (const each of instances) await each.signingKeys.removeRetired(Date.now());
    }
  });

  test('a change of the algorithm by processes that are set up differently makes no keys without end', async () => {
    const as = (algorithm: SigningAlgorithm) => world.start(1, { accessToken: { algorithm } });
    const [[first]] = (await Promise.all([as('HS256'), as('HS256')])) as [[Instance], [Instance]];
    expect(await world.keys('access')).toHaveLength(1);
    // In any order of starts, each process adds at most one key of its own algorithm.
    const instances = (await Promise.all([as('ES256'), as('HS256'), as('ES256')])).flat();
    const afterStart = (await world.keys('access')).length;
    expect(afterStart).toBeLessThanOrEqual(3);

    const DAYS = 3;
    const outcomes = new Set<string>();
    let most = 0;
    for (let hour = 0; hour < DAYS * 24; hour++) {
      pass(HOUR);
      const signer = [first, ...instances][hour % 4]!;
      const token = await newToken(signer);
      pass(INTERVAL);
      outcomes.add(await outcomeIn(instances[hour % 3]!, token));
      pass(-INTERVAL);
      await signer.signingKeys.removeRetired(Date.now());
      most = Math.max(most, (await kids()).length);
    }
    expect(outcomes).toEqual(new Set(['valid']));
    expect(most).toBeLessThanOrEqual(3);
    const made = (await world.keys('access')).at(-1)!.sequence;
    expect(made).toBeLessThanOrEqual(afterStart + DAYS + 1);
  });
});

function kidOf(token: string): string {
  return decodeProtectedHeader(token).kid!;
}

/** Makes this number of sessions, spread over the processes. */
async function issueIn(processes: readonly LibraryProcess[], count: number) {
  const issued = processes.map((each, n) => each.call('issue', Math.floor((count + n) / processes.length)));
  return (await Promise.all(issued)).flat();
}

/** The set of all results of verifying these tokens in all processes. */
async function outcomesOf(processes: readonly LibraryProcess[], tokens: string[]): Promise<string[]> {
  const outcomes = await Promise.all(processes.map((each) => each.call('outcomes', tokens)));
  return [...new Set(outcomes.flat())];
}

async function newToken({ service }: Instance): Promise<string> {
  return (await service.tokens.issue({ userId: 1 })).accessToken.token;
}

async function outcomeIn({ service }: Instance, token: string): Promise<string> {
  return service.tokens.verify(token).then(
    () => 'valid',
    (error: unknown) => (error instanceof SessionError ? error.code : String(error)),
  );
}

async function outcomesIn(instances: readonly Instance[], token: string): Promise<string[]> {
  return Promise.all(instances.map(async (each) => outcomeIn(each, token)));
}

function everywhere(outcome: string): string[] {
  return THREE.map(() => outcome);
}
