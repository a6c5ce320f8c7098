import { setTimeout as delay } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { describe, expect, test, vi } from 'vitest';
import { type IssuedSession, LookAgainError, SessionEntity, SessionOverError } from 'nestjs-session-tokens';
import { UNSETTLED } from '../../lib/storage/session.store.js';
import { databases } from '../support/databases.js';
import { HOUR, MINUTE, pass, SECOND, SETTLED, TTL } from '../support/time.js';
import { useWorld, type Instance } from '../support/world.js';

const INTERVAL = SECOND;

/** The longest time for which a lock is held here. An access token lives longer. */
const LATEST = 10 * MINUTE;

describe.each(databases)('a revocation on $name', (kind) => {
  const world = useWorld(kind);

  const ways: [string, (one: Instance, issued: Awaited<ReturnType<typeof steal>>) => Promise<unknown>][] = [
    ['revoke', async ({ service }, { session }) => service.revoke(session.id)],
    ['revokeMany', async ({ service }, { session }) => service.revokeMany([session.id])],
    [
      'a sign-out',
      async ({ manager, refreshTokens }, { refreshToken }) => {
        const token = await refreshTokens.authenticate(refreshToken.token, Date.now());
        return manager.revokeWithSecret(token.sessionId, token.sessionSecret);
      },
    ],
    [
      'a theft',
      async ({ service }, { refreshToken, lookedAgain }) =>
        service.tokens.refresh(refreshToken.token, { lookedAgain }).catch(() => undefined),
    ],
  ];

  test.each(ways)('by %s that had to wait for a lock is heard of everywhere', async (_, revoke) => {
    const [one, two, three] = (await world.start(3)) as [Instance, Instance, Instance];
    const issued = await steal(one);
    const { token } = issued.accessToken;
    const lock = await lockRow((await world.connect()).dataSource, issued.session.id);
    const revoking = revoke(one, issued);
    // The statement is on its way. If it is not, the test asks less, and passes as well.
    await delay(20);
    for (let waited = 0; waited < LATEST; waited += MINUTE) {
      await expect(two.service.tokens.verify(token)).resolves.toBeDefined();
      pass(MINUTE);
    }
    await lock.release();
    await revoking;
    expect(await world.rows()).toMatchObject([{ revokedAt: Date.now() }]);
    pass(INTERVAL);
    for (const { service } of [one, two, three]) {
      await expect(service.tokens.verify(token)).rejects.toThrow(SessionOverError);
    }
  });

  test('whose process has died before it wrote the time is heard of, and its row goes like any other', async () => {
    const [one, two] = (await world.start(2)) as [Instance, Instance];
    const { session, accessToken } = await one.service.tokens.issue({ userId: 1 });
    await two.service.tokens.verify(accessToken.token);
    await dieUnsettled(one, session.id);
    expect(await world.rows()).toMatchObject([{ revokedAt: UNSETTLED, expiresAt: UNSETTLED }]);
    for (let minute = 0; minute < 14; minute++) {
      pass(MINUTE);
      await expect(two.service.tokens.verify(accessToken.token)).rejects.toMatchObject({
        code: 'session_over',
        reason: 'revoked',
      });
    }
    expect(await two.service.removeExpired()).toBe(0);
    expect(await world.rows()).toMatchObject([{ revokedAt: Date.now() }]);
    pass(HOUR);
    expect(await two.service.removeExpired()).toBe(1);
  });

  test('that is not settled ends a session for who asks the database, and for a refresh', async () => {
    const [one] = (await world.start(1, { revocation: 'database' })) as [Instance];
    const { session, accessToken, refreshToken } = await one.service.tokens.issue({ userId: 1 });
    await dieUnsettled(one, session.id);
    await expect(one.service.tokens.verify(accessToken.token)).rejects.toMatchObject({ endedAt: Date.now() });
    await expect(one.service.tokens.refresh(refreshToken.token)).rejects.toThrow(LookAgainError);
    expect(await one.service.find(session.id)).toBeNull();
    expect(await one.service.revoke(session.id)).toBe(false);
  });
});

/** A session that another party has moved on from: its first refresh token is a theft if it is insisted on. */
async function steal(one: Instance): Promise<IssuedSession & { lookedAgain: string }> {
  const issued = await one.service.tokens.issue({ userId: 1 });
  pass(TTL);
  const owner = await one.service.tokens.refresh(issued.refreshToken.token);
  pass(SETTLED);
  const { newAccessToken } = await one.service.tokens.verify(owner.accessToken.token);
  const error: unknown = await one.service.tokens.refresh(issued.refreshToken.token).catch((e: unknown) => e);
  const { tokenId } = error as LookAgainError;
  return { ...issued, accessToken: newAccessToken!, lookedAgain: tokenId };
}

/** Revokes a session with a process that dies before its second statement. */
async function dieUnsettled(one: Instance, id: string): Promise<void> {
  const clock = vi.spyOn(one.clock, 'now');
  clock
    .mockImplementationOnce(() => Date.now())
    .mockImplementationOnce(() => {
      throw new Error('killed');
    });
  await one.service.revoke(id).catch(() => undefined);
  clock.mockRestore();
}

/** Locks the row of a session, as a transaction of another process would. */
async function lockRow(dataSource: DataSource, id: string) {
  const queryRunner = dataSource.createQueryRunner();
  await queryRunner.startTransaction();
  await queryRunner.manager.update(SessionEntity, id, { userAgent: 'locked' });
  return {
    async release(): Promise<void> {
      await queryRunner.commitTransaction();
      await queryRunner.release();
    },
  };
}
