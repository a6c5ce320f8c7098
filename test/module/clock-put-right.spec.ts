import { decodeJwt } from 'jose';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { SessionOverError, type SessionEvent } from 'nestjs-session-tokens';
import { newSessionId } from '../../lib/protocol/session-id.js';
import { Client, serve } from '../concurrency/client.js';
import { databases } from '../support/databases.js';
import { beforeQuery } from '../support/statements.js';
import { DAY, HOUR, MINUTE, pass, SECOND, stopClock, TTL } from '../support/time.js';
import { type Instance, useWorld } from '../support/world.js';

// In these tests the clock of the database is the one that is set. That of a process follows it, unless a test says otherwise.

/** Of no session. */
const ID = newSessionId(0);

const STEPS: [string, number][] = [
  ['an hour ahead', HOUR],
  ['an hour behind', -HOUR],
  ['two minutes ahead', 2 * MINUTE],
  ['two minutes behind', -2 * MINUTE],
  ['11 s ahead', 11 * SECOND],
  ['11 s behind', -11 * SECOND],
  ['5 s ahead', 5 * SECOND],
  ['5 s behind', -5 * SECOND],
];

/** Requests of one page at the same moment, to all processes; the responses arrive in the order of the page's bad luck. */
async function load(client: Client, processes: readonly Instance[]): Promise<unknown[]> {
  const sent = Array.from({ length: 4 }, (_, n) =>
    serve(processes[n % processes.length]!.service, client.request()),
  );
  const errors: unknown[] = [];
  for (const served of (await Promise.all(sent)).toReversed()) {
    client.receive(served.leave());
    let { error } = served;
    if (isLookAgain(error)) {
      const again = await serve(processes[0]!.service, client.request());
      client.receive(again.leave());
      ({ error } = again);
    }
    if (error !== undefined) errors.push(error);
  }
  return errors;
}

const isLookAgain = (error: unknown) => (error as { code?: string } | undefined)?.code === 'look_again';

async function signIn({ service }: Instance, userId: string = 'ann'): Promise<Client> {
  const client = new Client();
  const { leave, error } = await serve(service, client.request(), (response) =>
    service.create(client.request(), response, { userId }),
  );
  if (error !== undefined) throw error;
  client.receive(leave());
  return client;
}

function theftsOf(...processes: Instance[]): SessionEvent[] {
  const thefts: SessionEvent[] = [];
  for (const { events } of processes) {
    events.stream.subscribe((event) => event.type === 'theft' && thefts.push(event));
  }
  return thefts;
}

/** What a process tells a service without the database. */
async function list({ service }: Instance, since?: string): Promise<{ cursor: string }> {
  const answer = await service.revocationList({ since, nonce: 'n', ifNoneMatch: undefined });
  return decodeJwt(answer.list!);
}

/** Has a process go by a clock that differs, as until it has read the database's. */
function setApart({ clock }: Instance, by: number): void {
  vi.spyOn(clock, 'now').mockImplementation(() => Date.now() + by);
  vi.spyOn(clock, 'peek').mockImplementation(() => Date.now() + by);
}

afterEach(() => vi.restoreAllMocks());

describe('when the clock of the database is put right', () => {
  const world = useWorld(databases[0]!);
  const start = async () => (await world.start(2)) as [Instance, Instance];

  describe.each(STEPS)('that was %s', (_, offset) => {
    test('an honest client stays signed in, and a thief is caught as soon as ever', async () => {
      stopClock(Date.now() + offset);
      const processes = await start();
      const thefts = theftsOf(...processes);
      const honest = await signIn(processes[0]);
      const robbed = await signIn(processes[1], 'bob');
      for (let minute = 0; minute < 20; minute++) {
        expect([...(await load(honest, processes)), ...(await load(robbed, processes))]).toEqual([]);
        pass(MINUTE);
      }
      const thief = robbed.copy();
      pass(-offset);
      let caughtAfter: number | undefined;
      for (let minute = 0; minute < 90; minute++) {
        expect(await load(honest, processes)).toEqual([]);
        await load(robbed, processes);
        await load(thief, processes);
        if (thefts.length > 0) caughtAfter ??= minute * MINUTE;
        pass(MINUTE);
      }
      expect(thefts).toMatchObject([{ userId: 'bob' }]);
      expect(caughtAfter).toBeLessThanOrEqual(2.1 * TTL);
    });

    test('and one process notices ten seconds after the other, an honest client stays signed in', async () => {
      stopClock(Date.now() + offset);
      const [one, two] = await start();
      const thefts = theftsOf(one, two);
      const client = await signIn(one);
      for (let minute = 0; minute < 16; minute++) {
        expect(await load(client, [one, two])).toEqual([]);
        pass(MINUTE);
      }
      pass(-offset);
      setApart(two, offset);
      for (let second = 0; second < 10; second++) {
        await load(client, [one, two]);
        pass(SECOND);
      }
      vi.restoreAllMocks();
      for (let minute = 0; minute < 60; minute++) {
        expect(await load(client, [one, two])).toEqual([]);
        pass(MINUTE);
      }
      expect(thefts).toEqual([]);
    });

    test('keys from meanwhile verify, and are followed by others', async () => {
      stopClock(Date.now() + offset);
      const [one] = await start();
      const client = await signIn(one);
      pass(-offset);
      const [late] = await start();
      for (let day = 0; day < 3; day++) {
        expect(await load(client, [one, late])).toEqual([]);
        pass(DAY - 5 * SECOND);
      }
      expect((await world.keys('access')).length).toBeGreaterThan(1);
      const { dropped } = await one.service.rotateSigningKeys({ drop: 'current' });
      expect(dropped).toHaveLength(1);
      pass(MINUTE);
      expect(await load(client, [late, one])).toEqual([]);
    });
  });

  test.each([9 * SECOND, -9 * SECOND])(
    'two processes may differ by %d ms for good: nobody is called a thief',
    async (by) => {
      const [one, two] = await start();
      setApart(two, by);
      const thefts = theftsOf(one, two);
      const client = await signIn(one);
      for (let step = 0; step < 200; step++) {
        expect(await load(client, step % 2 ? [one, two] : [two, one])).toEqual([]);
        pass(20 * SECOND);
      }
      expect(thefts).toEqual([]);
    },
  );
});

