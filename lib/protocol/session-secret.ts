import { hash, timingSafeEqual } from 'node:crypto';

/**
 * The secret of a session is in its refresh tokens, and nowhere else. From it follows, one way only, its *proof*, which
 * stands in the unproven access tokens that its refresh tokens were exchanged for; and from that, one way only, the hash in
 * the row. The row therefore makes neither, and an access token that was forged with a stolen signing key proves nothing.
 *
 * The secret has 128 random bits, so that neither step needs a salt or a slow hash.
 */

const PREFIX = Buffer.from('proof:');

/** @returns 128 bits, base64url */
export function proofOf(secret: Buffer): string {
  return hash('sha256', Buffer.concat([PREFIX, secret]), 'buffer').toString('base64url', 0, 16);
}

/** What the row holds. */
export function hashSessionSecret(secret: Buffer): string {
  return hashOfProof(proofOf(secret));
}

/** Whether a proof was made from the secret whose hash this is; constant time. */
export function isProofOf(proof: string, hashInRow: string): boolean {
  const actual = Buffer.from(hashOfProof(proof));
  const expected = Buffer.from(hashInRow);
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}

/** SHA-256, base64url. */
export function hashOfProof(proof: string): string {
  return hash('sha256', proof, 'base64url');
}
