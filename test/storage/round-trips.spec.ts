import { describe, expect, test } from 'vitest';
import { LookAgainError, SessionEntity, TokenTheftError, TryRefreshError } from 'nestjs-session-tokens';
import { parseRefreshToken } from '../../lib/protocol/refresh-token.codec.js';
import type { RotationState } from '../../lib/protocol/rotation.js';
import { databases } from '../support/databases.js';
import { DAY, pass, SETTLED, TTL } from '../support/time.js';
import { useWorld, insist, type Instance } from '../support/world.js';

/** Matches statements on sessions. Those on keys do not count: they run once per interval, for any number of tokens. */
const ON_SESSIONS = /user_session[^_]/;

const OURS = 'aaaaaaaaaaaaaaaa';
const OTHER = 'bbbbbbbbbbbbbbbb';
const GENERATION = 5;

const row = (generation: number, redeemedBy: string | null = null): RotationState => ({
  generation,
  redeemedBy,
});

/** Rows for which a refresh token or an unproven access token of {@link GENERATION} is accepted. */
const exchangeable: [string, RotationState][] = [
  ['of the next generation', row(GENERATION - 1)],
  ['of the next generation, where the one before was exchanged', row(GENERATION - 1, OTHER)],
  ['of the row’s generation', row(GENERATION)],
  ['that was exchanged before', row(GENERATION, OURS)],
  ['of a row that has gone back', row(1, OTHER)],
];
const provable: [string, RotationState][] = [
  ...exchangeable,
  ['of whose generation a sibling was exchanged', row(GENERATION, OTHER)],
];

