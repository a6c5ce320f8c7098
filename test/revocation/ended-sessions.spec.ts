import { describe, expect, test } from 'vitest';
import type { SessionEvent } from 'nestjs-session-tokens';
import { newSessionId } from '../../lib/protocol/session-id.js';
import { databases } from '../support/databases.js';
import { DAY, pass } from '../support/time.js';
import { type Instance, useWorld } from '../support/world.js';

type Revoked = Extract<SessionEvent, { type: 'revoked' }>;

/** Whose sessions an instance says that it has ended. */
function endedBy({ events }: Instance): Revoked[] {
  const ended: Revoked[] = [];
  events.stream.subscribe((event) => void (event.type === 'revoked' && ended.push(event)));
  return ended;
}

async function issue({ service }: Instance, userId: string | number): Promise<string> {
  return (await service.tokens.issue({ userId })).session.id;
}

const idsOf = (events: readonly Revoked[]) => events.map(({ sessionId }) => sessionId);

describe.each(databases)('an event names a session only if it has ended it, on $name', (kind) => {
  const world = useWorld(kind);

  test('revokeMany, of what is live, over, unknown, given twice, or no id', async () => {
    const [one, two] = (await world.start(2)) as [Instance, Instance];
    const expired = await issue(one, 'ann');
    pass(31 * DAY);
    const [ann, bob, seven, over] = [
      await issue(one, 'ann'),
      await issue(one, 'bob'),
      await issue(one, 7),
      await issue(one, 'ann'),
    ];
    await two.service.revoke(over);
    const ended = endedBy(one);
    const given = [ann, newSessionId(Date.now()), expired, 'junk', bob, over, ann, seven];
    expect(await one.service.revokeMany(given)).toBe(3);
    expect(await one.service.revokeMany(given)).toBe(0);
    expect(await one.service.revoke(over)).toBe(false);
    expect(await one.service.revoke(newSessionId(Date.now()))).toBe(false);
    const common = { type: 'revoked', reason: 'revoked', elsewhere: false };
    Object.assign(common, { by: undefined, at: new Date(), module: 'default' });
    const sorted = ended.toSorted((a, b) => (a.sessionId < b.sessionId ? -1 : 1));
    expect(sorted).toEqual(
      [
        { ...common, sessionId: ann, userId: 'ann' },
        { ...common, sessionId: bob, userId: 'bob' },
        { ...common, sessionId: seven, userId: 7 },
      ].toSorted((a, b) => (a.sessionId < b.sessionId ? -1 : 1)),
    );
  });

  test('several processes at once: each session once, by the one that counts it', async () => {
    const instances = await world.start(3);
    const ended = instances.map(endedBy);
    for (let round = 0; round < 10; round++) {
      for (const each of ended) each.length = 0;
      pass(1);
      const ids: string[] = [];
      for (let n = 0; n < 12; n++) ids.push(await issue(instances[n % 3]!, 'ann'));
      const counts = await Promise.all([
        instances[0]!.service.revokeMany(ids),
        instances[1]!.service.revokeAllForUser('ann'),
        Promise.all(ids.map(async (id) => instances[2]!.service.revoke(id))).then(
          (revoked) => revoked.filter(Boolean).length,
        ),
      ]);
      expect(ended.map(({ length }) => length)).toEqual(counts);
      expect(ended.flatMap(idsOf).toSorted()).toEqual(ids.toSorted());
    }
  });

  test('a session whose user cannot be read ends, and its event says null', async () => {
    const [one] = (await world.start(1)) as [Instance];
    const id = await issue(one, 'ann');
    await one.dataSource.createQueryBuilder().update('SessionEntity').set({ userId: '"an' }).execute();
    const ended = endedBy(one);
    expect(await one.service.revokeMany([id, newSessionId(Date.now())])).toBe(1);
    expect(ended).toMatchObject([{ sessionId: id, userId: null }]);
  });

  test('every call leaves a mark of its own', async () => {
    const [one] = (await world.start(1)) as [Instance];
    for (let count = 0; count < 3; count++) await one.service.revoke(await issue(one, 'ann'));
    const marks = (await world.rows()).map(({ redeemedBy }) => redeemedBy);
    expect(new Set(marks).size).toBe(3);
    for (const mark of marks) expect(mark).toMatch(/^[0-9a-z]{16}$/);
  });
});
