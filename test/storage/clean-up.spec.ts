import { describe, expect, test } from 'vitest';
import { type IssuedSession, SessionEntity } from 'nestjs-session-tokens';
import { databases } from '../support/databases.js';
import { beforeQuery } from '../support/statements.js';
import { DAY, HOUR, MINUTE, pass } from '../support/time.js';
import { useWorld, type Instance } from '../support/world.js';

describe.each(databases)('removal of sessions that are over on $name', (kind) => {
  const world = useWorld(kind);

  test('takes them in batches, and leaves the live ones', async () => {
    const [one] = (await world.start(1, { cleanup: { batchSize: 10 } })) as [Instance];
    await issue(one, 95);
    pass(30 * DAY + 1);
    const [live] = await issue(one, 1);
    one.log.take();
    expect(await one.service.removeExpired()).toBe(95);
    expect(one.log.take(/^DELETE FROM .user_session.? /)).toHaveLength(10);
    expect(await countRows(one)).toBe(1);
    await expect(one.service.find(live!.session.id)).resolves.not.toBeNull();
    expect(await one.service.removeExpired()).toBe(0);
  });

  test('ends when the last batch is full', async () => {
    const [one] = (await world.start(1, { cleanup: { batchSize: 10 } })) as [Instance];
    await issue(one, 20);
    pass(30 * DAY + 1);
    expect(await one.service.removeExpired()).toBe(20);
    expect(await countRows(one)).toBe(0);
  });

  test('by five instances at once takes each row once', async () => {
    const instances = await world.start(5, { cleanup: { batchSize: 10 } });
    await issue(instances[0]!, 95);
    pass(30 * DAY + 1);
    const counts = await Promise.all(instances.map(async ({ service }) => service.removeExpired()));
    expect(counts.reduce((sum, count) => sum + count)).toBe(95);
    expect(await countRows(instances[0]!)).toBe(0);
  });

  test('spares a session that was renewed between the look and the removal', async () => {
    const [remover, other] = (await world.start(2, { cleanup: { batchSize: 10 } })) as [Instance, Instance];
    const issued = await issue(remover, 25);
    const renewed = issued.filter((_, index) => index % 5 === 0).map(({ session }) => session.id);
    pass(30 * DAY + 1);
    const sessions = other.dataSource.getRepository(SessionEntity);
    beforeQuery(remover.dataSource, async (query) => {
      if (query.startsWith('DELETE')) await sessions.update(renewed, { expiresAt: Date.now() + HOUR });
    });
    expect(await remover.service.removeExpired()).toBe(20);
    expect((await sessions.find()).map(({ id }) => id).toSorted()).toEqual(renewed.toSorted());
  });

  test('takes what is left of a revoked session when its last access token is long gone, and not before', async () => {
    const [one] = (await world.start(1)) as [Instance];
    const [revoked] = await issue(one, 2);
    await one.service.revoke(revoked!.session.id);
    const row = await one.dataSource
      .getRepository(SessionEntity)
      .findOneByOrFail({ id: revoked!.session.id });
    expect(row).toMatchObject({ secretHash: '', claims: 'null', data: 'null', userAgent: null, ip: null });

    pass(15 * MINUTE);
    expect(await one.service.removeExpired()).toBe(0);
    pass(HOUR);
    expect(await one.service.removeExpired()).toBe(1);
    expect(await countRows(one)).toBe(1);
    expect(await one.service.revoke(revoked!.session.id)).toBe(false);
  });
});

async function issue({ service }: Instance, count: number): Promise<IssuedSession[]> {
  const issued: IssuedSession[] = [];
  for (let n = 0; n < count; n++) issued.push(await service.tokens.issue({ userId: n }));
  return issued;
}

async function countRows({ dataSource }: Instance): Promise<number> {
  return dataSource.getRepository(SessionEntity).count();
}
