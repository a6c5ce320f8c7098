import { describe, expect, test } from 'vitest';
import {
  type RevocationMode,
  SessionOverError,
  StorageUnavailableError,
  TokenTheftError,
  TryRefreshError,
} from 'nestjs-session-tokens';
import { databases } from '../support/databases.js';
import { withoutDatabase } from '../support/statements.js';
import { DAY, MINUTE, pass, SECOND, SETTLED, TTL } from '../support/time.js';
import { useWorld, insist, type Instance } from '../support/world.js';

describe.each(databases)('revocation on $name', (kind) => {
  const world = useWorld(kind);

  describe('in mode "database"', () => {
    const options = { revocation: 'database' } as const;

    test('a revoked session is refused at once everywhere, for one look per request', async () => {
      const [one, two] = (await world.start(2, options)) as [Instance, Instance];
      const { session, accessToken } = await one.service.tokens.issue({ userId: 1 });
      two.log.take();
      await two.service.tokens.verify(accessToken.token);
      await two.service.tokens.verify(accessToken.token);
      expect(two.log.take()).toHaveLength(2);
      await one.service.revoke(session.id);
      for (const { service } of [one, two]) {
        await expect(service.tokens.verify(accessToken.token)).rejects.toMatchObject({
          code: 'session_over',
          endedAt: Date.now(),
        });
      }
    });

    test('a session whose row is gone is refused', async () => {
      const [one] = (await world.start(1, options)) as [Instance];
      const { accessToken } = await one.service.tokens.issue({ userId: 1 });
      // A node of a cluster might not have the row of a session that is younger.
      pass('30s');
      await one.dataSource.query('DELETE FROM user_session');
      await expect(one.service.tokens.verify(accessToken.token)).rejects.toThrow(SessionOverError);
    });

    test('a theft ends the session at once everywhere', async () => {
      const [one, two] = (await world.start(2, options)) as [Instance, Instance];
      const { refreshToken } = await one.service.tokens.issue({ userId: 1 });
      pass(TTL);
      const thief = await one.service.tokens.refresh(refreshToken.token);
      pass(SETTLED);
      const { newAccessToken } = await one.service.tokens.verify(thief.accessToken.token);
      await expect(insist(one.service, refreshToken.token)).rejects.toThrow(TokenTheftError);
      for (const { token } of [thief.accessToken, newAccessToken!]) {
        await expect(two.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
      }
      await expect(insist(two.service, thief.refreshToken!.token)).rejects.toThrow(SessionOverError);
    });

    test('a database that is down says nothing about a session', async () => {
      const [one] = (await world.start(1, options)) as [Instance];
      const { accessToken } = await one.service.tokens.issue({ userId: 1 });
      await withoutDatabase(one, async () => {
        await expect(one.service.tokens.verify(accessToken.token)).rejects.toThrow(StorageUnavailableError);
      });
      await expect(one.service.tokens.verify(accessToken.token)).resolves.toBeDefined();
    });
  });

  test('in mode "none" an access token lives to its end, no query is made but for the keys, and refreshing ends at once', async () => {
    const [one, two] = (await world.start(2, { revocation: 'none' })) as [Instance, Instance];
    const { session, accessToken, refreshToken } = await one.service.tokens.issue({ userId: 1 });
    expect(await one.service.revoke(session.id)).toBe(true);
    one.log.take();
    two.log.take();
    pass(15 * MINUTE - 1);
    for (const { service, log } of [one, two]) {
      await expect(service.tokens.verify(accessToken.token)).resolves.toBeDefined();
      expect(log.take()).toEqual([expect.stringMatching(/FROM .user_session_key/)]);
    }
    for (const each of [one, two]) {
      await expect(insist(each.service, refreshToken.token)).rejects.toThrow(SessionOverError);
    }
    pass(1);
    await expect(one.service.tokens.verify(accessToken.token)).rejects.toThrow(TryRefreshError);
  });

  /** An access token from a refresh, which was used while it was young. */
  const refreshed = async (revocation: RevocationMode) => {
    const [one, two] = (await world.start(2, { revocation })) as [Instance, Instance];
    const { session, refreshToken } = await one.service.tokens.issue({ userId: 1 });
    pass(TTL);
    const { accessToken } = await two.service.tokens.refresh(refreshToken.token);
    await two.service.tokens.verify(accessToken.token);
    return {
      revoke: () => one.service.revoke(session.id),
      verify: () => two.service.tokens.verify(accessToken.token),
    };
  };

  describe('an access token of a refresh', () => {
    test.each([
      ['database', 0],
      ['feed', SECOND],
      ['none', SETTLED],
    ] as const)(
      'that is young is refused as any other is, in mode "%s" after %i ms',
      async (mode, within) => {
        const { revoke, verify } = await refreshed(mode);
        await revoke();
        pass(within);
        await expect(verify()).rejects.toThrow(SessionOverError);
      },
    );

    test('that is young lives on where no revocation is looked for, and costs nothing', async () => {
      const { revoke, verify } = await refreshed('none');
      await revoke();
      pass(SETTLED - 1);
      await expect(verify()).resolves.toMatchObject({ newAccessToken: undefined });
    });

    test.each(['database', 'feed', 'none'] as const)(
      'that has settled is refused at its first use, in mode "%s" at once',
      async (mode) => {
        const { revoke, verify } = await refreshed(mode);
        pass(SETTLED);
        await revoke();
        await expect(verify()).rejects.toThrow(SessionOverError);
      },
    );
  });

  test('of what is unknown, expired or revoked already is false', async () => {
    const [{ service }] = (await world.start(1)) as [Instance];
    expect(await service.revoke('01900000-0000-7000-8000-000000000000')).toBe(false);
    expect(await service.revoke('')).toBe(false);
    const { session } = await service.tokens.issue({ userId: 1 });
    expect(await service.revoke(session.id)).toBe(true);
    expect(await service.revoke(session.id)).toBe(false);
    const expired = await service.tokens.issue({ userId: 1 });
    pass(31 * DAY);
    expect(await service.revoke(expired.session.id)).toBe(false);
  });
});
