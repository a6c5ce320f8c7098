import { afterEach, describe, expect, test } from 'vitest';
import { SessionEntity, type SessionModuleOptions, type SessionRevokedEvent } from 'nestjs-session-tokens';
import { UNSETTLED } from '../../lib/storage/session.store.js';
import { databases } from '../support/databases.js';
import { beforeQuery } from '../support/statements.js';
import { HOUR, pass, SECOND, SETTLED, TTL } from '../support/time.js';
import { insist, type Instance, useWorld } from '../support/world.js';

function heardBy({ events }: Instance): SessionRevokedEvent[] {
  const heard: SessionRevokedEvent[] = [];
  events.stream.subscribe((event) => void (event.type === 'revoked' && heard.push(event)));
  return heard;
}

function order(a: SessionRevokedEvent, b: SessionRevokedEvent): number {
  return a.sessionId < b.sessionId ? -1 : 1;
}

/** Has an instance read what others have revoked. */
async function listen({ elsewhere }: Instance): Promise<void> {
  await elsewhere!.start();
}

async function issue({ service }: Instance, userId: string | number = 'ann'): Promise<string> {
  return (await service.tokens.issue({ userId })).session.id;
}

describe.each(databases)('events of what other processes revoke, on $name', (kind) => {
  const world = useWorld(kind);

  const start = async (count: number, options?: SessionModuleOptions) => {
    const instances = await world.start(count, { events: 'everywhere', ...options });
    open.push(...instances);
    await Promise.all(instances.map(listen));
    return instances;
  };
  const open: Instance[] = [];
  afterEach(async () => {
    for (const { elsewhere } of open.splice(0)) await elsewhere?.stop();
  });

  test.each(['feed', 'database', 'none'] as const)(
    'come once, with whose session it was and why, in mode %s',
    async (revocation) => {
      const [one, two] = (await start(2, { revocation })) as [Instance, Instance];
      const [here, there] = [heardBy(one), heardBy(two)];
      const admin = await issue(one);
      const many = [await issue(one, 7), await issue(one, 7)];
      await one.service.revoke(admin, { reason: 'admin', by: 'root' });
      await one.service.revokeMany(many);
      const at = new Date();
      for (let read = 0; read < 8; read++) {
        pass(2 * SECOND);
        await listen(one);
        await listen(two);
      }
      const facts = { type: 'revoked', at, module: 'default', by: undefined, elsewhere: true };
      const told = [
        { ...facts, sessionId: admin, userId: 'ann', reason: 'admin' },
        { ...facts, sessionId: many[0], userId: 7, reason: 'revoked' },
        { ...facts, sessionId: many[1], userId: 7, reason: 'revoked' },
      ] as SessionRevokedEvent[];
      expect(there.toSorted(order)).toEqual(told.toSorted(order));
      expect(here.map(({ elsewhere }) => elsewhere)).toEqual(Array(3).fill(false));
    },
  );

  test('come of a theft, too', async () => {
    const [one, two] = (await start(2)) as [Instance, Instance];
    const { session, refreshToken } = await one.service.tokens.issue({ userId: 'ann' });
    pass(TTL);
    const { accessToken } = await one.service.tokens.refresh(refreshToken.token);
    pass(SETTLED);
    await one.service.tokens.verify(accessToken.token);
    const heard = heardBy(two);
    await expect(insist(one.service, refreshToken.token)).rejects.toMatchObject({ code: 'token_theft' });
    await listen(two);
    expect(heard).toMatchObject([{ sessionId: session.id, reason: 'theft', elsewhere: true }]);
  });

  test('come not of what was revoked before the start, nor where nobody has asked', async () => {
    const [one] = (await start(1)) as [Instance];
    await one.service.revoke(await issue(one));
    const [two] = (await world.start(1, { events: 'everywhere' })) as [Instance];
    open.push(two);
    const [three] = (await world.start(1)) as [Instance];
    const [heard, deaf] = [heardBy(two), heardBy(three)];
    const { accessToken } = await one.service.tokens.issue({ userId: 'ann' });
    await listen(two);
    const late = await issue(one);
    await one.service.revoke(late);
    pass(SECOND);
    await listen(two);
    await three.service.tokens.verify(accessToken.token);
    expect(heard).toMatchObject([{ sessionId: late }]);
    expect(three.elsewhere).toBeUndefined();
    expect(deaf).toEqual([]);
  });

  test('and of its own are never told apart, whenever a read comes between', async () => {
    const instances = (await start(2)) as [Instance, Instance];
    const heard = instances.map(heardBy);
    const ids: string[] = [];
    for (let n = 0; n < 30; n++) ids.push(await issue(instances[0]));
    await Promise.all([
      ...ids.map(async (id, n) => instances[n % 2]!.service.revoke(id)),
      ...ids.map(async (id, n) => instances[(n + 1) % 2]!.service.revokeMany([id, ids[0]!])),
      ...ids.map(async (_, n) => {
        // Reads are spread over the time that the revocations take.
        for (let turn = 0; turn < n; turn++) await new Promise(setImmediate);
        await listen(instances[n % 2]!);
      }),
    ]);
    for (const each of instances) await listen(each);
    for (const events of heard) {
      expect(events.map(({ sessionId }) => sessionId).toSorted()).toEqual(ids.toSorted());
    }
    const own = heard.flat().flatMap(({ elsewhere, sessionId }) => (elsewhere ? [] : [sessionId]));
    expect(own.toSorted()).toEqual(ids.toSorted());
  });

  test('come not of its own, when a read comes between the commit and the event', async () => {
    const [one] = (await start(1)) as [Instance];
    const heard = heardBy(one);
    const id = await issue(one);
    let reads = 0;
    beforeQuery(one.dataSource, async (query) => {
      // Writes the time of a revocation that has been committed.
      if (
        reads > 0 ||
        !/^UPDATE .user_session. SET .revoked_at. = \S+ .expires_at. = \S+\s+WHERE .id. IN/.test(query)
      )
        return;
      reads++;
      await listen(one);
    });
    await one.service.revoke(id);
    expect(reads).toBe(1);
    expect(heard).toMatchObject([{ sessionId: id, elsewhere: false }]);
  });

  test('come once of a process that dies before it has written the time, also when that is written', async () => {
    const [one, two] = (await start(2)) as [Instance, Instance];
    const id = await issue(one);
    await one.service.revoke(id);
    const dead = { revokedAt: UNSETTLED, expiresAt: UNSETTLED };
    await one.dataSource.getRepository(SessionEntity).update(id, dead);
    const heard = heardBy(two);
    const hours = Array.from({ length: 3 }, (_, n) => n);
    for (const hour of hours) {
      await listen(two);
      if (hour === 1) await two.service.removeExpired();
      pass(hour === 2 ? SECOND : HOUR);
    }
    await listen(two);
    expect(heard).toMatchObject([{ sessionId: id, elsewhere: true }]);
  });
});