describe.each(databases)('when the clock of $name is put right, revocations', (kind) => {
  const world = useWorld(kind);
  const start = async () => (await world.start(2)) as [Instance, Instance];

  test('are heard of by the new clock: it is read when statements work again after a failure', async () => {
    const [one] = await start();
    const doubt = vi.spyOn(one.clock, 'doubt');
    let isDown = true;
    beforeQuery(one.dataSource, async () => {
      if (isDown) throw new Error('down');
    });
    await expect(one.service.find(ID)).rejects.toMatchObject({ code: 'storage_unavailable' });
    expect(doubt).not.toHaveBeenCalled();
    isDown = false;
    await one.service.find(ID);
    expect(doubt).toHaveBeenCalledTimes(1);
  });

  describe.each([...STEPS.slice(0, 2), ['25 s ahead', 25 * SECOND] as const])(
    'of when it was %s',
    (_, offset) => {
      test('who was signed out everywhere stays out, and can sign in again', async () => {
        stopClock(Date.now() + offset);
        const [one, two] = await start();
        const before = await signIn(one);
        expect(await one.service.revokeAllForUser('ann')).toBe(1);
        pass(-offset);
        for (const each of [one, two])
          expect((await load(before.copy(), [each]))[0]).toBeInstanceOf(SessionOverError);
        // If the not-before has a time of the future, a process refuses the sign-in by which it learns of that.
        for (const each of [one, two]) {
          const client = await signIn(each).catch(async () => signIn(each));
          for (let minute = 0; minute < 30; minute++) {
            expect(await load(client, [one, two])).toEqual([]);
            pass(MINUTE);
          }
        }
      });

      test('a service without the database hears of what is revoked afterwards, whoever tells it', async () => {
        stopClock(Date.now() + offset);
        const options = { accessToken: { algorithm: 'ES256' } } as const;
        const [one, two] = (await world.start(2, options)) as [Instance, Instance];
        const { session } = await one.service.tokens.issue({ userId: 'ann' });
        const { cursor } = await list(one);
        pass(-offset);
        await two.service.revoke(session.id);
        pass(30 * SECOND);
        expect(await list(two, cursor)).toMatchObject({ sessions: { revoked: expect.any(String) } });
      });

      test.each<[string, (one: Instance) => Promise<unknown>]>([
        ['of the user', async ({ service }) => service.revokeAllForUser('ann')],
        ['of everybody', async ({ service }) => service.revokeAll()],
      ])('the sessions %s that were made meanwhile can be ended', async (__, revoke) => {
        stopClock(Date.now() + offset);
        const [one, two] = await start();
        const client = await signIn(one);
        expect(await load(client, [one, two])).toEqual([]);
        pass(-offset);
        pass(MINUTE);
        expect(await revoke(two)).toBe(1);
        pass(SECOND);
        for (const each of [two, one]) {
          for (const error of await load(client.copy(), [each]))
            expect(error).toBeInstanceOf(SessionOverError);
          expect(await load(client.copy(), [each])).toHaveLength(4);
        }
        expect(await one.service.findAllForUser('ann')).toMatchObject({ sessions: [] });
      });

      test('one session that was ended meanwhile stays so, and its row goes', async () => {
        stopClock(Date.now() + offset);
        const [one, two] = await start();
        const { session, accessToken, refreshToken } = await one.service.tokens.issue({ userId: 'ann' });
        await one.service.revoke(session.id);
        pass(-offset);
        for (const { service } of [one, two]) {
          await expect(service.tokens.refresh(refreshToken.token)).rejects.toMatchObject({
            code: 'look_again',
          });
          await expect(service.tokens.verify(accessToken.token)).rejects.toMatchObject({
            code: expect.stringMatching(/session_over|try_refresh/),
          });
        }
        pass(2 * HOUR);
        expect(await two.service.removeExpired()).toBe(1);
      });
    },
  );
});
