import { Logger } from '@nestjs/common';
import { describe, expect, test, vi } from 'vitest';
import { LookAgainError, SessionEntity } from 'nestjs-session-tokens';
import { databases } from '../support/databases.js';
import { pass, TTL } from '../support/time.js';
import { useWorld, type Instance } from '../support/world.js';

/** What a server that is not strict may have made of a value, and what a wrong escape may have. */
const damages: [string, Partial<SessionEntity>][] = [
  ['claims that are cut off', { claims: '{"role":"ad' }],
  ['data that are cut off', { data: '{"cart":["a","b' }],
  ['data without their backslashes', { data: '{"name":"a"b"}' }],
  ['data that are empty', { data: '' }],
  ['claims and data that are empty', { claims: '', data: '' }],
];

const UNAVAILABLE = {
  code: 'storage_unavailable',
  message: expect.stringMatching(/damaged: its value is not JSON/),
};

describe.each(databases)('a row on $name with', (kind) => {
  const world = useWorld(kind);

  const setUp = async (damage: Partial<SessionEntity>) => {
    const [one, two] = (await world.start(2)) as [Instance, Instance];
    const damaged = await one.service.tokens.issue({
      userId: 1,
      claims: { role: 'admin' },
      data: { cart: [] },
    });
    pass(1);
    const other = await one.service.tokens.issue({ userId: 1, data: { cart: ['b'] } });
    await one.dataSource.getRepository(SessionEntity).update(damaged.session.id, damage);
    return { one, two, damaged, other };
  };

  test.each(damages)('%s is revoked with all others of its user', async (_, damage) => {
    const { one, damaged, other } = await setUp(damage);
    expect(await one.service.revokeAllForUser(1, { except: other.session.id })).toBe(1);
    await expect(one.service.tokens.verify(damaged.accessToken.token)).rejects.toMatchObject({
      code: 'session_over',
    });
    expect(await one.service.revokeAllForUser(1)).toBe(1);
  });

  test.each(damages)('%s hides no other in the list, and can be revoked by its id', async (_, damage) => {
    const logged = vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    const { one, damaged, other } = await setUp(damage);
    const list = (await one.service.findAllForUser(1)).sessions;
    expect(list.map(({ id }) => id)).toEqual([other.session.id, damaged.session.id]);
    expect(list[0]!.data).toEqual({ cart: ['b'] });
    for (const column of Object.keys(damage)) expect(list[1]).toMatchObject({ [column]: null });
    expect(logged).toHaveBeenCalledTimes(Object.keys(damage).length);
    expect(String(logged.mock.calls)).not.toContain('cart');
    logged.mockRestore();
    expect(await one.service.revoke(damaged.session.id)).toBe(true);
  });

  test.each(damages)(
    '%s gives a clear error where that is needed, and says nothing of a sign-out',
    async (_, damage) => {
      const { one, damaged } = await setUp(damage);
      const { id } = damaged.session;
      // Access tokens have their claims with them.
      expect(await one.service.tokens.verify(damaged.accessToken.token)).toMatchObject({
        claims: { role: 'admin' },
      });
      await expect(one.service.find(id)).rejects.toMatchObject(UNAVAILABLE);
      await expect(one.service.updateData(id, (data) => data)).rejects.toMatchObject(UNAVAILABLE);
      pass(TTL);
      const refreshed = await one.service.tokens.refresh(damaged.refreshToken.token).catch((e: unknown) => e);
      expect(refreshed).toMatchObject(UNAVAILABLE);
      expect(refreshed).not.toBeInstanceOf(LookAgainError);
    },
  );

  test('data that are damaged works again when they are replaced', async () => {
    const { one, damaged } = await setUp({ data: '{' });
    const { id } = damaged.session;
    await one.service.updateData(id, { cart: ['new'] });
    expect(await one.service.find(id)).toMatchObject({ data: { cart: ['new'] } });
    pass(TTL);
    await expect(one.service.tokens.refresh(damaged.refreshToken.token)).resolves.toBeDefined();
  });
});
