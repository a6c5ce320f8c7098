import { Logger } from '@nestjs/common';
import { describe, expect, test, vi } from 'vitest';
import { LookAgainError, SessionOverError, TokenTheftError } from 'nestjs-session-tokens';
import { databases } from '../support/databases.js';
import { withoutDatabase } from '../support/statements.js';
import { DAY, HOUR, MINUTE, pass, SECOND, SETTLED, TTL } from '../support/time.js';
import { useWorld, insist, type Instance } from '../support/world.js';

/** The queries of a process in each interval: for dropped keys, revoked sessions, and users whose sessions have all been revoked. */
const LOOKS = [
  expect.stringMatching(/SELECT.*FROM .user_session_key/) as string,
  expect.stringMatching(/SELECT.*revoked_at.{0,3} >= /) as string,
  expect.stringMatching(/SELECT.*settled_at.{0,3} >= /) as string,
];
const INTERVAL = SECOND;

describe.each(databases)('the revocation feed on $name', (kind) => {
  const world = useWorld(kind);

  /** Two instances, and a session whose tokens both have accepted a moment ago. */
  const setUp = async () => {
    const [one, two] = (await world.start(2)) as [Instance, Instance];
    const issued = await one.service.tokens.issue({ userId: 1 });
    const token = issued.accessToken.token;
    await one.service.tokens.verify(token);
    await two.service.tokens.verify(token);
    one.log.take();
    two.log.take();
    return { one, two, token, ...issued };
  };

  test('refuses at once where the session was revoked, without a query', async () => {
    const { one, session, token } = await setUp();
    await one.service.revoke(session.id);
    one.log.take();
    await expect(one.service.tokens.verify(token)).rejects.toMatchObject({
      code: 'session_over',
      endedAt: Date.now(),
      final: true,
    });
    expect(one.log.take()).toEqual([]);
  });

  test('refuses elsewhere after the interval, and asks nothing before', async () => {
    const { one, two, session, token } = await setUp();
    await one.service.revoke(session.id);
    pass(INTERVAL - 1);
    await expect(two.service.tokens.verify(token)).resolves.toBeDefined();
    expect(two.log.take()).toEqual([]);
    pass(1);
    await expect(two.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
    expect(two.log.take()).toEqual(LOOKS);
  });

  test('leaves the other sessions of the user alone', async () => {
    const { one, two, session } = await setUp();
    const other = await one.service.tokens.issue({ userId: 1 });
    await one.service.revoke(session.id);
    pass(INTERVAL);
    await expect(one.service.tokens.verify(other.accessToken.token)).resolves.toBeDefined();
    await expect(two.service.tokens.verify(other.accessToken.token)).resolves.toBeDefined();
  });

  test('asks at most once per interval, however many requests come, and many at once share one answer', async () => {
    const { two, token } = await setUp();
    for (let interval = 0; interval < 5; interval++) {
      pass(INTERVAL);
      await Promise.all(Array.from({ length: 50 }, async () => two.service.tokens.verify(token)));
      for (let n = 0; n < 9; n++) {
        pass(INTERVAL / 10);
        await two.service.tokens.verify(token);
      }
      expect(two.log.take()).toEqual(LOOKS);
    }
  });

  test('asks nothing while no requests come', async () => {
    const { one, two, session } = await setUp();
    await one.service.revoke(session.id);
    for (let second = 0; second < 100; second++) pass(SECOND);
    await new Promise(setImmediate);
    expect(two.log.take()).toEqual([]);
  });

  test.each([MINUTE, 10 * MINUTE, 14 * MINUTE])(
    'after %d ms without requests the first one is refused already',
    async (idle) => {
      const { one, two, session, token } = await setUp();
      await one.service.revoke(session.id);
      pass(idle);
      await expect(two.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
    },
  );

  test('an instance that starts later knows what was revoked before', async () => {
    const { one, session, token } = await setUp();
    await one.service.revoke(session.id);
    pass(14 * MINUTE);
    const [late] = (await world.start(1)) as [Instance];
    await expect(late.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
  });

  test.each([
    [-MINUTE, 10_000 + INTERVAL],
    [-5_000, INTERVAL],
    [MINUTE, INTERVAL],
  ])(
    'sees the revocations of an instance whose clock is off by %d ms within %d ms',
    async (offset, within) => {
      const { one, two, session, token } = await setUp();
      pass(5 * MINUTE);
      await two.service.tokens.verify(token);
      const clock = vi.spyOn(one.clock, 'now').mockImplementation(() => Date.now() + offset);
      await one.service.revoke(session.id);
      clock.mockRestore();
      pass(within);
      await expect(two.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
      // It refuses the token until it expires.
      pass(8 * MINUTE);
      await expect(two.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
    },
  );

  test('goes on when the clock was set back', async () => {
    const { one, two, session, token } = await setUp();
    pass(HOUR);
    const later = await two.service.tokens.issue({ userId: 2 });
    await two.service.tokens.verify(later.accessToken.token);
    pass(-HOUR);
    await one.service.revoke(session.id);
    pass(INTERVAL);
    await expect(two.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
  });

  test('refuses for as long as an access token can live, clean-up included', async () => {
    const { one, two, session, token } = await setUp();
    await one.service.revoke(session.id);
    for (let minute = 1; minute < 15; minute++) {
      pass(MINUTE);
      await one.service.removeExpired();
      await expect(two.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
      const [fresh] = (await world.start(1)) as [Instance];
      await expect(fresh.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
    }
  });

  test('a theft found in one instance ends the session everywhere', async () => {
    const { one, two, session, refreshToken } = await setUp();
    pass(TTL);
    const thief = await one.service.tokens.refresh(refreshToken.token);
    const owner = await two.service.tokens.refresh(refreshToken.token);
    pass(SETTLED);
    const { newAccessToken } = await one.service.tokens.verify(thief.accessToken.token);
    const alive = [owner.accessToken, thief.accessToken, newAccessToken!].map(({ token }) => token);
    for (const { service } of [one, two]) for (const token of alive) await service.tokens.verify(token);
    // The previous token looks old now. Until its client has looked again, nobody is signed out.
    await expect(one.service.tokens.refresh(refreshToken.token)).rejects.toThrow(LookAgainError);
    for (const token of alive) await one.service.tokens.verify(token);
    await expect(insist(one.service, refreshToken.token)).rejects.toThrow(TokenTheftError);

    for (const token of alive)
      await expect(one.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
    pass(INTERVAL);
    for (const token of alive)
      await expect(two.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
    for (const { token } of [thief.refreshToken!, owner.refreshToken!, refreshToken]) {
      await expect(insist(two.service, token)).rejects.toThrow(SessionOverError);
    }
    expect(await two.service.find(session.id)).toBeNull();
  });

  test('while the database is down, valid tokens are accepted, the log says so once, and revocations of that time are seen afterwards', async () => {
    const { one, two, session, token } = await setUp();
    const other = await one.service.tokens.issue({ userId: 2 });
    const logged = vi.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    try {
      await withoutDatabase(two, async () => {
        for (let interval = 1; interval <= 3; interval++) {
          pass(INTERVAL);
          await Promise.all(Array.from({ length: 20 }, async () => two.service.tokens.verify(token)));
          pass(INTERVAL / 2);
          await two.service.tokens.verify(token);
          // Of the feed and of the keys.
          expect(logged).toHaveBeenCalledTimes(2);
          pass(-INTERVAL / 2);
        }
        await one.service.revoke(session.id);
        pass(5 * MINUTE);
        await two.service.tokens.verify(token);
      });
      pass(INTERVAL);
      await expect(two.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
      await expect(two.service.tokens.verify(other.accessToken.token)).resolves.toBeDefined();
      expect(logged).toHaveBeenCalledTimes(2);
    } finally {
      logged.mockRestore();
    }
  });

  test('what was known before the database went down stays known', async () => {
    const { one, two, session, token } = await setUp();
    await one.service.revoke(session.id);
    pass(INTERVAL);
    await expect(two.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
    const logged = vi.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    await withoutDatabase(two, async () => {
      pass(MINUTE);
      await expect(two.service.tokens.verify(token)).rejects.toThrow(SessionOverError);
    });
    expect(logged).toHaveBeenCalledTimes(2);
    logged.mockRestore();
  });

  test('the interval is the one that was configured', async () => {
    const [one, two] = (await world.start(2, { revocationInterval: '1m' })) as [Instance, Instance];
    const { session, accessToken } = await one.service.tokens.issue({ userId: 1 });
    await two.service.tokens.verify(accessToken.token);
    await one.service.revoke(session.id);
    pass(MINUTE - 1);
    await expect(two.service.tokens.verify(accessToken.token)).resolves.toBeDefined();
    pass(1);
    await expect(two.service.tokens.verify(accessToken.token)).rejects.toThrow(SessionOverError);
  });

  test('works with access tokens that live for days', async () => {
    const [one, two] = (await world.start(2, { accessToken: { ttl: '3d' } })) as [Instance, Instance];
    const { session, accessToken } = await one.service.tokens.issue({ userId: 1 });
    await one.service.revoke(session.id);
    pass(2 * DAY);
    await one.service.removeExpired();
    await expect(two.service.tokens.verify(accessToken.token)).rejects.toThrow(SessionOverError);
  });
});
