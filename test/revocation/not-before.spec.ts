import type { EntitySubscriberInterface } from 'typeorm';
import { describe, expect, test, vi } from 'vitest';
import {
  type AllRevokedEvent,
  NotBeforeEntity,
  type SessionEvent,
  type SessionModuleOptions,
  SessionOverError,
} from 'nestjs-session-tokens';
import { UNSETTLED } from '../../lib/storage/session.store.js';
import { databases } from '../support/databases.js';
import { beforeQuery } from '../support/statements.js';
import { DAY, HOUR, MINUTE, pass, SECOND, TTL } from '../support/time.js';
import { insist, type Instance, useWorld } from '../support/world.js';

const INTERVAL = SECOND;
const OVER = { code: 'session_over', reason: 'admin' };
const issue = async ({ service }: Instance, userId: string | number = 'ann') =>
  service.tokens.issue({ userId });
const verify = async ({ service }: Instance, { accessToken }: { accessToken: { token: string } }) =>
  service.tokens.verify(accessToken.token);

/** Has an instance stop before it ends rows, as if its process died. */
function dieBeforeTheRows(instance: Instance): void {
  beforeQuery(instance.dataSource, async (query) => {
    if (query.startsWith('UPDATE')) throw new Error('killed');
  });
}

function eventsOf({ events }: Instance): SessionEvent[] {
  const heard: SessionEvent[] = [];
  events.stream.subscribe((event) => heard.push(event));
  return heard;
}

const ofAll = (events: readonly SessionEvent[]) =>
  events.filter((event): event is AllRevokedEvent => event.type === 'all_revoked');

/** The two calls; each must end the session of "ann". */
const calls: [string, (one: Instance) => Promise<number>][] = [
  ['revokeAllForUser', async ({ service }) => service.revokeAllForUser('ann', { reason: 'admin' })],
  ['revokeAll', async ({ service }) => service.revokeAll({ reason: 'admin' })],
];

