import { generateSecret, exportJWK, type JWK } from 'jose';
import { describe, expect, it } from 'vitest';
import { databases } from '../support/databases.js';
import { DAY, HOUR, MINUTE, pass, SECOND } from '../support/time.js';
import { decode, expectFree, OVER, recordEvents, STRICT, THEFT, TRY_REFRESH } from './expectations.js';
import { untyped } from '../support/untyped.js';
import { insist, useWorld } from '../support/world.js';

const userIds = [1, 0, -1, '1', '0', '{"i":1}', '"', ' ', '用户 Zoë 🙂', 'null'];
const payloads = [
  null,
  0,
  -1.5,
  '',
  'text',
  'Zoë 🙂',
  true,
  false,
  [],
  [1, 'a', [null]],
  {},
  { a: { b: [1] } },
];

describe.each(databases)('the behaviour of the older libraries, on $name', (kind) => {
  const world = useWorld(kind);

  describe('refresh tokens', () => {
    it('create, verify, refresh, verify with the child: the parent is theft from then on', async () => {
      const sessions = await world.process(STRICT);
      const parent = await sessions.tokens.issue({ userId: 'ann' });
      await sessions.tokens.verify(parent.accessToken.token);
      pass(1);
      const child = await sessions.tokens.refresh(parent.refreshToken.token);
      await sessions.tokens.verify(child.accessToken.token);
      pass(1);
      await expect(sessions.tokens.refresh(parent.refreshToken.token)).rejects.toMatchObject(THEFT);
    });

    it.each(
      [
        { used: 0, other: 1, which: 'first' },
        { used: 1, other: 0, which: 'second' },
      ].flatMap((each) => [
        { ...each, verified: [], before: 'no access token was used' },
        { ...each, verified: [each.used], before: 'its access token was used' },
        { ...each, verified: [each.other], before: 'the other’s access token was used' },
        { ...each, verified: [each.other, each.used], before: 'both access tokens were used' },
      ]),
    )(
      'may be exchanged twice; of the two children one goes on: once the $which has been exchanged, the other is theft ($before)',
      async ({ used, other, verified }) => {
        const sessions = await world.process(STRICT);
        const parent = await sessions.tokens.issue({ userId: 'ann' });
        const children: { access: string; refresh: string }[] = [];
        for (let count = 0; count < 2; count++) {
          pass(1);
          const { accessToken, refreshToken } = await sessions.tokens.refresh(parent.refreshToken.token);
          children.push({ access: accessToken.token, refresh: refreshToken!.token });
        }
        expect(children[0]!.refresh).not.toBe(children[1]!.refresh);
        for (const child of verified) {
          pass(1);
          await sessions.tokens.verify(children[child]!.access);
        }
        pass(1);
        await sessions.tokens.refresh(children[used]!.refresh);
        pass(1);
        await expect(sessions.tokens.refresh(children[other]!.refresh)).rejects.toMatchObject({
          ...THEFT,
          sessionId: parent.session.id,
          userId: 'ann',
        });
      },
    );

    it('that looks old is a theft only where the client comes with it again, having looked for a newer one', async () => {
      const sessions = await world.process({ reuseWindow: 0 });
      const events = recordEvents(sessions);
      const parent = await sessions.tokens.issue({ userId: 'ann' });
      const child = await sessions.tokens.refresh(parent.refreshToken.token);
      await sessions.tokens.verify(child.accessToken.token);
      await expect(sessions.tokens.refresh(parent.refreshToken.token)).rejects.toMatchObject({
        code: 'look_again',
      });
      // It had looked again for another token, or not at all.
      for (const lookedAgain of ['', child.refreshToken!.token, '00'.repeat(8)]) {
        const again = sessions.tokens.refresh(parent.refreshToken.token, { lookedAgain });
        await expect(again).rejects.toMatchObject({ code: 'look_again' });
      }
      const { refreshToken } = await sessions.tokens.refresh(child.refreshToken!.token);
      await expect(insist(sessions, parent.refreshToken.token)).rejects.toMatchObject(THEFT);
      await expect(insist(sessions, refreshToken!.token)).rejects.toMatchObject(OVER);
      expect(events.filter(({ type }) => type === 'theft')).toHaveLength(1);
    });
  });

  describe('access tokens', () => {
    it('of a refresh are replaced when they are first used, and cost the database nothing after that', async () => {
      const sessions = await world.process(STRICT);
      const { refreshToken, accessToken } = await sessions.tokens.issue({
        userId: 'ann',
        claims: { role: 'admin' },
      });
      await expectFree(world, sessions, accessToken.token);
      pass(1);
      const refreshed = await sessions.tokens.refresh(refreshToken.token);
      const { newAccessToken, ...verified } = await sessions.tokens.verify(refreshed.accessToken.token);
      expect(newAccessToken!.token).not.toBe(refreshed.accessToken.token);
      expect(newAccessToken!.expiresAt).toEqual(refreshed.accessToken.expiresAt);
      expect(verified).toMatchObject({ userId: 'ann', claims: { role: 'admin' } });
      await expectFree(world, sessions, newAccessToken!.token);
    });

    it('that have expired say: try to refresh', async () => {
      const sessions = await world.process({ accessToken: { ttl: '1h' } });
      const { accessToken, refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      pass(HOUR - 1);
      await expect(sessions.tokens.verify(accessToken.token)).resolves.toMatchObject({ userId: 'ann' });
      pass(1);
      await expect(sessions.tokens.verify(accessToken.token)).rejects.toMatchObject(TRY_REFRESH);
      await expect(sessions.tokens.refresh(refreshToken.token)).resolves.toMatchObject({
        session: { userId: 'ann' },
      });
    });

    it('are refused when one character of their payload is another', async () => {
      const sessions = await world.process();
      const { accessToken } = await sessions.tokens.issue({ userId: 'ann', claims: { role: 'user' } });
      const { token } = accessToken;
      const accepted: number[] = [];
      for (let at = token.indexOf('.') + 1; at < token.lastIndexOf('.'); at++) {
        const altered = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
        const error = await sessions.tokens.verify(altered).catch((reason: unknown) => reason);
        if ((error as { code?: string }).code !== 'try_refresh') accepted.push(at);
      }
      expect(accepted).toEqual([]);
    });
  });

  describe('a session that has expired', () => {
    it('is over for its refresh token and for its user', async () => {
      const sessions = await world.process({ refreshToken: { ttl: '10d' } });
      const { session, refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      pass(10 * DAY - 1);
      await expect(sessions.find(session.id)).resolves.toMatchObject({ userId: 'ann' });
      pass(1);
      await expect(insist(sessions, refreshToken.token)).rejects.toMatchObject(OVER);
      await expect(sessions.find(session.id)).resolves.toBeNull();
      await expect(sessions.findAllForUser('ann')).resolves.toMatchObject({ sessions: [] });
      await expect(sessions.revoke(session.id)).resolves.toBe(false);
      await expect(sessions.updateData(session.id, {})).rejects.toMatchObject({ code: 'session_not_found' });
    });
  });

  describe('values', () => {
    it.each(userIds)('the user id %j keeps value and type through a session’s life', async (userId) => {
      const sessions = await world.process(STRICT);
      const { session, accessToken, refreshToken } = await sessions.tokens.issue({ userId });
      pass(1);
      const refreshed = await sessions.tokens.refresh(refreshToken.token);
      const child = await sessions.tokens.verify(refreshed.accessToken.token);
      const sources = [
        session,
        await sessions.tokens.verify(accessToken.token),
        refreshed.session,
        child,
        await sessions.tokens.verify(child.newAccessToken!.token),
        await sessions.find(session.id),
        ...(await sessions.findAllForUser(userId)).sessions,
      ];
      expect(sources.map((source) => source!.userId)).toEqual(Array(7).fill(userId));
    });

    it('user ids that look alike are different users', async () => {
      const sessions = await world.process();
      const alike = [1, '1', '01', 'ann', 'Ann', 'ann ', 'änn', '"ann"', '{"i":1}', '{"i": 1}'];
      for (const userId of alike) await sessions.tokens.issue({ userId });
      for (const userId of alike) {
        const found = (await sessions.findAllForUser(userId)).sessions;
        expect(found.map((session) => session.userId)).toEqual([userId]);
      }
      await expect(sessions.revokeAllForUser('1')).resolves.toBe(1);
      expect((await sessions.findAllForUser(1)).sessions).toHaveLength(1);
    });

    it.each(payloads)('%j as claims and as data comes back unchanged', async (value) => {
      const sessions = await world.process(STRICT);
      const { session, accessToken, refreshToken } = await sessions.tokens.issue({
        userId: 'ann',
        claims: untyped(value),
        data: untyped(value),
      });
      await expect(sessions.tokens.verify(accessToken.token)).resolves.toMatchObject({ claims: value });
      pass(1);
      const refreshed = await sessions.tokens.refresh(refreshToken.token);
      const { newAccessToken, claims } = await sessions.tokens.verify(refreshed.accessToken.token);
      expect(claims).toStrictEqual(value);
      expect((await sessions.tokens.verify(newAccessToken!.token)).claims).toStrictEqual(value);
      const found = await sessions.find(session.id);
      expect(found!.claims).toStrictEqual(value);
      expect(found!.data).toStrictEqual(value);
    });
  });

  describe('signing keys', () => {
    it('change between two requests, and nobody notices', async () => {
      const sessions = await world.process({ accessToken: { ttl: '1h' }, signingKeys: { rotation: '2h' } });
      pass(90 * MINUTE);
      await sessions.tokens.issue({ userId: 'the one at whose sign-in the next key is published' });
      pass(29 * MINUTE);
      const { accessToken, refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      pass(2 * MINUTE);
      const later = await sessions.tokens.issue({ userId: 'bob' });
      expect(decode(later.accessToken.token, 'header')['kid']).not.toBe(
        decode(accessToken.token, 'header')['kid'],
      );
      await expect(sessions.tokens.verify(accessToken.token)).resolves.toMatchObject({ userId: 'ann' });
      await expect(sessions.tokens.refresh(refreshToken.token)).resolves.toMatchObject({
        session: { userId: 'ann' },
      });
    });

    it('come from the application’s own function where it gives one', async () => {
      const jwk: JWK = {
        ...(await exportJWK(await generateSecret('HS256', { extractable: true }))),
        kid: 'the-application',
        alg: 'HS256',
      };
      const sessions = await world.process({ signingKeys: { source: () => Promise.resolve([jwk]) } });
      const { accessToken } = await sessions.tokens.issue({ userId: 'ann' });
      expect(decode(accessToken.token, 'header')['kid']).toBe('the-application');
      await expect(sessions.tokens.verify(accessToken.token)).resolves.toMatchObject({ userId: 'ann' });
      await expect(world.keys('access')).resolves.toEqual([]);
    });

    it('that the application’s function fails to give are a clear error with its cause', async () => {
      const cause = new Error('the vault is sealed');
      const source = () => Promise.reject(cause);
      await expect(world.process({ signingKeys: { source } })).rejects.toMatchObject({
        code: 'keys_unavailable',
        message: "The application's signingKeys.source failed.",
        cause,
      });
    });

    it('are agreed upon by processes that start at once on an empty database', async () => {
      const connections = await Promise.all(Array.from({ length: 4 }, () => world.connect()));
      const processes = await Promise.all(connections.map(({ dataSource }) => world.process({}, dataSource)));
      await expect(world.keys('access')).resolves.toHaveLength(1);
      await expect(world.keys('refresh')).resolves.toHaveLength(1);
      const issued = await Promise.all(processes.map((each) => each.tokens.issue({ userId: 'ann' })));
      pass(MINUTE);
      for (const [index, { accessToken, refreshToken }] of issued.entries()) {
        const another = processes[(index + 1) % processes.length]!;
        await expect(another.tokens.verify(accessToken.token)).resolves.toMatchObject({ userId: 'ann' });
        await expect(another.tokens.refresh(refreshToken.token)).resolves.toMatchObject({
          session: { userId: 'ann' },
        });
      }
    });
  });

  describe('revocation', () => {
    it('without a blacklist leaves the access token good until it expires', async () => {
      const sessions = await world.process({ revocation: 'none' });
      const { session, accessToken, refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
      await expect(sessions.revoke(session.id)).resolves.toBe(true);
      await expect(insist(sessions, refreshToken.token)).rejects.toMatchObject(OVER);
      pass(15 * MINUTE - 1);
      await expect(sessions.tokens.verify(accessToken.token)).resolves.toMatchObject({ userId: 'ann' });
      pass(1);
      await expect(sessions.tokens.verify(accessToken.token)).rejects.toMatchObject(TRY_REFRESH);
    });

    it.each(['feed', 'database'] as const)(
      'with a blacklist (%s) refuses the access token at once',
      async (revocation) => {
        const sessions = await world.process({ revocation });
        const { session, accessToken } = await sessions.tokens.issue({ userId: 'ann' });
        await sessions.tokens.verify(accessToken.token);
        await expect(sessions.revoke(session.id)).resolves.toBe(true);
        await expect(sessions.tokens.verify(accessToken.token)).rejects.toMatchObject(OVER);
      },
    );

    it.each([
      ['feed', SECOND],
      ['database', 0],
    ] as const)('with a blacklist (%s) reaches the other processes', async (revocation, interval) => {
      const here = await world.process({ revocation });
      const there = await world.process({ revocation });
      const { session, accessToken } = await here.tokens.issue({ userId: 'ann' });
      await there.tokens.verify(accessToken.token);
      await here.revoke(session.id);
      pass(interval);
      await expect(there.tokens.verify(accessToken.token)).rejects.toMatchObject(OVER);
    });

    it('of an unknown session returns false', async () => {
      const sessions = await world.process();
      const events = recordEvents(sessions);
      for (const id of ['019f0000-1111-7222-8333-444455556666', '', 'no uuid', "' OR 1=1 --"]) {
        await expect(sessions.revoke(id)).resolves.toBe(false);
      }
      await expect(sessions.revokeMany([])).resolves.toBe(0);
      await expect(sessions.revokeAllForUser('nobody')).resolves.toBe(0);
      expect(events).toMatchObject([{ type: 'all_revoked', userId: 'nobody' }]);
    });

    it('of a session that is revoked already returns false', async () => {
      const sessions = await world.process();
      const { session } = await sessions.tokens.issue({ userId: 'ann' });
      await expect(sessions.revoke(session.id)).resolves.toBe(true);
      await expect(sessions.revoke(session.id)).resolves.toBe(false);
    });
  });

  describe('stored sessions', () => {
    it('that are unknown cannot be updated', async () => {
      const sessions = await world.process();
      const id = '019f0000-1111-7222-8333-444455556666';
      await expect(sessions.updateData(id, { a: 1 })).rejects.toMatchObject({
        code: 'session_not_found',
        sessionId: id,
      });
      await expect(sessions.updateData(id, () => ({ a: 1 }))).rejects.toMatchObject({ sessionId: id });
      await expect(sessions.updateClaims(id, { a: 1 })).rejects.toMatchObject({ sessionId: id });
    });

    it('that have expired are removed, and the live ones are left', async () => {
      const sessions = await world.process({ refreshToken: { ttl: '10d' }, cleanup: { batchSize: 2 } });
      const expired = [];
      for (let count = 0; count < 5; count++) expired.push(await sessions.tokens.issue({ userId: 'ann' }));
      pass(5 * DAY);
      const live = await sessions.tokens.issue({ userId: 'ann' });
      const renewed = await sessions.tokens.refresh(expired.pop()!.refreshToken.token);
      pass(5 * DAY + 1);
      await expect(sessions.removeExpired()).resolves.toBe(4);
      const left = (await world.rows()).map(({ id }) => id);
      expect(left.toSorted()).toEqual([live.session.id, renewed.session.id].toSorted());
      await expect(sessions.tokens.refresh(live.refreshToken.token)).resolves.toBeDefined();
    });
  });
});
