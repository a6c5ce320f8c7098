import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { hashSessionSecret, isPreimageOf, preimageOf } from './session-secret.js';

const sha256 = (...parts: (string | Buffer)[]) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

describe('the session secret', () => {
  const secret = randomBytes(16);
  const hash = hashSessionSecret(secret);

  it('is kept as the SHA-256 of its preimage, base64url, which fits the column', () => {
    expect(hash).toBe(sha256(preimageOf(secret)).toString('base64url'));
    expect(hash).toHaveLength(43);
  });

  it('is recognised by its hash', () => {
    expect(isPreimageOf(preimageOf(secret), hash)).toBe(true);
  });

  it.each([
    ['another secret', randomBytes(16), hash],
    ['the hash in place of the secret', Buffer.from(hash, 'base64url'), hash],
    ['a part of the secret', secret.subarray(0, 15), hash],
    ['the empty hash of a revoked session', secret, ''],
    ['no secret and no hash', Buffer.alloc(0), ''],
    ['a hash that was cut off', secret, hash.slice(0, -1)],
  ])('is not taken for %s', (_, candidate, stored) => {
    expect(isPreimageOf(preimageOf(candidate), stored)).toBe(false);
  });
});

describe('the preimage of a session secret', () => {
  const secret = randomBytes(16);
  const hash = hashSessionSecret(secret);

  it('is 128 bits of a hash of it', () => {
    expect(preimageOf(secret)).toBe(sha256('preimage:', secret).subarray(0, 16).toString('base64url'));
    expect(isPreimageOf(preimageOf(secret), hash)).toBe(true);
  });

  it.each([
    ['the preimage of another secret', preimageOf(randomBytes(16))],
    ['the secret', secret.toString('base64url')],
    ['the hash', hash],
    ['a part of the hash', hash.slice(0, 22)],
    ['nothing', ''],
  ])('is not %s', (_, candidate) => {
    expect(isPreimageOf(candidate, hash)).toBe(false);
    expect(isPreimageOf(candidate, '')).toBe(false);
  });
});