describe.each(databases)('a not-before on $name', (kind) => {
  const world = useWorld(kind);
  const start = async (count: number, options?: SessionModuleOptions) => {
    const instances = await world.start(count, options);
    return instances as [Instance, Instance, Instance];
  };
  const notBefores = async () => world.dataSource.getRepository(NotBeforeEntity).find();

  describe.each(calls)('by %s', (name, revoke) => {
    test('takes effect everywhere with its first write, before a row has ended', async () => {
      const [one, two, late] = await start(3);
      const issued = await issue(one);
      pass(TTL);
      const { accessToken } = await one.service.tokens.refresh(issued.refreshToken.token);
      await two.service.tokens.verify(accessToken.token);
      dieBeforeTheRows(one);
      await expect(revoke(one)).rejects.toMatchObject({ code: 'storage_unavailable' });
      await expect(one.service.tokens.verify(accessToken.token)).rejects.toMatchObject(OVER);
      pass(INTERVAL);
      await expect(two.service.tokens.verify(accessToken.token)).rejects.toMatchObject(OVER);
      await expect(late.service.tokens.verify(accessToken.token)).rejects.toMatchObject(OVER);
      expect(await world.rows()).toMatchObject([{ revokedReason: null }]);
      // What is remembered stops refreshes, too.
      for (const each of [two, late]) {
        await expect(each.service.tokens.refresh(issued.refreshToken.token)).rejects.toMatchObject(OVER);
      }
    });

    test('whose process has died is finished by the clean-up of another, and goes', async () => {
      const [one, two] = await start(2);
      const issued = await issue(one);
      const other = name === 'revokeAll' ? undefined : await issue(one, 'bob');
      dieBeforeTheRows(one);
      await revoke(one).catch(() => undefined);
      pass(9 * MINUTE);
      await two.service.removeExpired();
      expect(await notBefores()).toMatchObject([{ settledAt: UNSETTLED }]);
      pass(2 * MINUTE);
      const heard = eventsOf(two);
      // The row has expired with it. So this removes it in the next run.
      await two.service.removeExpired();
      expect(await notBefores()).toMatchObject([{ settledAt: Date.now() }]);
      expect(await two.service.find(issued.session.id)).toBeNull();
      const ended = name === 'revokeAll' ? [] : [{ type: 'revoked', reason: 'admin', userId: 'ann' }];
      expect(heard).toMatchObject(ended);
      pass(1);
      expect(await two.service.removeExpired()).toBe(1);
      expect(await world.rows()).toHaveLength(other ? 1 : 0);
      // Processes that start now must still hear of it.
      pass(20 * MINUTE);
      await two.service.removeExpired();
      expect(await notBefores()).toHaveLength(1);
      pass(10 * MINUTE);
      await two.service.removeExpired();
      expect(await notBefores()).toEqual([]);
    });

    test.each(['feed', 'database', 'none'] as const)(
      'ends refreshes at once in every process, in mode %s',
      async (revocation) => {
        const [one, two] = await start(2, { revocation });
        const issued = await issue(one);
        expect(await revoke(one)).toBe(1);
        for (const each of [one, two]) {
          expect(await each.service.find(issued.session.id)).toBeNull();
          expect((await each.service.findAllForUser('ann')).sessions).toEqual([]);
          await expect(insist(each.service, issued.refreshToken.token)).rejects.toMatchObject(OVER);
        }
        const [row] = await world.rows();
        expect(row).toMatchObject({ secretHash: '', claims: 'null', data: 'null', revokedReason: 'admin' });
        pass(1);
        await two.service.removeExpired();
        expect(await world.rows()).toEqual([]);
        // A node of a cluster might not have the row of a session that is younger.
        pass('30s');
        await expect(insist(two.service, issued.refreshToken.token)).rejects.toThrow(SessionOverError);
      },
    );

    test.each([
      ['before its row is there', /^INSERT INTO .user_session. /],
      [
        'when its row is there, and has not been looked at',
        /^SELECT .* FROM .user_session_not_before. WHERE .user_id/,
      ],
    ])('meets a sign-in %s', async (_, moment) => {
      const [one, two] = await start(2);
      let count: number | undefined;
      beforeQuery(two.dataSource, async (query) => {
        if (count === undefined && moment.test(query)) {
          pass(1);
          count = 0;
          count = await revoke(one);
        }
      });
      await expect(issue(two)).rejects.toMatchObject(OVER);
      expect(count).toBeDefined();
      expect((await world.rows()).filter(({ revokedReason }) => revokedReason === null)).toEqual([]);
      pass(1);
      const again = await issue(two);
      pass(INTERVAL);
      for (const each of [one, two]) await expect(verify(each, again)).resolves.toBeDefined();
    });

    test('and sign-ins within the same millisecond stand in their order', async () => {
      const [one] = await start(1);
      for (let round = 0; round < 3; round++) {
        const issued = await issue(one);
        await expect(verify(one, issued)).resolves.toBeDefined();
        expect(await revoke(one)).toBe(1);
        await expect(verify(one, issued)).rejects.toMatchObject(OVER);
        await expect(one.service.tokens.refresh(issued.refreshToken.token)).rejects.toMatchObject({
          code: 'look_again',
        });
      }
    });

    test('leaves sessions from after it alone, for as long as they live', async () => {
      const [one, two] = await start(2);
      await issue(one);
      await revoke(one);
      pass(1);
      const later = await issue(two);
      for (const time of [0, INTERVAL, MINUTE, 5 * MINUTE]) {
        pass(time);
        for (const each of [one, two]) await expect(verify(each, later)).resolves.toBeDefined();
      }
      pass(DAY);
      await two.service.removeExpired();
      await expect(one.service.tokens.refresh(later.refreshToken.token)).resolves.toBeDefined();
    });

    test('that waits for a row is not late', async () => {
      const [one, two] = await start(2);
      const issued = await issue(one);
      await verify(two, issued);
      const lock = world.dataSource.createQueryRunner();
      await lock.startTransaction();
      if (kind.name === 'sqlite') await lock.commitTransaction();
      else await lock.query("UPDATE user_session SET user_agent = 'locked'");
      const revoking = revoke(one);
      await vi.waitFor(async () => expect(await notBefores()).toHaveLength(1));
      pass(INTERVAL);
      await expect(verify(two, issued)).rejects.toMatchObject(OVER);
      if (kind.name !== 'sqlite') await lock.commitTransaction();
      await lock.release();
      expect(await revoking).toBe(1);
    });

    test('is one entry of the feed, and one event elsewhere', async () => {
      const [one, two] = await start(2, { events: 'everywhere' });
      for (const each of [one, two]) await each.elsewhere!.start();
      const [here, there] = [eventsOf(one), eventsOf(two)];
      const ids: string[] = [];
      while (ids.length < 5) ids.push((await issue(one)).session.id);
      here.length = 0;
      pass(1);
      expect(await revoke(one)).toBe(5);
      for (let read = 0; read < 5; read++) {
        pass(2 * SECOND);
        for (const each of [one, two]) await each.elsewhere!.start();
      }
      for (const each of [one, two]) await each.elsewhere!.stop();
      expect(there).toMatchObject([{ type: 'all_revoked', reason: 'admin', elsewhere: true }]);
      expect(ofAll(here)).toMatchObject([{ reason: 'admin', elsewhere: false, before: here[0]!.at }]);
      const revoked = here.flatMap((event) => (event.type === 'revoked' ? [event.sessionId] : []));
      expect(revoked.toSorted()).toEqual(name === 'revokeAll' ? [] : ids.toSorted());
      expect((await world.rows()).filter(({ revokedAt }) => revokedAt !== null)).toEqual([]);
    });
  });

  test('is never told as that of another process by the one that has made it', async () => {
    const [one] = await start(1, { events: 'everywhere' });
    const listen = async () => one.elsewhere!.start();
    await listen();
    const heard = eventsOf(one);
    // A read comes between the commit and the next step of the call.
    let reads = 0;
    const subscriber: EntitySubscriberInterface = {
      afterQuery: async ({ query }) => {
        if (/^INSERT INTO .user_session_not_before/.test(query)) {
          await listen();
          reads++;
        }
      },
    };
    one.dataSource.subscribers.push(subscriber);
    await one.service.revokeAllForUser('ann');
    await one.service.revokeAll();
    await listen();
    await one.elsewhere!.stop();
    expect(reads).toBe(2);
    expect(ofAll(heard).map(({ elsewhere }) => elsewhere)).toEqual([false, false]);
  });

  test.each([
    [{ reason: 'logout' }, 'ann'],
    [{ reason: 'logout', by: 'root' }, 'root'],
    [{ reason: 'admin' }, undefined],
  ])('names in the event of each session who has made it: %o', async (options, by) => {
    const [one] = await start(1);
    await issue(one);
    const heard = eventsOf(one);
    await one.service.revokeAllForUser('ann', options);
    expect(heard.at(-1)).toMatchObject({ type: 'revoked', userId: 'ann', by });
  });

  test('of a user is not that of one whose name differs in case, or in type', async () => {
    const [one, two] = await start(2);
    const others = [await issue(one, 'Ann'), await issue(one, 'ANN'), await issue(one, 1)];
    const ended = [await issue(one, 'ann'), await issue(one, '1')];
    expect(await one.service.revokeAllForUser('ann')).toBe(1);
    expect(await one.service.revokeAllForUser('1')).toBe(1);
    pass(INTERVAL);
    for (const each of [one, two]) {
      for (const issued of ended) await expect(verify(each, issued)).rejects.toThrow(SessionOverError);
      for (const issued of others) await expect(verify(each, issued)).resolves.toBeDefined();
    }
    for (const userId of ['Ann', 'ANN', 1]) await expect(issue(two, userId)).resolves.toBeDefined();
  });

  test('spares its exception, and no exception of an earlier one', async () => {
    const [one, two] = await start(2);
    const [first, second] = [await issue(one), await issue(two)];
    expect(await one.service.revokeAllForUser('ann', { except: first.session.id })).toBe(1);
    pass(1);
    expect(await one.service.revokeAllForUser('ann', { except: second.session.id })).toBe(1);
    pass(INTERVAL);
    for (const each of [one, two]) {
      for (const issued of [first, second]) {
        await expect(verify(each, issued)).rejects.toThrow(SessionOverError);
      }
    }
    const third = await issue(two);
    expect(await one.service.revokeAllForUser('ann', { except: third.session.id })).toBe(0);
    pass(INTERVAL);
    for (const each of [one, two]) await expect(verify(each, third)).resolves.toBeDefined();
  });

  test('of everybody ends what was made before a time, in batches, and nothing else', async () => {
    const [one, two] = await start(2);
    const old = [];
    for (let n = 0; n < 1_100; n++) old.push(await issue(one, n));
    pass(HOUR);
    const before = new Date();
    const fresh = await issue(one, 'fresh');
    pass(MINUTE);
    expect(await two.service.revokeAll({ before, by: 'operator' })).toBe(1_100);
    pass(INTERVAL);
    for (const each of [one, two]) {
      await expect(verify(each, fresh)).resolves.toBeDefined();
      await expect(insist(each.service, old[700]!.refreshToken.token)).rejects.toThrow(SessionOverError);
    }
    expect(await one.service.revokeAll({ before })).toBe(0);
    expect(await one.service.revokeAll()).toBe(1);
  });

  test('of everybody withdraws no token of a session from after it', async () => {
    const [one] = await start(1);
    const events = eventsOf(one);
    await one.service.revokeAll({ by: 'operator', reason: 'breach' });
    const facts = {
      type: 'all_revoked',
      userId: undefined,
      except: undefined,
      reason: 'breach',
      by: 'operator',
    };
    expect(events).toEqual([
      { ...facts, before: new Date(), at: new Date(), module: 'default', elsewhere: false },
    ]);
  });

  test.each([
    [{ before: new Date(Number.NaN) }, 'invalid_input'],
    [{ before: 5 }, 'invalid_input'],
    [{ before: 'yesterday' }, 'invalid_input'],
    [{ before: null }, 'invalid_input'],
    [{ before: new Date(2100, 1) }, 'invalid_input'],
    [{ reason: 'Because!' }, 'invalid_reason'],
    [{ reason: 'expired' }, 'invalid_reason'],
  ])('of everybody is not made with %o', async (options, code) => {
    const [one] = await start(1);
    await expect(one.service.revokeAll(options as never)).rejects.toMatchObject({ code });
    expect(await notBefores()).toEqual([]);
  });

  test.each([undefined, null, {}])('is made with the options %o', async (options) => {
    const [one] = await start(1);
    await issue(one);
    expect(await one.service.revokeAllForUser('ann', options as never)).toBe(1);
    expect(await one.service.revokeAll(options as never)).toBe(0);
  });

  test('that is damaged keeps no other from being heard of', async () => {
    const [one, two] = await start(2);
    const issued = await issue(one);
    await one.service.revokeAllForUser('bob');
    const [damaged] = await notBefores();
    await world.dataSource.getRepository(NotBeforeEntity).update(damaged!.id, { userId: '"bo' });
    await one.service.revokeAllForUser('ann');
    pass(INTERVAL);
    await expect(verify(two, issued)).rejects.toThrow(SessionOverError);
    await expect(issue(two, '"bo')).resolves.toBeDefined();
  });
});
