import { createSecretKey, randomBytes } from 'node:crypto';
import { decodeProtectedHeader, SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import {
  SessionOverError,
  type SigningAlgorithm,
  StorageUnavailableError,
  TryRefreshError,
} from 'nestjs-session-tokens';
import { encodeRefreshToken, parseRefreshToken } from '../../lib/protocol/refresh-token.codec.js';
import { databases } from '../support/databases.js';
import { seededRandom } from '../support/random.js';
import { withoutDatabase } from '../support/statements.js';
import { DAY, HOUR, MINUTE, pass, SECOND, START, withClock } from '../support/time.js';
import { useWorld, type Instance } from '../support/world.js';

const KEY_QUERY = 'user_session_key';

describe.each(databases)('keys on $name', (kind) => {
  const world = useWorld(kind);

  describe('at the first start', () => {
    test('one access key and one refresh key are made', async () => {
      await world.start(1);
      expect(await world.keys('access')).toMatchObject([
        { sequence: 1, activeAt: START, algorithm: 'HS256' },
      ]);
      expect(await world.keys('refresh')).toMatchObject([{ sequence: 1, activeAt: START }]);
    });

    test('eight instances at once agree on the keys, and each accepts the tokens of all', async () => {
      const instances = await world.start(8);
      expect(await world.keys('access')).toHaveLength(1);
      expect(await world.keys('refresh')).toHaveLength(1);
      await expectAllAgree(instances);
    });

    test('an instance whose clock is a minute behind the first one signs all the same', async () => {
      const [, ...instances] = await world.start(3);
      for (const { service } of instances) {
        const { accessToken } = await withClock(-MINUTE, () => service.tokens.issue({ userId: 1 }));
        await expect(instances[0]!.service.tokens.verify(accessToken.token)).resolves.toBeDefined();
      }
    });
  });

  describe('rotation', () => {
    test('the next key is published well ahead of its use, and takes over at its time', async () => {
      const [one, two] = (await world.start(2)) as [Instance, Instance];
      pass(23 * HOUR - 10 * MINUTE);
      await one.service.tokens.issue({ userId: 1 });
      expect(await world.keys('access')).toHaveLength(1);

      pass(10 * MINUTE);
      const ahead = await kidOfNewToken(one);
      const [first, second] = await world.keys('access');
      expect(second).toMatchObject({ sequence: 2, activeAt: START + DAY });
      expect(ahead).toBe(first!.kid);

      pass(HOUR - 1);
      expect([await kidOfNewToken(one), await kidOfNewToken(two)]).toEqual([first!.kid, first!.kid]);
      pass(1);
      expect([await kidOfNewToken(one), await kidOfNewToken(two)]).toEqual([second!.kid, second!.kid]);
      expect(await world.keys('access')).toHaveLength(2);
    });

    test('a retired key verifies for the life of a token, is then removed, and not before', async () => {
      const [one] = (await world.start(1)) as [Instance];
      pass(DAY - HOUR);
      await one.service.tokens.issue({ userId: 1 });
      pass(HOUR - 1);
      const last = await one.service.tokens.issue({ userId: 1 });
      const [retiring] = await world.keys('access');
      expect(decodeProtectedHeader(last.accessToken.token).kid).toBe(retiring!.kid);

      pass(15 * MINUTE - SECOND);
      await one.signingKeys.removeRetired(Date.now());
      const [fresh] = (await world.start(1)) as [Instance];
      await expect(fresh.service.tokens.verify(last.accessToken.token)).resolves.toBeDefined();

      pass(HOUR);
      await one.signingKeys.removeRetired(Date.now());
      expect(await world.keys('access')).toMatchObject([{ sequence: 2 }]);
    });

    test('a removal never takes the current key, however long nobody signed', async () => {
      const [one] = (await world.start(1)) as [Instance];
      pass(300 * DAY);
      await one.signingKeys.removeRetired(Date.now());
      await one.refreshTokens.removeRetiredKeys(Date.now());
      expect(await world.keys('access')).toHaveLength(1);
      expect(await world.keys('refresh')).toHaveLength(1);
    });

    test('nobody has to refresh through many rotations', async () => {
      const instances = await world.start(3, {
        signingKeys: { rotation: '10s' },
        accessToken: { ttl: '30s' },
        revocation: 'none',
      });
      const random = seededRandom(1);
      let alive: { token: string; expiresAt: number }[] = [];
      const kids = new Set<string>();
      for (let step = 0; step < 200; step++) {
        pass(Math.round(random() * 1_500));
        // The signing process changes, so that each process sometimes only verifies.
        const signer = instances[Math.floor(step / 17) % 3]!;
        const { accessToken } = await signer.service.tokens.issue({ userId: step });
        kids.add(decodeProtectedHeader(accessToken.token).kid!);
        alive.push({ token: accessToken.token, expiresAt: accessToken.expiresAt.getTime() });
        alive = alive.filter(({ expiresAt }) => expiresAt > Date.now());
        const checked = step % 10 === 0 ? alive : alive.slice(-1);
        for (const { service } of instances) {
          for (const { token } of checked) await service.tokens.verify(token);
        }
        if (step % 3 === 0) await instances[step % 2]!.signingKeys.removeRetired(Date.now());
      }
      expect(kids.size).toBeGreaterThan(10);
    });

    test('instances whose clocks differ by a minute accept the tokens of each other', async () => {
      const instances = await world.start(3, { signingKeys: { rotation: '1h' }, revocation: 'none' });
      const clocks = [-MINUTE, 0, MINUTE];
      const kids = new Set<string>();
      for (let step = 0; step < 5 * 60; step++) {
        pass(MINUTE);
        const clock = clocks[step % 3]!;
        const signer = instances[step % 3]!;
        const { accessToken } = await withClock(clock, () => signer.service.tokens.issue({ userId: 1 }));
        kids.add(decodeProtectedHeader(accessToken.token).kid!);
        for (const [index, { service }] of instances.entries()) {
          await withClock(clocks[index]!, () => service.tokens.verify(accessToken.token));
        }
        await signer.signingKeys.removeRetired(Date.now() + clock);
      }
      expect(kids.size).toBeGreaterThanOrEqual(5);
    });

    test('an instance that was idle for days catches up', async () => {
      const [busy, idle] = (await world.start(2)) as [Instance, Instance];
      for (let hour = 0; hour < 5 * 24; hour++) {
        pass(HOUR);
        await busy.service.tokens.issue({ userId: 1 });
        await busy.signingKeys.removeRetired(Date.now());
      }
      expect((await world.keys('access'))[0]!.sequence).toBeGreaterThan(3);
      const { accessToken } = await busy.service.tokens.issue({ userId: 1 });
      await expect(idle.service.tokens.verify(accessToken.token)).resolves.toBeDefined();
      expect(await kidOfNewToken(idle)).toBe(decodeProtectedHeader(accessToken.token).kid);
    });

    test('after days in which nobody came, all instances go on and agree', async () => {
      const instances = await world.start(3);
      pass(5 * DAY);
      await expectAllAgree(instances);
      expect(await world.keys('access')).toHaveLength(2);
      pass(2 * HOUR);
      await expectAllAgree(instances);
    });
  });

  describe('algorithms', () => {
    test.each<SigningAlgorithm>(['HS256', 'ES256', 'EdDSA', 'RS256'])(
      '%s keys sign, rotate, and verify in every instance',
      async (algorithm) => {
        const instances = await world.start(2, { accessToken: { algorithm } });
        await expectAllAgree(instances);
        pass(DAY - MINUTE);
        await expectAllAgree(instances);
        pass(HOUR);
        const { accessToken } = await instances[0]!.service.tokens.issue({ userId: 1 });
        const [, second] = await world.keys('access');
        expect(decodeProtectedHeader(accessToken.token)).toEqual({
          alg: algorithm,
          kid: second!.kid,
          typ: 'at+jwt',
        });
        await expectAllAgree(instances);
      },
    );

    test('a change of the algorithm takes effect with the next key, and nobody notices', async () => {
      const [before] = (await world.start(1)) as [Instance];
      const [after] = (await world.start(1, { accessToken: { algorithm: 'ES256' } })) as [Instance];
      expect(await algorithmOfNewToken(after)).toBe('HS256');
      pass(DAY - HOUR);
      await after.service.tokens.issue({ userId: 1 });
      pass(HOUR);
      expect(await algorithmOfNewToken(after)).toBe('ES256');
      await expectAllAgree([before, after]);
    });
  });

  describe('tokens with an unknown kid', () => {
    test('cost at most one look at the keys per cooldown, at once or one after the other', async () => {
      const [{ service, log }] = (await world.start(1)) as [Instance];
      const junk = await Promise.all(Array.from({ length: 1_000 }, junkAccessToken));
      pass(10 * SECOND);
      log.take();
      const results = await Promise.allSettled(junk.map((token) => service.tokens.verify(token)));
      expect(results.every(({ status }) => status === 'rejected')).toBe(true);
      expect(log.take(KEY_QUERY)).toHaveLength(1);

      const others: unknown[] = [];
      for (let second = 0; second < 60; second++) {
        pass(SECOND);
        for (const token of junk.slice(second, second + 20)) {
          const outcome: unknown = await service.tokens.verify(token).catch((error: unknown) => error);
          if (!(outcome instanceof TryRefreshError)) others.push(outcome);
        }
      }
      expect(others).toEqual([]);
      expect(log.take(KEY_QUERY)).toHaveLength(6);
    });

    test('cost nothing right after a look', async () => {
      const [{ service, log }] = (await world.start(1)) as [Instance];
      log.take();
      await expect(service.tokens.verify(await junkAccessToken())).rejects.toThrow(TryRefreshError);
      expect(log.take()).toEqual([]);
    });
  });

  describe('while the database is down', () => {
    test('an unknown kid is neither valid nor invalid, and known ones are verified', async () => {
      const [one, two] = (await world.start(2, { revocation: 'none' })) as [Instance, Instance];
      const known = await one.service.tokens.issue({ userId: 1 });
      pass(DAY - HOUR);
      await two.service.tokens.issue({ userId: 1 });
      pass(HOUR);
      const unknown = await two.service.tokens.issue({ userId: 1 });
      await withoutDatabase(one, async () => {
        for (let attempts = 0; attempts < 3; attempts++) {
          await expect(one.service.tokens.verify(unknown.accessToken.token)).rejects.toThrow(
            StorageUnavailableError,
          );
        }
        await expect(
          withClock(-DAY, () => one.service.tokens.verify(known.accessToken.token)),
        ).resolves.toBeDefined();
      });
      pass(10 * SECOND);
      await expect(one.service.tokens.verify(unknown.accessToken.token)).resolves.toBeDefined();
    });

    test('a refresh token with an unknown key is neither valid nor invalid', async () => {
      const [one] = (await world.start(1)) as [Instance];
      pass(10 * SECOND);
      await withoutDatabase(one, async () => {
        for (let attempts = 0; attempts < 3; attempts++) {
          await expect(one.service.tokens.refresh(foreignRefreshToken())).rejects.toThrow(
            StorageUnavailableError,
          );
        }
      });
    });
  });

  describe('refresh keys', () => {
    const options = { refreshToken: { ttl: '10d', absoluteTtl: '30d' } };

    test('rotate, and the last token of a retired key works for all its life', async () => {
      const [one] = (await world.start(1, options)) as [Instance];
      pass(10 * DAY - HOUR);
      await one.service.tokens.issue({ userId: 1 });
      pass(HOUR - 1);
      const last = await one.service.tokens.issue({ userId: 1, ttl: '30d' });
      pass(1);
      const next = await one.service.tokens.issue({ userId: 1 });
      expect(keyIdOf(last.refreshToken.token)).toBe(1);
      expect(keyIdOf(next.refreshToken.token)).toBe(2);

      pass(30 * DAY - MINUTE);
      await one.refreshTokens.removeRetiredKeys(Date.now());
      const [fresh] = (await world.start(1, options)) as [Instance];
      const refreshed = await fresh.service.tokens.refresh(last.refreshToken.token);
      expect(keyIdOf(refreshed.refreshToken!.token)).toBeGreaterThan(1);

      pass(HOUR);
      await fresh.refreshTokens.removeRetiredKeys(Date.now());
      expect((await world.keys('refresh')).map(({ sequence }) => sequence)).not.toContain(1);
    });

    test.each([
      { ttl: '10d', absoluteTtl: '200d' },
      { ttl: '10d', absoluteTtl: '3650d' },
      { ttl: '10d', absoluteTtl: '10d' },
    ])('nobody is signed out through many rotations, and the table stays small: %o', async (refreshToken) => {
      const instances = await world.start(2, { refreshToken });
      const days = Math.min(180, Number.parseInt(refreshToken.absoluteTtl, 10) - 1);
      for (let user = 1; user <= 900 / days; user++) {
        let token = (await instances[0]!.service.tokens.issue({ userId: user })).refreshToken;
        for (let day = 9; day < days; day += 9) {
          pass(9 * DAY);
          const { service, refreshTokens } = instances[day % 2]!;
          await refreshTokens.removeRetiredKeys(Date.now());
          token = (await service.tokens.refresh(token.token)).refreshToken!;
        }
        pass(9 * DAY);
        await instances[0]!.refreshTokens.removeRetiredKeys(Date.now());
      }
      const keys = await world.keys('refresh');
      expect(keys.at(-1)!.sequence).toBeGreaterThan(2);
      expect(keys.length).toBeLessThanOrEqual(15);
    });

    test('that are unknown make a final answer only after a look at the database', async () => {
      const [{ service, log }] = (await world.start(1)) as [Instance];
      const refusal = async () =>
        service.tokens.refresh(foreignRefreshToken()).catch((error: unknown) => error as SessionOverError);
      log.take();
      expect(await refusal()).toMatchObject({ code: 'session_over', final: false });
      expect(log.take()).toEqual([]);
      pass(10 * SECOND);
      expect(await refusal()).toMatchObject({ code: 'session_over', final: true });
      expect(log.take(KEY_QUERY)).toHaveLength(1);
      expect(await refusal()).toMatchObject({ code: 'session_over', final: false });
    });
  });
});

/** Expects that each process accepts access and refresh tokens of every process. */
async function expectAllAgree(instances: readonly Instance[]): Promise<void> {
  for (const { service } of instances) {
    const { accessToken, refreshToken } = await service.tokens.issue({ userId: 1 });
    for (const other of instances) {
      await expect(other.service.tokens.verify(accessToken.token)).resolves.toMatchObject({ userId: 1 });
      await expect(other.service.tokens.refresh(refreshToken.token)).resolves.toBeDefined();
    }
  }
}

async function kidOfNewToken({ service }: Instance): Promise<string | undefined> {
  const { accessToken } = await service.tokens.issue({ userId: 1 });
  return decodeProtectedHeader(accessToken.token).kid;
}

async function algorithmOfNewToken({ service }: Instance): Promise<string | undefined> {
  const { accessToken } = await service.tokens.issue({ userId: 1 });
  return decodeProtectedHeader(accessToken.token).alg;
}

async function junkAccessToken(): Promise<string> {
  return new SignJWT({ sid: 'x' })
    .setProtectedHeader({ alg: 'HS256', kid: randomBytes(12).toString('base64url'), typ: 'at+jwt' })
    .setSubject('x')
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(randomBytes(32));
}

function foreignRefreshToken(): string {
  return encodeRefreshToken(
    {
      keyId: 77,
      sessionId: '01900000-0000-7000-8000-000000000000',
      generation: 0,
      issuedAt: Date.now(),
      tokenId: '0011223344556677',
      sessionSecret: randomBytes(16),
    },
    createSecretKey(randomBytes(32)),
  );
}

function keyIdOf(refreshToken: string): number {
  return parseRefreshToken(refreshToken)!.keyId;
}
