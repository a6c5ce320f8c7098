import { hkdfSync } from 'node:crypto';
import { Logger } from '@nestjs/common';
import { compactDecrypt, decodeProtectedHeader } from 'jose';
import { describe, expect, test, vi } from 'vitest';
import { KeyStore } from '../../lib/storage/key.store.js';
import {
  KeysUnavailableError,
  SessionKeyEntity,
  SessionOverError,
  type SigningAlgorithm,
  TryRefreshError,
} from 'nestjs-session-tokens';
import { databases } from '../support/databases.js';
import { DAY, HOUR, MINUTE, pass } from '../support/time.js';
import { useWorld, type Instance } from '../support/world.js';

const OLD = 'old secret, made of more than 32 characters';
const NEW = 'new secret, made of more than 32 characters';
const WRONG = 'a wrong one, made of more than 32 characters';

/** The secret under which material was sealed. */
async function secretOf(material: string): Promise<string | undefined> {
  for (const secret of [OLD, NEW]) {
    const key = hkdfSync('sha256', secret, '', 'nestjs-session-tokens key encryption v1', 32);
    const opened = await compactDecrypt(material, new Uint8Array(key)).catch(() => undefined);
    if (opened) return secret;
  }
  return undefined;
}

describe.each(databases)('key material at rest on $name', (kind) => {
  const world = useWorld(kind);

  const allKeys = async () => [...(await world.keys('access')), ...(await world.keys('refresh'))];

  test.each<SigningAlgorithm>(['HS256', 'ES256', 'EdDSA', 'RS256'])(
    '%s: with a secret nothing private can be read in the table',
    async (algorithm) => {
      await world.start(1, { secret: OLD, accessToken: { algorithm } });
      const keys = await allKeys();
      expect(keys).toHaveLength(2);
      for (const { kid, purpose, material } of keys) {
        // A compact JWE (RFC 7516): header, no encrypted key, IV, ciphertext, tag.
        expect(material).toMatch(/^[\w-]+\.\.[\w-]{16}\.[\w-]+\.[\w-]{22}$/);
        expect(decodeProtectedHeader(material)).toEqual({ alg: 'dir', enc: 'A256GCM', kid, purpose });
        expect(Buffer.from(material.split('.')[3]!, 'base64url').toString('latin1')).not.toContain('kty');
      }
    },
  );

  test('without a secret it lies there as it is', async () => {
    await world.start(1, { accessToken: { algorithm: 'ES256' } });
    for (const { material } of await allKeys()) {
      expect(JSON.parse(material)).toEqual(expect.objectContaining({ kty: expect.any(String) }));
    }
  });

  test('what is stored twice is not the same twice', async () => {
    await world.start(1, { secret: OLD });
    const ivs = (await allKeys()).map(({ material }) => material.split('.')[2]);
    expect(new Set(ivs).size).toBe(2);
  });

  describe('a row that was changed in the database stops the start', () => {
    test('when it was given another kid', async () => {
      const [{ dataSource }] = (await world.start(1, { secret: OLD })) as [Instance];
      const [key] = await world.keys('access');
      await dataSource.getRepository(SessionKeyEntity).update(key!.kid, { kid: 'another' });
      await expect(world.start(1, { secret: OLD })).rejects.toThrow(KeysUnavailableError);
    });

    test.each([
      ['refresh', 'access'],
      ['access', 'refresh'],
    ] as const)('when a %s key was put in the place of the %s key', async (from, to) => {
      const [{ dataSource }] = (await world.start(1, { secret: OLD })) as [Instance];
      const [source] = await world.keys(from);
      const [target] = await world.keys(to);
      const repository = dataSource.getRepository(SessionKeyEntity);
      await repository.delete(target!.kid);
      await repository.update(source!.kid, { purpose: to });
      await expect(world.start(1, { secret: OLD })).rejects.toThrow(KeysUnavailableError);
    });

    test('when its material was damaged', async () => {
      const [{ dataSource }] = (await world.start(1, { secret: OLD })) as [Instance];
      const [key] = await world.keys('access');
      const material = key!.material.replace(/.(?=[^.]*$)/, (char) => (char === 'A' ? 'B' : 'A'));
      await dataSource.getRepository(SessionKeyEntity).update(key!.kid, { material });
      await expect(world.start(1, { secret: OLD })).rejects.toThrow(KeysUnavailableError);
    });
  });

  describe('the name of the deployment', () => {
    const live = { secret: OLD, deployment: 'production' };
    const staging = { secret: OLD, deployment: 'staging' };

    test('stops the start on a copy of the database, and nothing is destroyed', async () => {
      await world.start(1, live);
      const before = await allKeys();
      await expect(world.start(1, staging)).rejects.toThrow(
        /a copy of another "deployment", empty the table/,
      );
      expect(await allKeys()).toEqual(before);
    });

    test('keeps a copy without its keys from making tokens that this deployment accepts', async () => {
      const [real] = (await world.start(1, live)) as [Instance];
      const issued = await real.service.tokens.issue({ userId: 1 });
      const keys = real.dataSource.getRepository(SessionKeyEntity);
      const kept = await keys.find();
      await keys.clear();
      const [copy] = (await world.start(1, staging)) as [Instance];
      const forged = await copy.service.tokens.issue({ userId: 1 });
      await expect(copy.service.tokens.verify(issued.accessToken.token)).rejects.toThrow(TryRefreshError);
      await expect(copy.service.tokens.refresh(issued.refreshToken.token)).rejects.toThrow(SessionOverError);
      // The rows of the copy may even come back: they are of no use there.
      const made = await keys.find();
      await keys.clear();
      for (const key of made) key.sequence += 10;
      await keys.insert([...kept, ...made]);
      const [again] = (await world.start(1, live)) as [Instance];
      await expect(again.service.tokens.verify(forged.accessToken.token)).rejects.toThrow(TryRefreshError);
      await expect(again.service.tokens.refresh(forged.refreshToken.token)).rejects.toThrow(SessionOverError);
      await expect(again.service.tokens.verify(issued.accessToken.token)).resolves.toBeDefined();
    });

    test('is added later, and nobody notices', async () => {
      const [before] = (await world.start(1, { secret: OLD })) as [Instance];
      const { accessToken, refreshToken } = await before.service.tokens.issue({ userId: 1 });
      const [after] = (await world.start(1, live)) as [Instance];
      await expect(after.service.tokens.verify(accessToken.token)).resolves.toBeDefined();
      await expect(after.service.tokens.refresh(refreshToken.token)).resolves.toBeDefined();
      await expect(world.start(1, { secret: OLD })).rejects.toThrow(KeysUnavailableError);
    });
  });

  describe('several secrets', () => {
    test('the first encrypts, all decrypt, and nobody notices the change', async () => {
      const [before] = (await world.start(1, { secret: OLD })) as [Instance];
      const { accessToken, refreshToken } = await before.service.tokens.issue({ userId: 1 });
      const [after] = (await world.start(1, { secret: [NEW, OLD] })) as [Instance];
      await expect(after.service.tokens.verify(accessToken.token)).resolves.toBeDefined();
      await expect(after.service.tokens.refresh(refreshToken.token)).resolves.toBeDefined();

      pass(DAY - HOUR);
      await after.service.tokens.issue({ userId: 1 });
      expect(await world.keys('access')).toHaveLength(2);
      pass(2 * HOUR);
      await after.signingKeys.removeRetired(Date.now());
      expect(await world.keys('access')).toMatchObject([{ sequence: 2 }]);
      await expect(world.start(1, { secret: NEW })).resolves.toBeDefined();
    });

    test('instances that do not have the new secret yet go on while another one publishes the next key', async () => {
      const [before] = (await world.start(1, { secret: OLD })) as [Instance];
      const [after] = (await world.start(1, { secret: [NEW, OLD] })) as [Instance];
      pass(DAY - HOUR);
      await after.service.tokens.issue({ userId: 1 });
      expect(await world.keys('access')).toHaveLength(2);
      pass(10 * MINUTE);
      const { accessToken } = await before.service.tokens.issue({ userId: 1 });
      await expect(after.service.tokens.verify(accessToken.token)).resolves.toBeDefined();
    });
  });

  describe.each([
    ['an ordinary moment', HOUR],
    ['the time at which the next key is due', 40 * DAY],
  ])('at %s', (_, wait) => {
    test.each([
      ['a wrong secret', WRONG, /No "secret" opens the session keys.*Give the secret they were stored with/],
      ['no secret', false as const, /encrypted, and no "secret" is set. Set the secret/],
    ])(
      '%s stops the start with a clear message, and nothing is destroyed',
      async (_name, secret, message) => {
        const [right] = (await world.start(1, { secret: OLD })) as [Instance];
        const before = await allKeys();
        pass(wait);
        const starting = world.start(1, { secret });
        await expect(starting).rejects.toThrow(KeysUnavailableError);
        await expect(starting).rejects.toThrow(message);
        await expect(starting).rejects.not.toThrow(/secret, made|wrong one/);
        expect(await allKeys()).toEqual(before);

        const { refreshToken } = await right.service.tokens.issue({ userId: 2 });
        await expect(right.service.tokens.refresh(refreshToken.token)).resolves.toBeDefined();
        await expect(world.start(1, { secret: OLD })).resolves.toBeDefined();
      },
    );
  });

  test('a secret that is given to a plain database encrypts what is there, and nobody notices', async () => {
    const [plain] = (await world.start(1)) as [Instance];
    const { accessToken, refreshToken } = await plain.service.tokens.issue({ userId: 1 });
    for (const { material } of await allKeys()) expect(material).toMatch(/^\{/);
    const [sealed] = (await world.start(1, { secret: NEW })) as [Instance];
    for (const { material } of await allKeys()) expect(await secretOf(material)).toBe(NEW);
    for (const { service } of [plain, sealed]) {
      await expect(service.tokens.verify(accessToken.token)).resolves.toBeDefined();
      await expect(service.tokens.refresh(refreshToken.token)).resolves.toBeDefined();
    }
    const [later] = (await world.start(1, { secret: NEW })) as [Instance];
    await expect(later.service.tokens.verify(accessToken.token)).resolves.toBeDefined();
  });

  test('a key that an older process made without a secret is encrypted by the first that has one', async () => {
    const [plain] = (await world.start(1)) as [Instance];
    const [sealed] = (await world.start(1, { secret: NEW })) as [Instance];
    pass(DAY);
    await plain.service.tokens.issue({ userId: 1 });
    expect((await world.keys('access')).filter(({ material }) => material.startsWith('{'))).toHaveLength(1);
    await sealed.service.tokens.issue({ userId: 1 });
    for (const { material } of await world.keys('access')) expect(await secretOf(material)).toBe(NEW);
  });

  test('a new secret, given with the old one, encrypts again what is there; the old one can then go', async () => {
    const [before] = (await world.start(1, { secret: OLD })) as [Instance];
    const { accessToken, refreshToken } = await before.service.tokens.issue({ userId: 1 });
    const [both] = (await world.start(1, { secret: [NEW, OLD] })) as [Instance];
    for (const { material } of await allKeys()) expect(await secretOf(material)).toBe(NEW);
    const [after] = (await world.start(1, { secret: NEW })) as [Instance];
    for (const { service } of [before, both, after]) {
      await expect(service.tokens.verify(accessToken.token)).resolves.toBeDefined();
      await expect(service.tokens.refresh(refreshToken.token)).resolves.toBeDefined();
    }
  });

  test('processes with the secrets in different order do not keep re-encrypting each other’s keys', async () => {
    const instances = [
      ...(await world.start(1, { secret: [NEW, OLD] })),
      ...(await world.start(1, { secret: [OLD, NEW] })),
    ];
    const materials = (await allKeys()).map(({ material }) => material);
    for (let minute = 0; minute < 30; minute++) {
      pass(MINUTE);
      for (const { service } of instances) await service.tokens.issue({ userId: 1 });
    }
    expect((await allKeys()).map(({ material }) => material)).toEqual(materials);
  });

  test('that cannot be encrypted again stays as it is, and in use', async () => {
    const [plain] = (await world.start(1)) as [Instance];
    const { accessToken } = await plain.service.tokens.issue({ userId: 1 });
    const warned = vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    const replace = vi.spyOn(KeyStore.prototype, 'replaceMaterial').mockRejectedValue(new Error('read-only'));
    try {
      const [sealed] = (await world.start(1, { secret: NEW })) as [Instance];
      await expect(sealed.service.tokens.verify(accessToken.token)).resolves.toBeDefined();
      expect(warned).toHaveBeenCalledTimes(2);
    } finally {
      replace.mockRestore();
      warned.mockRestore();
    }
    for (const { material } of await allKeys()) expect(material).toMatch(/^\{/);
  });
});
