import { describe, expect, test } from 'vitest';
import { SessionEntity, type SessionEvent, type SessionInfo, SessionOverError } from 'nestjs-session-tokens';
import { newSessionId } from '../../lib/protocol/session-id.js';
import { databases } from '../support/databases.js';
import { pass, SECOND } from '../support/time.js';
import { useWorld, insist, type Instance } from '../support/world.js';

const MANY = 1_200;

/** All pages of the sessions of a user. */
async function everyOne({ service }: Instance): Promise<SessionInfo[]> {
  const found: SessionInfo[] = [];
  for (let after: string | undefined; ;) {
    const page = await service.findAllForUser('ann', { limit: 1_000, after });
    found.push(...page.sessions);
    if (page.next === null) return found;
    after = page.next;
  }
}

describe.each(databases)('over 1,200 sessions of a user on $name', (kind) => {
  const world = useWorld(kind);

  const setUp = async () => {
    const [one, two] = (await world.start(2)) as [Instance, Instance];
    const current = await one.service.tokens.issue({ userId: 'ann' });
    const another = await one.service.tokens.issue({ userId: 'ann' });
    const stranger = await one.service.tokens.issue({ userId: 'ANN' });
    const sessions = one.dataSource.getRepository(SessionEntity);
    const row = await sessions.findOneByOrFail({ id: another.session.id });
    const copies = Array.from({ length: MANY - 2 }, () =>
      Object.assign(new SessionEntity(), row, { id: newSessionId(Date.now()) }),
    );
    while (copies.length > 0) await sessions.insert(copies.splice(0, 100));
    const events: SessionEvent[] = [];
    one.events.stream.subscribe((event) => events.push(event));
    one.log.take();
    return { one, two, current, another, stranger, events };
  };

  test('revokeAllForUser ends all but the excepted one, in few statements', async () => {
    const { one, two, current, another, stranger, events } = await setUp();
    expect(await one.service.revokeAllForUser('ann', { except: current.session.id })).toBe(MANY - 1);
    // The not-before, the ids, for each of three lists: end, and where UPDATE returns no rows, read whose they were; and that all
    // of it is done.
    expect(one.log.take().length).toBeLessThanOrEqual(2 + 3 * 2 + 1);

    expect((await two.service.findAllForUser('ann')).sessions).toMatchObject([{ id: current.session.id }]);
    expect((await two.service.findAllForUser('ANN')).sessions).toMatchObject([{ id: stranger.session.id }]);
    pass(SECOND);
    for (const { service } of [one, two]) {
      await expect(service.tokens.verify(current.accessToken.token)).resolves.toBeDefined();
      await expect(service.tokens.verify(stranger.accessToken.token)).resolves.toBeDefined();
      await expect(service.tokens.verify(another.accessToken.token)).rejects.toThrow(SessionOverError);
    }
    const said = { type: 'revoked', userId: 'ann', reason: 'revoked', at: new Date(Date.now() - SECOND) };
    const [all, ...each] = events;
    expect(all).toMatchObject({ ...said, type: 'all_revoked', except: current.session.id });
    for (const event of each) expect(event).toMatchObject(said);
    const sessionIds = new Set(each.map(({ sessionId }) => sessionId));
    expect([each.length, sessionIds.size]).toEqual([MANY - 1, MANY - 1]);
    expect(sessionIds).not.toContain(current.session.id);
  });

  test('revokeAllForUser without exception ends all', async () => {
    const { one, two, current } = await setUp();
    expect(await two.service.revokeAllForUser('ann')).toBe(MANY);
    expect((await one.service.findAllForUser('ann')).sessions).toEqual([]);
    await expect(insist(one.service, current.refreshToken.token)).rejects.toThrow(SessionOverError);
    expect(await one.service.revokeAllForUser('ann')).toBe(0);
  });

  test('revokeMany counts the live ones, whatever else it is given', async () => {
    const { one, two, current, another, events } = await setUp();
    const ids = (await everyOne(one)).map(({ id }) => id);
    await two.service.revoke(another.session.id);
    const unknown = Array.from({ length: 600 }, () => newSessionId(Date.now()));
    const given = [...ids, ...unknown, ...ids].filter((id) => id !== current.session.id);
    expect(await one.service.revokeMany(given)).toBe(MANY - 2);
    const ended = ids.filter((id) => id !== current.session.id && id !== another.session.id);
    expect(events.map(({ sessionId }) => String(sessionId)).toSorted()).toEqual(ended.toSorted());
    expect((await one.service.findAllForUser('ann')).sessions).toMatchObject([{ id: current.session.id }]);
    expect(await one.service.revokeMany([])).toBe(0);
  });

  test('findAllForUser lists every one of them, newest first', async () => {
    const { two, current } = await setUp();
    pass(SECOND);
    const newest = await two.service.tokens.issue({ userId: 'ann' });
    const found = await everyOne(two);
    expect(found).toHaveLength(MANY + 1);
    expect(found[0]!.id).toBe(newest.session.id);
    expect(found.map(({ id }) => id)).toContain(current.session.id);
  });
});
