import { createSecretKey, randomBytes } from 'node:crypto';
import { exportJWK, generateSecret, type JWK, SignJWT } from 'jose';
import type { IssuedSession, SessionModuleOptions, SessionService } from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { encodeRefreshToken, parseRefreshToken } from '../../lib/protocol/refresh-token.codec.js';
import { databases } from '../support/databases.js';
import { DAY, HOUR, MINUTE, pass, SECOND } from '../support/time.js';
import { decode, expectFree, OVER, recordEvents, STRICT, THEFT, TRY_REFRESH } from './expectations.js';
import { untyped } from '../support/untyped.js';
import { useWorld } from '../support/world.js';

const blacklists = ['feed', 'database'] as const;

async function newJwk(kid: string): Promise<JWK> {
  return { ...(await exportJWK(await generateSecret('HS256', { extractable: true }))), kid, alg: 'HS256' };
}

/** Several sessions of one user. */
async function issue(sessions: SessionService, count: number): Promise<IssuedSession[]> {
  const issued: IssuedSession[] = [];
  while (issued.length < count) issued.push(await sessions.tokens.issue({ userId: 'ann' }));
  return issued;
}

/**
 * The rows of the older suites' table, by number. Rows 4, 19 and 20 are about HTTP. Time stands still unless a case lets
 * it pass.
 */
