import { generateKeyPairSync } from 'node:crypto';
import { inspect } from 'node:util';
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import { expect, test } from 'vitest';
import { KeysUnavailableError } from '../errors/session.errors.js';
import type { SigningAlgorithm } from './signing-key.js';
import {
  asSigningKey,
  type AsymmetricKey,
  generateJwk,
  importKey,
  type VerificationKey,
} from './signing-key.js';

const bytes = (length: number) => Buffer.alloc(length, 7).toString('base64url');

const ALGORITHMS: readonly SigningAlgorithm[] = ['HS256', 'ES256', 'EdDSA', 'RS256'];

async function importNew(alg: SigningAlgorithm): Promise<VerificationKey> {
  return importKey({ ...(await generateJwk(alg)), kid: 'k', alg });
}

test.each(ALGORITHMS)('a new %s key is another one each time', async (alg) => {
  const [one, two] = [await generateJwk(alg), await generateJwk(alg)];
  expect(one.d ?? one.k).toBeTypeOf('string');
  expect(one.d ?? one.k).not.toBe(two.d ?? two.k);
});

test.each(ALGORITHMS)('a new %s key can be imported, and can sign', async (alg) => {
  const key = await importNew(alg);
  expect(key).toMatchObject({ kid: 'k', algorithm: alg });
  expect(asSigningKey(key)).toBe(key);
});

test.each(['ES256', 'EdDSA', 'RS256'] as const)(
  'the halves of a new %s key cannot be exported',
  async (alg) => {
    const key = (await importNew(alg)) as AsymmetricKey;
    expect(key.signKey!.usages).toEqual(['sign']);
    expect(key.signKey!.extractable).toBe(false);
    expect(key.verifyKey.usages).toEqual(['verify']);
    expect(key.publicJwk).not.toHaveProperty('d');
  },
);

test('the secret of a symmetric key is in no text of it', async () => {
  const key = await importKey({ kty: 'oct', k: bytes(32), kid: 'k', alg: 'HS256' });
  for (const text of [JSON.stringify(key), inspect(key, { depth: 9 })]) {
    expect(text).not.toContain(bytes(32));
    expect(text).not.toContain('7, 7, 7');
    expect(text).not.toContain('07 07');
  }
});

test('a public key verifies and does not sign', async () => {
  const { d: _, ...publicHalf } = await generateJwk('ES256');
  const key = (await importKey({ ...publicHalf, kid: 'k', alg: 'ES256' })) as AsymmetricKey;
  expect(key.signKey).toBeUndefined();
  expect(key.verifyKey.type).toBe('public');
  expect(() => asSigningKey(key)).toThrow(KeysUnavailableError);
});

test('what a key says about its own use does not keep it from verifying', async () => {
  const jwk = { ...(await generateJwk('ES256')), kid: 'k', alg: 'ES256', use: 'sig', key_ops: ['sign'] };
  const key = (await importKey(jwk)) as AsymmetricKey;
  expect(key.verifyKey.usages).toEqual(['verify']);
});

test('an HS256 key of exactly 256 bits is long enough', async () => {
  await expect(importKey({ kty: 'oct', k: bytes(32), kid: 'k', alg: 'HS256' })).resolves.toBeDefined();
});

test.each<[string, JWK, RegExp]>([
  ['no kid', { kty: 'oct', k: bytes(32), alg: 'HS256' }, /has no "kid"/],
  ['an empty kid', { kty: 'oct', k: bytes(32), alg: 'HS256', kid: '' }, /has no "kid"/],
  ['no alg', { kty: 'oct', k: bytes(32), kid: 'k' }, /"k" has no supported "alg". Supported: HS256, ES256/],
  ['alg none', { kty: 'oct', k: bytes(32), kid: 'k', alg: 'none' }, /no supported "alg"/],
  [
    'an alg that is not supported',
    { kty: 'oct', k: bytes(64), kid: 'k', alg: 'HS512' },
    /no supported "alg"/,
  ],
  ['a short HS256 key', { kty: 'oct', k: bytes(31), kid: 'k', alg: 'HS256' }, /shorter than 256 bits/],
  ['HS256 with an RSA key', { kty: 'RSA', n: 'x', e: 'AQAB', kid: 'k', alg: 'HS256' }, /not symmetric/],
  ['ES256 with a symmetric key', { kty: 'oct', k: bytes(32), kid: 'k', alg: 'ES256' }, /./],
  ['damaged material', { kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid: 'k', alg: 'ES256' }, /./],
])('%s is refused', async (_, jwk, message) => {
  await expect(importKey(jwk)).rejects.toThrow(message);
});

test('an ES256 key on another curve is refused', async () => {
  const { privateKey } = await generateKeyPair('ES384', { extractable: true });
  const jwk = await exportJWK(privateKey);
  await expect(importKey({ ...jwk, kid: 'k', alg: 'ES256' })).rejects.toThrow(/./);
});

test('an RS256 key under 2,048 bits is refused, as it could not sign (RFC 7518, 3.3)', async () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1_024 });
  const jwk = privateKey.export({ format: 'jwk' }) as JWK;
  await expect(importKey({ ...jwk, kid: 'k', alg: 'RS256' })).rejects.toThrow(/2,?048/);
});
