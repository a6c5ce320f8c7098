import { randomBytes } from 'node:crypto';
import { decodeProtectedHeader, type JWK } from 'jose';
import { describe, expect, test } from 'vitest';
import { KeysUnavailableError, type SigningAlgorithm } from 'nestjs-session-tokens';
import { generateJwk } from '../../lib/keys/signing-key.js';
import { databases } from '../support/databases.js';
import { MINUTE, pass, SECOND } from '../support/time.js';
import { useWorld, type Instance } from '../support/world.js';

const algorithms: SigningAlgorithm[] = ['HS256', 'ES256', 'EdDSA', 'RS256'];

describe.each(databases)('the own keys of an application on $name', (kind) => {
  const world = useWorld(kind);

  test.each(algorithms)('%s: they sign and verify, and none is kept in the database', async (alg) => {
    const key = { ...(await generateJwk(alg)), kid: 'mine', alg };
    const instances = await world.start(2, { signingKeys: { source: () => [key] } });
    const { accessToken } = await instances[0]!.service.tokens.issue({ userId: 1 });
    expect(decodeProtectedHeader(accessToken.token)).toEqual({ alg, kid: 'mine', typ: 'at+jwt' });
    await expect(instances[1]!.service.tokens.verify(accessToken.token)).resolves.toMatchObject({
      userId: 1,
    });
    expect(await world.keys('access')).toEqual([]);
    expect(await world.keys('refresh')).toHaveLength(1);
  });

  test.each(algorithms)('%s: the application rotates them, and nobody notices', async (alg) => {
    const [first, second] = [await newKey('first', alg), await newKey('second', 'ES256')];
    let published: JWK[] = [first];
    const instances = await world.start(3, {
      signingKeys: { source: async () => published },
      accessToken: { ttl: '5m' },
      revocation: 'none',
    });
    const kids = new Set<string | undefined>();
    let alive: { token: string; expiresAt: Date }[] = [];
    for (let step = 0; step < 90; step++) {
      if (step === 20) published = [first, second];
      if (step === 40) published = [second, first];
      if (step === 70) published = [second];
      pass(30 * SECOND);
      const { accessToken } = await instances[step % 3]!.service.tokens.issue({ userId: 1 });
      kids.add(decodeProtectedHeader(accessToken.token).kid);
      alive = [...alive, accessToken].filter(({ expiresAt }) => expiresAt.getTime() > Date.now());
      for (const { service } of instances) {
        for (const { token } of alive) await service.tokens.verify(token);
      }
    }
    expect([...kids]).toEqual(['first', 'second']);
  });

  test('a source that fails stops the start, and says why', async () => {
    const starting = world.start(1, {
      signingKeys: { source: () => Promise.reject(new Error('the key server did not answer')) },
    });
    await expect(starting).rejects.toThrow(KeysUnavailableError);
    await expect(starting).rejects.toThrow(/signingKeys\.source failed/);
    await expect(starting).rejects.toMatchObject({ cause: { message: 'the key server did not answer' } });
  });

  test('a source that fails later stops sign-in with a clear error, ends no session, and recovers', async () => {
    const key = await newKey('mine', 'HS256');
    let isDown = false;
    const source = () => {
      if (isDown) throw new Error('the key server did not answer');
      return [key];
    };
    const [{ service }] = (await world.start(1, { signingKeys: { source } })) as [Instance];
    const { accessToken, refreshToken } = await service.tokens.issue({ userId: 1 });
    isDown = true;
    pass(5 * MINUTE + 1);
    await expect(service.tokens.verify(accessToken.token)).resolves.toBeDefined();
    await expect(service.tokens.issue({ userId: 2 })).rejects.toThrow(KeysUnavailableError);
    await expect(service.tokens.refresh(refreshToken.token)).rejects.toThrow(KeysUnavailableError);
    isDown = false;
    const refreshed = await service.tokens.refresh(refreshToken.token);
    await expect(service.tokens.verify(refreshed.accessToken.token)).resolves.toBeDefined();
  });
});

async function newKey(kid: string, alg: SigningAlgorithm): Promise<JWK> {
  return alg === 'HS256'
    ? { kty: 'oct', k: randomBytes(32).toString('base64url'), kid, alg }
    : { ...(await generateJwk(alg)), kid, alg };
}