describe.each(databases)('the older suites’ scenarios, on $name', (kind) => {
  const world = useWorld(kind);
  const start = (options: SessionModuleOptions = {}) => world.process({ ...STRICT, ...options });

  it('1: create gives both tokens with their expiry and makes one row; verify echoes user and payload', async () => {
    const sessions = await start();
    const issued = await sessions.tokens.issue({
      userId: 'ann',
      claims: { a: 'payload' },
      data: { some: 'data' },
    });
    expect(issued.accessToken.expiresAt.getTime()).toBe(Date.now() + 15 * MINUTE);
    expect(issued.refreshToken.expiresAt.getTime()).toBe(Date.now() + 30 * DAY);
    await expect(world.rows()).resolves.toHaveLength(1);
    await expect(sessions.find(issued.session.id)).resolves.toMatchObject({ data: { some: 'data' } });
    await expect(sessions.tokens.verify(issued.accessToken.token)).resolves.toMatchObject({
      id: issued.session.id,
      userId: 'ann',
      claims: { a: 'payload' },
      tokenIssuedAt: new Date(),
      tokenExpiresAt: issued.accessToken.expiresAt,
      newAccessToken: undefined,
    });
  });

  it.each([1, '1', '{"i":1}', '["1"]', 'null'])(
    '2: the user id %j survives create, verify and refresh',
    async (userId) => {
      const sessions = await start();
      const { accessToken, refreshToken } = await sessions.tokens.issue({ userId });
      expect((await sessions.tokens.verify(accessToken.token)).userId).toBe(userId);
      pass(1);
      const refreshed = await sessions.tokens.refresh(refreshToken.token);
      expect(refreshed.session.userId).toBe(userId);
      expect((await sessions.tokens.verify(refreshed.accessToken.token)).userId).toBe(userId);
      expect((await sessions.findAllForUser(userId)).sessions).toHaveLength(1);
    },
  );

  it.each([1, 'text', true, [1, 'two', null], null, { nested: { a: [1] } }])(
    '3: %j survives as payload and as data',
    async (value) => {
      const sessions = await start();
      const { session, accessToken, refreshToken } = await sessions.tokens.issue({
        userId: 'ann',
        claims: untyped(value),
        data: untyped(value),
      });
      expect((await sessions.tokens.verify(accessToken.token)).claims).toStrictEqual(value);
      pass(1);
      const refreshed = await sessions.tokens.refresh(refreshToken.token);
      expect((await sessions.tokens.verify(refreshed.accessToken.token)).claims).toStrictEqual(value);
      expect((await sessions.find(session.id))!.data).toStrictEqual(value);
    },
  );

  it('5: an access token that lives for a second says after it: try to refresh', async () => {
    const sessions = await start({ accessToken: { ttl: '1s' } });
    const { accessToken } = await sessions.tokens.issue({ userId: 'ann' });
    await sessions.tokens.verify(accessToken.token);
    pass(SECOND);
    await expect(sessions.tokens.verify(accessToken.token)).rejects.toMatchObject(TRY_REFRESH);
  });

  it('6: the signing key rotates between any two requests for days, and nobody notices', async () => {
    const sessions = await start({ signingKeys: { rotation: '1h' }, accessToken: { ttl: '1h' } });
    let { accessToken, refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
    const kids = new Set<unknown>();
    const users = new Set<unknown>();
    for (let hours = 0; hours < 48; hours++) {
      pass(HOUR / 2);
      ({ accessToken, refreshToken } = (await sessions.tokens.refresh(refreshToken.token)) as IssuedSession);
      const { newAccessToken } = await sessions.tokens.verify(accessToken.token);
      kids.add(decode(newAccessToken!.token, 'header')['kid']);
      pass(HOUR / 2);
      users.add((await sessions.tokens.verify(newAccessToken!.token)).userId);
    }
    expect(users).toEqual(new Set(['ann']));
    expect(kids.size).toBeGreaterThanOrEqual(45);
  });

  it('7: the application’s own key function is asked, and its failure is a clear error that passes', async () => {
    let keys: JWK[] | Error = [await newJwk('first')];
    const source = () => {
      if (keys instanceof Error) throw keys;
      return keys;
    };
    const sessions = await start({ signingKeys: { source } });
    const first = await sessions.tokens.issue({ userId: 'ann' });
    expect(decode(first.accessToken.token, 'header')['kid']).toBe('first');

    keys = [await newJwk('second'), ...keys];
    pass(6 * MINUTE);
    const second = await sessions.tokens.issue({ userId: 'ann' });
    expect(decode(second.accessToken.token, 'header')['kid']).toBe('second');
    await expect(sessions.tokens.verify(first.accessToken.token)).resolves.toMatchObject({ userId: 'ann' });

    const working = keys;
    keys = new Error('the vault is sealed');
    pass(6 * MINUTE);
    await expect(sessions.tokens.issue({ userId: 'ann' })).rejects.toMatchObject({
      code: 'keys_unavailable',
      message: "The application's signingKeys.source failed.",
      cause: keys,
    });

    keys = working;
    pass(MINUTE);
    await expect(sessions.tokens.issue({ userId: 'ann' })).resolves.toBeDefined();
  });

  it('8: an access token with another payload is refused', async () => {
    const sessions = await start();
    const { accessToken } = await sessions.tokens.issue({ userId: 'ann', claims: { role: 'user' } });
    const [header, , signature] = accessToken.token.split('.');
    const payload = { ...decode(accessToken.token, 'payload'), role: 'admin' };
    const forged = [header, Buffer.from(JSON.stringify(payload)).toString('base64url'), signature].join('.');
    await expect(sessions.tokens.verify(forged)).rejects.toMatchObject(TRY_REFRESH);
  });

  it('9: a refresh changes all tokens, the first verify gives one more, the second none; and again', async () => {
    const sessions = await start();
    const issued = await sessions.tokens.issue({ userId: 'ann', claims: { a: 'payload' } });
    const seen = new Set([issued.accessToken.token, issued.refreshToken.token]);
    let refreshToken = issued.refreshToken.token;
    for (let cycle = 1; cycle <= 3; cycle++) {
      pass(15 * MINUTE);
      await expect(sessions.tokens.verify([...seen].at(-1)!)).rejects.toMatchObject(TRY_REFRESH);
      const refreshed = await sessions.tokens.refresh(refreshToken);
      refreshToken = refreshed.refreshToken!.token;
      seen.add(refreshToken).add(refreshed.accessToken.token);
      const { newAccessToken, userId, claims } = await sessions.tokens.verify(refreshed.accessToken.token);
      expect({ userId, claims }).toEqual({ userId: 'ann', claims: { a: 'payload' } });
      seen.add(newAccessToken!.token);
      await expectFree(world, sessions, newAccessToken!.token);
      expect(seen.size).toBe(2 + 3 * cycle);
    }
  });

  it('10: a session that idles past its refresh token’s life is over; one that refreshes goes on', async () => {
    const sessions = await start({ refreshToken: { ttl: '10d' } });
    const [idle, busy] = await issue(sessions, 2);
    let refreshToken = busy!.refreshToken.token;
    for (let count = 0; count < 4; count++) {
      pass(4 * DAY);
      const refreshed = await sessions.tokens.refresh(refreshToken);
      await sessions.tokens.verify(refreshed.accessToken.token);
      refreshToken = refreshed.refreshToken!.token;
    }
    await expect(sessions.tokens.refresh(idle!.refreshToken.token)).rejects.toMatchObject(OVER);
    pass(10 * DAY - 1);
    refreshToken = (await sessions.tokens.refresh(refreshToken)).refreshToken!.token;
    pass(10 * DAY);
    await expect(sessions.tokens.refresh(refreshToken)).rejects.toMatchObject(OVER);
  });

  it('11: the parent of a refresh token whose access token has been used is theft', async () => {
    const sessions = await start();
    const events = recordEvents(sessions);
    const { session, refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
    pass(1);
    const second = await sessions.tokens.refresh(refreshToken.token);
    await sessions.tokens.verify(second.accessToken.token);
    pass(1);
    const theft = { sessionId: session.id, userId: 'ann' };
    await expect(sessions.tokens.refresh(refreshToken.token)).rejects.toMatchObject({ ...THEFT, ...theft });
    const { tokenId } = parseRefreshToken(refreshToken.token)!;
    const stale = { tokenId, kind: 'superseded', behind: 1, age: 2 };
    expect(events.at(-1)).toMatchObject({ type: 'theft', ...theft, ...stale });
  });

  it('12: a refresh token from two rotations ago is theft, although no access token was used', async () => {
    const sessions = await start();
    const { session, refreshToken } = await sessions.tokens.issue({ userId: 1 });
    pass(1);
    const second = await sessions.tokens.refresh(refreshToken.token);
    pass(1);
    await sessions.tokens.refresh(second.refreshToken!.token);
    pass(1);
    await expect(sessions.tokens.refresh(refreshToken.token)).rejects.toMatchObject({
      ...THEFT,
      sessionId: session.id,
      userId: 1,
    });
  });

  it('13: data is what it was at sign-in until it is updated, even to another type', async () => {
    const sessions = await start();
    const { session } = await sessions.tokens.issue({ userId: 'ann', data: { key: 'value' } });
    expect((await sessions.find(session.id))!.data).toEqual({ key: 'value' });
    await sessions.updateData(session.id, untyped(2));
    expect((await sessions.find(session.id))!.data).toBe(2);
    await sessions.updateData(session.id, untyped(null));
    expect((await sessions.find(session.id))!.data).toBeNull();
  });

  it('14: revoking one of two without a blacklist: its access token is good until it expires', async () => {
    const sessions = await start({ revocation: 'none' });
    const [revoked, other] = await issue(sessions, 2);
    await expect(sessions.revoke(revoked!.session.id)).resolves.toBe(true);
    await expect(sessions.tokens.refresh(revoked!.refreshToken.token)).rejects.toMatchObject(OVER);
    await expect(sessions.tokens.verify(revoked!.accessToken.token)).resolves.toMatchObject({
      userId: 'ann',
    });
    pass(15 * MINUTE);
    await expect(sessions.tokens.verify(revoked!.accessToken.token)).rejects.toMatchObject(TRY_REFRESH);
    await expect(sessions.tokens.refresh(revoked!.refreshToken.token)).rejects.toMatchObject(OVER);

    const refreshed = await sessions.tokens.refresh(other!.refreshToken.token);
    await expect(sessions.tokens.verify(refreshed.accessToken.token)).resolves.toMatchObject({
      userId: 'ann',
    });
  });

  it.each(blacklists)(
    '15: revoking one of two with a blacklist (%s): its access token is over at once',
    async (revocation) => {
      const sessions = await start({ revocation });
      const [revoked, other] = await issue(sessions, 2);
      await sessions.tokens.verify(revoked!.accessToken.token);
      await expect(sessions.revoke(revoked!.session.id)).resolves.toBe(true);
      await expect(sessions.tokens.verify(revoked!.accessToken.token)).rejects.toMatchObject(OVER);
      await expect(sessions.tokens.refresh(revoked!.refreshToken.token)).rejects.toMatchObject(OVER);
      await expect(sessions.tokens.verify(other!.accessToken.token)).resolves.toMatchObject({
        userId: 'ann',
      });
    },
  );

  it.each(['none', ...blacklists] as const)(
    '16: revoking all three of a user (%s) leaves no sessions, and those of others alone',
    async (revocation) => {
      const sessions = await start({ revocation });
      const all = await issue(sessions, 3);
      const other = await sessions.tokens.issue({ userId: 'bob' });
      await expect(sessions.revokeAllForUser('ann')).resolves.toBe(3);
      await expect(sessions.findAllForUser('ann')).resolves.toMatchObject({ sessions: [] });
      const verified = await Promise.allSettled(
        all.map(({ accessToken }) => sessions.tokens.verify(accessToken.token)),
      );
      expect(verified).toMatchObject(
        revocation === 'none'
          ? all.map(() => ({ status: 'fulfilled', value: { userId: 'ann' } }))
          : all.map(() => ({ status: 'rejected', reason: OVER })),
      );
      await expect(sessions.tokens.refresh(all[0]!.refreshToken.token)).rejects.toMatchObject(OVER);
      await expect(sessions.tokens.verify(other.accessToken.token)).resolves.toMatchObject({ userId: 'bob' });

      // Their rows stay until the last access token has expired, but without the content of the session.
      pass(HOUR);
      await expect(sessions.removeExpired()).resolves.toBe(3);
      expect((await world.rows()).map(({ id }) => id)).toEqual([other.session.id]);
    },
  );

  it('17: a clean-up with three expired sessions and a live one leaves one row', async () => {
    const sessions = await start({ refreshToken: { ttl: '1h' } });
    await issue(sessions, 3);
    pass(HOUR + 1);
    const live = await sessions.tokens.issue({ userId: 'ann' });
    await expect(sessions.removeExpired()).resolves.toBe(3);
    expect((await world.rows()).map(({ id }) => id)).toEqual([live.session.id]);
    await expect(sessions.tokens.verify(live.accessToken.token)).resolves.toBeDefined();
  });

  it('18: a refresh token under another key is over, a JWT under another key says: try to refresh', async () => {
    const sessions = await start();
    const events = recordEvents(sessions);
    const { accessToken, refreshToken } = await sessions.tokens.issue({ userId: 'ann' });

    // Each is right in every respect but its key.
    const otherKey = randomBytes(32);
    const parts = parseRefreshToken(refreshToken.token)!;
    const forgedRefresh = encodeRefreshToken(parts, createSecretKey(otherKey));
    const forgedAccess = await new SignJWT(decode(accessToken.token, 'payload'))
      .setProtectedHeader(decode(accessToken.token, 'header') as { alg: string })
      .sign(otherKey);

    await expect(sessions.tokens.refresh(forgedRefresh)).rejects.toMatchObject(OVER);
    await expect(sessions.tokens.verify(forgedAccess)).rejects.toMatchObject(TRY_REFRESH);
    pass(1);
    await expect(sessions.tokens.refresh(refreshToken.token)).resolves.toBeDefined();
    expect(events.map(({ type }) => type)).toEqual(['created', 'refreshed']);
  });

  describe('21: what the tables held is gone, then a refresh', () => {
    it.each(['user_session', 'user_session_key'])(
      'after the rows of %s: over, and a new sign-in works',
      async (table) => {
        const { refreshToken } = await (await start()).tokens.issue({ userId: 'ann' });
        // A node of a cluster might not have the row of a session that is younger.
        pass('30s');
        await world.dataSource.query(`DELETE FROM ${table}`);
        const restarted = await start();
        await expect(restarted.tokens.refresh(refreshToken.token)).rejects.toMatchObject({
          ...OVER,
          final: true,
        });
        const { accessToken } = await restarted.tokens.issue({ userId: 'ann' });
        await expect(restarted.tokens.verify(accessToken.token)).resolves.toMatchObject({ userId: 'ann' });
      },
    );

    it('after the rows of both, in a process that goes on: over', async () => {
      const sessions = await start();
      const { refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      await world.empty();
      pass(HOUR);
      await expect(sessions.tokens.refresh(refreshToken.token)).rejects.toMatchObject({
        ...OVER,
        final: true,
      });
    });

    it('after the tables themselves: unavailable, which ends no session, and over once they are made anew', async () => {
      const sessions = await start();
      const { refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      pass('30s');
      await world.dataSource.undoLastMigration();
      try {
        await expect(sessions.tokens.refresh(refreshToken.token)).rejects.toMatchObject({
          code: 'storage_unavailable',
        });
      } finally {
        await world.dataSource.runMigrations();
      }
      await expect(sessions.tokens.refresh(refreshToken.token)).rejects.toMatchObject(OVER);
    });
  });
});
