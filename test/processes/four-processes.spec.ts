import { decodeProtectedHeader } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type SessionModuleOptions, SessionEntity, SessionKeyEntity } from 'nestjs-session-tokens';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { DAY, HOUR, MINUTE, SECOND, SETTLED, START, TTL } from '../support/time.js';
import { type LibraryProcess, plainOptions, useProcesses } from './process-pool.js';

const FOUR = [0, 1, 2, 3];

describe('four processes', { timeout: 60_000 }, () => {
  const processes = useProcesses(4);
  const setTime = async (time: number) => Promise.all(processes.map((each) => each.call('setTime', time)));

  describe.each(databases)('on $name', (kind) => {
    // On other databases the case is not defined. A skipped case would look as if it had not been tried.
    const whereverIs = (name: string) => (kind.name === name ? test : () => undefined);
    let database: TestDatabase;

    beforeEach(async () => {
      database = await kind.create();
      await setTime(START);
    });
    afterEach(async () => {
      await Promise.all(processes.map((each) => each.call('stop')));
      await database.remove();
    });

    /** All start at the same moment, on an empty database. */
    const start = async (options: SessionModuleOptions = {}) => {
      const plain = plainOptions(database);
      await Promise.all(processes.map((each) => each.call('start', plain, options)));
    };
    const look = async () => {
      const dataSource = await connect(database);
      const keys = await dataSource.getRepository(SessionKeyEntity).find({ order: { sequence: 'ASC' } });
      const rows = await dataSource.getRepository(SessionEntity).find();
      await dataSource.destroy();
      return { keys, rows };
    };

    test('that start at once on an empty database agree on the keys, and each accepts the tokens of all', async () => {
      await start();
      const { keys } = await look();
      expect(keys.map(({ purpose }) => purpose).toSorted()).toEqual(['access', 'refresh']);
      const issued = (await Promise.all(processes.map((each) => each.call('issue', 3)))).flat();
      const kids = issued.map(({ accessToken }) => decodeProtectedHeader(accessToken).kid);
      expect(new Set(kids).size).toBe(1);
      for (const each of processes) {
        await each.call(
          'verify',
          issued.map(({ accessToken }) => accessToken),
        );
        for (const { refreshToken } of issued) await each.call('refresh', refreshToken, 1);
      }
    });

    test('whose clocks differ by a minute rotate the keys together', async () => {
      await start({ signingKeys: { rotation: '1h' } });
      for (let time = START; time < START + 4 * HOUR; time += 10 * MINUTE) {
        await Promise.all(processes.map((each, n) => each.call('setTime', time + (n - 1.5) * 20 * SECOND)));
        const issued = (await Promise.all(processes.map((each) => each.call('issue', 1)))).flat();
        const tokens = issued.map(({ accessToken }) => accessToken);
        await Promise.all(processes.map((each) => each.call('verify', tokens)));
      }
      const { keys } = await look();
      const access = keys.filter(({ purpose }) => purpose === 'access').map(({ sequence }) => sequence);
      expect(access.length).toBeGreaterThanOrEqual(4);
      expect(access).toEqual(access.map((_, index) => index + 1));
    });

    test('that race for one refresh token all succeed, and whichever pair the client keeps, it goes on', async () => {
      await start();
      const [session] = await processes[0]!.call('issue', 1);
      let jar = session!.refreshToken;
      for (let round = 1; round <= 4; round++) {
        await setTime(START + round * TTL);
        const answers = await Promise.all(processes.map((each) => each.call('refresh', jar, 5)));
        const pairs = answers.flat();
        expect(pairs).toHaveLength(20);
        await setTime(START + round * TTL + SETTLED);
        await Promise.all(
          processes.map((each, n) =>
            each.call(
              'verify',
              answers[(n + 1) % 4]!.map((pair) => pair.accessToken),
            ),
          ),
        );
        jar = pairs[(round * 7) % 20]!.refreshToken!;
      }
      const { rows } = await look();
      expect(rows).toMatchObject([{ generation: 4, revokedAt: null }]);
    });

    test('that update the data of one session at once lose nothing', async () => {
      await start();
      const [session] = await processes[0]!.call('issue', 1);
      const shares = FOUR.map((n) => FOUR.map((m) => 4 * n + m));
      await Promise.all(processes.map((each, n) => each.call('append', session!.id, shares[n]!)));
      const data = (await processes[3]!.call('data', session!.id)) as number[];
      expect(data.toSorted((a, b) => a - b)).toEqual(shares.flat());
    });

    test('that remove expired sessions at once remove each once', async () => {
      await start({ cleanup: { batchSize: 10 } });
      await Promise.all(processes.map((each) => each.call('issue', 24)));
      await setTime(START + 31 * DAY);
      const counts = await Promise.all(processes.map((each) => each.call('removeExpired')));
      expect(counts.reduce((sum, count) => sum + count)).toBe(96);
      expect((await look()).rows).toEqual([]);
    });

    test('of which one revokes: the others stop refreshing, and accept no access token after the interval', async () => {
      await start();
      const [revoker, ...others] = processes as [LibraryProcess, ...LibraryProcess[]];
      const [session] = await revoker.call('issue', 1);
      await setTime(START + TTL);
      const [fresh] = await revoker.call('refresh', session!.refreshToken, 1);
      const tokens = [fresh!.accessToken];
      for (const each of processes) expect(await each.call('outcomes', tokens)).toEqual(['valid']);
      const refreshing = others.map((each) => each.call('refreshUntilOver', session!.refreshToken));
      expect(await revoker.call('revoke', session!.id)).toBe(true);
      await Promise.all(refreshing);

      await setTime(START + TTL + SECOND);
      for (const each of processes) {
        expect(await each.call('outcomes', tokens)).toEqual(['session_over']);
        for (const token of [session!.refreshToken, fresh!.refreshToken!]) {
          expect(await each.call('refusals', token)).toEqual(['look_again', 'session_over']);
        }
      }
    });

    whereverIs('sqlite')(
      'of which one holds the lock of the file: the writes of the others wait, and none is lost',
      async () => {
        await start();
        const [holder, ...writers] = processes as [LibraryProcess, ...LibraryProcess[]];
        const locked = holder.event('locked');
        const holding = holder.call('lock', 300);
        await locked;
        const writing = writers.map((each) => each.call('issue', 5));
        await holding;
        const issued = (await Promise.all(writing)).flat();
        const { rows } = await look();
        expect(rows.map(({ id }) => id).toSorted()).toEqual(issued.map(({ id }) => id).toSorted());
      },
    );
  });
});