describe.each(databases)('round trips to $name', (kind) => {
  const world = useWorld(kind);
  const hasReturning = kind.name !== 'mysql';

  describe.each([
    ['with the default reuse window', undefined],
    ['with strict single use', 0],
  ])('%s', (_, reuseWindow) => {
    /** A session, and functions that set its row to any state and make any token of it. */
    const setUp = async () => {
      const [one] = (await world.start(1, { reuseWindow, revocation: 'none' })) as [Instance];
      const { session, refreshToken } = await one.service.tokens.issue({ userId: 1 });
      const { sessionSecret } = parseRefreshToken(refreshToken.token)!;
      pass(TTL);
      const setRow = async (state: RotationState) => {
        await one.dataSource.getRepository(SessionEntity).update(session.id, state);
        one.log.take();
      };
      const make = async (generation: number, issuedAt = Date.now() - TTL) =>
        one.refreshTokens.make({
          sessionId: session.id,
          sessionSecret,
          generation,
          issuedAt,
          tokenId: OURS,
        });
      const count = () => one.log.take(ON_SESSIONS).length;
      return { one, setRow, make, count };
    };

    test.each(exchangeable)('a refresh token %s costs one', async (_what, state) => {
      const { one, setRow, make, count } = await setUp();
      const token = await make(GENERATION);
      await setRow(state);
      const { refreshToken } = await one.service.tokens.refresh(token);
      const isWritten = state.redeemedBy === OURS;
      expect(count()).toBe(hasReturning || isWritten ? 1 : 2);
      expect(parseRefreshToken(refreshToken!.token)!.generation).toBe(GENERATION + 1);
      // Another request with the same token costs no more.
      await one.service.tokens.refresh(token);
      expect(count()).toBe(1);
    });

    test.each(provable)(
      'the first use of an access token %s costs one, and none after that',
      async (_what, state) => {
        const { one, setRow, make, count } = await setUp();
        await setRow(row(GENERATION - 1));
        const { accessToken } = await one.service.tokens.refresh(await make(GENERATION - 1));
        await setRow(state);
        pass(reuseWindow ?? SETTLED);
        const { newAccessToken } = await one.service.tokens.verify(accessToken.token);
        const isWritten = state.generation === GENERATION;
        expect(count()).toBe(hasReturning || isWritten ? 1 : 2);
        await one.service.tokens.verify(newAccessToken!.token);
        expect(count()).toBe(0);
        // Another request with the same token costs no more.
        await one.service.tokens.verify(accessToken.token);
        expect(count()).toBe(1);
      },
    );

    test('a token that looks old costs one more, and a theft the revocation and its time', async () => {
      const { one, setRow, make, count } = await setUp();
      const token = await make(GENERATION);
      await setRow(row(GENERATION, OTHER));
      await expect(one.service.tokens.refresh(token)).rejects.toThrow(LookAgainError);
      expect(count()).toBe(hasReturning ? 2 : 1);
      await expect(insist(one.service, token)).rejects.toThrow(TokenTheftError);
      expect(count()).toBe(hasReturning ? 6 : 4);
    });

    test('an access token of a generation that is over costs one more', async () => {
      const { one, setRow, make, count } = await setUp();
      await setRow(row(GENERATION - 1));
      const { accessToken } = await one.service.tokens.refresh(await make(GENERATION - 1));
      await setRow(row(GENERATION + 1));
      pass(reuseWindow ?? SETTLED);
      await expect(one.service.tokens.verify(accessToken.token)).rejects.toThrow(TryRefreshError);
      expect(count()).toBe(hasReturning ? 2 : 1);
    });
  });

  test('tokens of a generation that has not settled cost none where they are used, and one where they are refreshed', async () => {
    const [one] = (await world.start(1, { revocation: 'none' })) as [Instance];
    const issued = await one.service.tokens.issue({ userId: 1 });
    pass(TTL);
    const { accessToken, refreshToken } = await one.service.tokens.refresh(issued.refreshToken.token);
    one.log.take();
    for (const wait of [0, SETTLED - 1]) {
      pass(wait);
      expect((await one.service.tokens.verify(accessToken.token)).newAccessToken).toBeUndefined();
      expect(one.log.take(ON_SESSIONS)).toEqual([]);
      expect((await one.service.tokens.refresh(refreshToken!.token)).refreshToken).toBeUndefined();
      expect(one.log.take(ON_SESSIONS)).toEqual([expect.stringMatching(/^SELECT/)]);
    }
  });

  test.each([1, 2, 3, 10])(
    'a page of at most %i sessions costs one, whether or not there are more',
    async (limit) => {
      const [one] = (await world.start(1)) as [Instance];
      for (let count = 0; count < 4; count++) await one.service.tokens.issue({ userId: 1 });
      one.log.take();
      const { next } = await one.service.findAllForUser(1, { limit });
      expect(one.log.take()).toEqual([expect.stringMatching(/^SELECT/)]);
      expect(next === null).toBe(limit >= 4);
    },
  );

  const startFour = async () => {
    const instances = await world.start(4, { revocation: 'none' });
    const count = () => instances.map(({ log }) => log.take(ON_SESSIONS).length).reduce((a, b) => a + b);
    const twenty = async <T>(call: (each: Instance, n: number) => Promise<T>) => {
      count();
      return Promise.all(Array.from({ length: 20 }, async (_, n) => call(instances[n % 4]!, n)));
    };
    return { instances, count, twenty };
  };

  describe('of twenty at once over four instances', () => {
    // Without RETURNING, one request writes, and the others may read once before that and once after.
    const limit = hasReturning ? 20 : 3 * 20;

    test('exchanges of one token cost one each', async () => {
      const { instances, count, twenty } = await startFour();
      const { refreshToken } = await instances[0]!.service.tokens.issue({ userId: 1 });
      pass(DAY);
      await twenty(async ({ service }) => service.tokens.refresh(refreshToken.token));
      expect(count()).toBeLessThanOrEqual(limit);
    });

    test('first uses of siblings cost one each', async () => {
      const { instances, count, twenty } = await startFour();
      const { refreshToken } = await instances[0]!.service.tokens.issue({ userId: 1 });
      pass(DAY);
      const siblings = await twenty(async ({ service }) => service.tokens.refresh(refreshToken.token));
      pass(SETTLED);
      await twenty(async ({ service }, n) =>
        service.tokens.verify(siblings[(n * 7) % 20]!.accessToken.token),
      );
      expect(count()).toBeLessThanOrEqual(limit);
    });
  });
});
