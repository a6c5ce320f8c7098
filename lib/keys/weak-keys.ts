import type { JWK } from 'jose';

/**
 * The points of small order of Ed25519 as JWKs have them (little-endian y), in every encoding that OpenSSL reads, without the
 * sign bit of x: y is 0, 1, −1, that of the points of order 8, p and p + 1 (RFC 8032, 5.1).
 */
const SMALL_ORDER: ReadonlySet<string> = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
]);

/**
 * Public keys for which everybody can make signatures, or nearly so, and which OpenSSL uses all the same. They come from a key
 * server or an application's own keys. This package does not make them.
 *
 * @returns what is wrong with the key, for the end of a sentence that begins with its name; `undefined` for a good key
 */
export function whyWeak({ kty, crv, n, e, x }: JWK): string | undefined {
  if (kty === 'RSA') {
    // RFC 7518, 3.3. Zeros in front do not count.
    if (numberOf(n).toString(2).length < 2_048) return 'is shorter than 2,048 bits';
    // RFC 8017, 3.1. With e = 1, a signature is nothing but the padded hash.
    const exponent = numberOf(e);
    if (exponent < 3n || exponent % 2n === 0n) return 'has an exponent "e" that is not odd, or less than 3';
  }
  if (kty === 'OKP' && crv === 'Ed25519' && isOfSmallOrder(x)) return 'is a point of small order';
  return undefined;
}

function numberOf(encoded: unknown): bigint {
  return BigInt(`0x0${bytesOf(encoded).toString('hex')}`);
}

function isOfSmallOrder(encoded: unknown): boolean {
  const bytes = bytesOf(encoded);
  if (bytes.length !== 32) return false;
  bytes[31]! &= 0x7f;
  return SMALL_ORDER.has(bytes.toString('hex'));
}

function bytesOf(encoded: unknown): Buffer {
  return Buffer.from(typeof encoded === 'string' ? encoded : '', 'base64url');
}
