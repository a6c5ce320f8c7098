import type { DataSource } from 'typeorm';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type JsonValue,
  LookAgainError,
  type RefreshedSession,
  SessionEntity,
  type SessionEvent,
  SessionOverError,
  type SessionModuleOptions,
} from 'nestjs-session-tokens';
import { parseRefreshToken } from '../../lib/protocol/refresh-token.codec.js';
import { databases } from '../support/databases.js';
import { seededRandom } from '../support/random.js';
import { shuffleStatements } from '../support/statements.js';
import { HOUR, pass, SECOND, SETTLED, TTL } from '../support/time.js';
import { untyped } from '../support/untyped.js';
import { useWorld, insist, type Instance } from '../support/world.js';

describe.each(databases)('concurrency on $name', (kind) => {
  const world = useWorld(kind);

  const startFour = async (options?: SessionModuleOptions) => {
    const instances = await world.start(4, options);
    const thefts: SessionEvent[] = [];
    for (const { events } of instances) {
      events.stream.subscribe((event) => event.type === 'theft' && thefts.push(event));
    }
    return { instances, thefts };
  };

  describe('twenty exchanges of one refresh token over four instances', () => {
    let countUpdates: () => Promise<number>;

    beforeAll(async () => {
      const { dataSource } = await world.connect();
      await installUpdateCounter(dataSource);
    });
    beforeEach(async () => {
      const { dataSource } = await world.connect();
      countUpdates = async () => {
        const [row] = await dataSource.query<{ n: number | string }[]>(
          'SELECT count(*) AS n FROM row_update',
        );
        await dataSource.query('DELETE FROM row_update');
        return Number(row!.n);
      };
      await countUpdates();
    });

    // With RETURNING, each of them writes the same in its one statement. Without it, the others read that it is already
    // written.
    const writes = kind.name === 'mysql' ? 1 : 20;

    test.each([
      ['with the default reuse window', undefined],
      ['with strict single use', 0],
    ])('all succeed, none writes twice, and the row is consistent: %s', async (_, reuseWindow) => {
      const { instances, thefts } = await startFour({ reuseWindow });
      const { session, refreshToken } = await instances[0]!.service.tokens.issue({ userId: 1 });
      pass(TTL);
      const refreshed = await race(instances, refreshToken.token);

      expect(await countUpdates()).toBe(writes);
      const used = parseRefreshToken(refreshToken.token)!;
      expect(await rowOf(instances[0]!, session.id)).toMatchObject({
        generation: 0,
        redeemedBy: used.tokenId,
        revokedAt: null,
        lastSeenAt: Date.now(),
      });
      const siblings = refreshed.map((each) => parseRefreshToken(each.refreshToken!.token)!);
      expect(siblings.every(({ generation }) => generation === 1)).toBe(true);
      expect(new Set(siblings.map(({ tokenId }) => tokenId)).size).toBe(20);
      expect(thefts).toEqual([]);
    });

    test('at first use of the next generation, too, none writes twice', async () => {
      const { instances } = await startFour();
      const { session, refreshToken } = await instances[0]!.service.tokens.issue({ userId: 1 });
      pass(TTL);
      const siblings = await race(instances, refreshToken.token);
      pass(SETTLED);
      await countUpdates();
      await Promise.all(
        siblings.map(async ({ accessToken }, n) =>
          instances[(n + 1) % 4]!.service.tokens.verify(accessToken.token),
        ),
      );
      expect(await countUpdates()).toBe(writes);
      expect(await rowOf(instances[0]!, session.id)).toMatchObject({ generation: 1, redeemedBy: null });
    });

    test('whichever pair the client keeps, it goes on, and nobody is called a thief', async () => {
      const { instances, thefts } = await startFour();
      const { refreshToken } = await instances[0]!.service.tokens.issue({ userId: 1 });
      const random = seededRandom(7);
      let jar = refreshToken.token;
      for (let round = 0; round < 8; round++) {
        pass(TTL);
        const answers = await race(instances, jar);
        if (round % 2 === 0) {
          pass(SETTLED);
          // Requests with the access tokens come in any order. The first one proves the generation.
          await Promise.all(
            answers.map(async ({ accessToken }, n) =>
              instances[(n * 3) % 4]!.service.tokens.verify(accessToken.token),
            ),
          );
        }
        jar = answers[Math.floor(random() * answers.length)]!.refreshToken!.token;
      }
      expect(thefts).toEqual([]);
      await expect(instances[3]!.service.tokens.refresh(jar)).resolves.toBeDefined();
    });

    test('late and mixed with first uses of the access tokens, in any order, harm nobody', async () => {
      const { instances, thefts } = await startFour();
      const random = seededRandom(11);
      shuffleStatements(instances, random);
      const { refreshToken } = await instances[0]!.service.tokens.issue({ userId: 1 });
      const pick = () => instances[Math.floor(random() * 4)]!;
      const counts = { exchanged: 0, old: 0 };
      let jar = refreshToken.token;
      for (let round = 0; round < 8; round++) {
        pass(TTL);
        const siblings = await Promise.all(
          Array.from({ length: 6 }, async () => pick().service.tokens.refresh(jar)),
        );
        pass(SETTLED);
        // The first use proves the generation. Some of the late exchanges of the previous token come before that.
        const [late, uses] = await Promise.all([
          Promise.allSettled(Array.from({ length: 4 }, async () => pick().service.tokens.refresh(jar))),
          Promise.allSettled(
            siblings.map(async ({ accessToken }) => pick().service.tokens.verify(accessToken.token)),
          ),
        ]);
        expect(uses.filter(({ status }) => status === 'rejected')).toEqual([]);
        const old = late.filter((each) => each.status === 'rejected').map(({ reason }) => reason as unknown);
        expect(old.filter((reason) => !(reason instanceof LookAgainError))).toEqual([]);
        counts.old += old.length;
        counts.exchanged += late.length - old.length;
        const answers = [
          ...siblings,
          ...late.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : [])),
        ];
        jar = answers[Math.floor(random() * answers.length)]!.refreshToken!.token;
      }
      expect(thefts).toEqual([]);
      // The interleavings were of both kinds.
      expect(counts).toEqual({ exchanged: expect.any(Number), old: expect.any(Number) });
      expect(Math.min(...Object.values(counts))).toBeGreaterThan(3);
      await expect(instances[0]!.service.tokens.refresh(jar)).resolves.toBeDefined();
    });
  });

  describe('updates of session data', () => {
    test('by functions lose nothing, though forty come at once over four instances, amid refreshes', async () => {
      const { instances } = await startFour();
      const { session, refreshToken } = await instances[0]!.service.tokens.issue({ userId: 1, data: [] });
      pass(TTL);
      const [refreshed] = await Promise.all([
        instances[1]!.service.tokens.refresh(refreshToken.token),
        ...Array.from({ length: 40 }, async (_, n) =>
          instances[n % 4]!.service.updateData(session.id, add(n)),
        ),
        instances[2]!.service.tokens.refresh(refreshToken.token),
      ]);
      pass(SETTLED);
      await instances[3]!.service.tokens.verify(refreshed.accessToken.token);
      const { data } = (await instances[0]!.service.find(session.id))!;
      expect((untyped(data) as number[]).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 40 }, (_, n) => n),
      );
    });

    test('do not undo those of claims, nor the other way round', async () => {
      const { instances } = await startFour();
      const { session } = await instances[0]!.service.tokens.issue({
        userId: 1,
        claims: { n: 0 },
        data: { n: 0 },
      });
      await Promise.all(
        Array.from({ length: 10 }, async (_, n) => [
          await instances[n % 4]!.service.updateData(session.id, next),
          await instances[(n + 1) % 4]!.service.updateClaims(session.id, next),
        ]),
      );
      expect(await instances[0]!.service.find(session.id)).toMatchObject({
        claims: { n: 10 },
        data: { n: 10 },
      });
    });
  });

  test('a revocation wins over refreshes and first uses in flight, two hundred times', async () => {
    const { instances, thefts } = await startFour();
    const [one, two, three, four] = instances as [Instance, Instance, Instance, Instance];
    shuffleStatements(instances, seededRandom(3));
    let survivedUntilRevoked = 0;
    const refusals = { uses: [] as unknown[], refreshes: [] as unknown[] };
    const wrong: string[] = [];
    for (let round = 0; round < 200; round++) {
      const { session, refreshToken } = await one.service.tokens.issue({ userId: 1 });
      pass(TTL);
      // In every second round the token was exchanged before. Then late requests with the same token, and a first use, are
      // in flight.
      const first = round % 2 === 0 ? await two.service.tokens.refresh(refreshToken.token) : undefined;
      if (first) pass(SETTLED);
      const accessTokens = first ? [first.accessToken.token] : [];
      const refreshTokens = [refreshToken.token, ...(first ? [first.refreshToken!.token] : [])];
      const [revoked, used, ...refreshed] = await Promise.allSettled([
        one.service.revoke(session.id),
        first && two.service.tokens.verify(first.accessToken.token),
        three.service.tokens.refresh(refreshToken.token),
        four.service.tokens.refresh(refreshToken.token),
      ]);
      const isRevoked = revoked.status === 'fulfilled' && revoked.value;
      if (!isRevoked) wrong.push(`round ${round}: was not revoked`);

      const replacement = used.status === 'fulfilled' ? used.value?.newAccessToken : undefined;
      if (replacement) accessTokens.push(replacement.token);
      if (used.status === 'rejected') refusals.uses.push(used.reason);
      for (const each of refreshed) {
        if (each.status === 'rejected') {
          refusals.refreshes.push(each.reason);
        } else {
          survivedUntilRevoked++;
          accessTokens.push(each.value.accessToken.token);
          refreshTokens.push(each.value.refreshToken!.token);
        }
      }
      pass(SECOND); // the interval of the feed
      for (const { service } of instances) {
        for (const token of accessTokens) {
          if (!(await isOver(service.tokens.verify(token)))) wrong.push(`round ${round}: ${token} is in use`);
        }
      }
      for (const token of refreshTokens) {
        if (!(await isOver(insist(four.service, token)))) wrong.push(`round ${round}: ${token} is in use`);
      }
      // What is left of the session is nothing that a refresh could have written.
      const { revokedAt, expiresAt, secretHash } = await rowOf(one, session.id);
      const isErased = expiresAt - revokedAt! < HOUR && secretHash === '';
      if (!isErased) wrong.push(`round ${round}: the row was written after its end`);
    }
    expect(wrong).toEqual([]);
    expect(thefts).toEqual([]);
    expect(refusals.uses.filter((error) => !(error instanceof SessionOverError))).toEqual([]);
    expect(refusals.refreshes.filter((error) => !(error instanceof LookAgainError))).toEqual([]);
    // The interleavings were of both kinds.
    expect(survivedUntilRevoked).toBeGreaterThan(40);
    expect(survivedUntilRevoked).toBeLessThan(360);
  });

  test('a session revoked by several at once was revoked by one of them', async () => {
    const { instances } = await startFour();
    const { session } = await instances[0]!.service.tokens.issue({ userId: 1 });
    const results = await Promise.all(
      Array.from({ length: 12 }, async (_, n) => instances[n % 4]!.service.revoke(session.id)),
    );
    expect(results.filter(Boolean)).toHaveLength(1);
  });
});

