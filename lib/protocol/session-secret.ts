import { hash, timingSafeEqual } from 'node:crypto';

/**
 * Refresh tokens carry the secret of their session. Nothing else does. One-way functions lead from the secret to the row:
 *
 *     preimage = first 128 bits of SHA-256("preimage:" + secret)     in unproven access tokens
 *     hash     = SHA-256(preimage)                                  in the row
 *
 * Nobody can compute the preimage or the secret from the row. A thief with a stolen signing key can forge an access token,
 * but does not have the preimage. So the forged token proves no generation.
 *
 * The secret has 128 random bits. So neither step needs a salt or a slow hash.
 */

const PREFIX = Buffer.from('preimage:');

/** @returns 128 bits, base64url */
export function preimageOf(secret: Buffer): string {
  return hash('sha256', Buffer.concat([PREFIX, secret]), 'buffer').toString('base64url', 0, 16);
}

/** The hash that the row holds. */
export function hashSessionSecret(secret: Buffer): string {
  return hashOfPreimage(preimageOf(secret));
}

/** Whether the hash in the row is the hash of this preimage. Takes constant time. */
export function isPreimageOf(preimage: string, hashInRow: string): boolean {
  const actual = Buffer.from(hashOfPreimage(preimage));
  const expected = Buffer.from(hashInRow);
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}

/** SHA-256, base64url. */
export function hashOfPreimage(preimage: string): string {
  return hash('sha256', preimage, 'base64url');
}