/** Whether a call is refused because the session is over. */
async function isOver(call: Promise<unknown>): Promise<boolean> {
  return (await call.catch((error: unknown) => error)) instanceof SessionOverError;
}

async function rowOf({ dataSource }: Instance, id: string): Promise<SessionEntity> {
  return dataSource.getRepository(SessionEntity).findOneByOrFail({ id });
}

/** Exchanges one refresh token twenty times at once. */
async function race(instances: readonly Instance[], token: string): Promise<RefreshedSession[]> {
  return Promise.all(
    Array.from({ length: 20 }, async (_, n) => instances[n % 4]!.service.tokens.refresh(token)),
  );
}

function add(n: number): (present: JsonValue) => JsonValue {
  return (present) => [...(present as number[]), n];
}

function next(present: JsonValue): JsonValue {
  return { n: (present as { n: number }).n + 1 };
}

/** Installs a trigger that records every session row that a statement changes. */
async function installUpdateCounter(dataSource: DataSource): Promise<void> {
  await dataSource.query('CREATE TABLE row_update (n int)');
  const insert = 'INSERT INTO row_update VALUES (1)';
  switch (dataSource.options.type) {
    case 'postgres':
      await dataSource.query(
        `CREATE FUNCTION count_update() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${insert}; RETURN NULL; END $$`,
      );
      await dataSource.query(
        'CREATE TRIGGER row_update AFTER UPDATE ON user_session FOR EACH ROW EXECUTE FUNCTION count_update()',
      );
      break;
    case 'better-sqlite3':
      await dataSource.query(
        `CREATE TRIGGER on_update AFTER UPDATE ON user_session FOR EACH ROW BEGIN ${insert}; END`,
      );
      break;
    default:
      await dataSource.query(`CREATE TRIGGER on_update AFTER UPDATE ON user_session FOR EACH ROW ${insert}`);
  }
}
