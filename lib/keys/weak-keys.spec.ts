import { generateKeyPairSync } from 'node:crypto';
import type { JWK } from 'jose';
import { expect, test } from 'vitest';
import { importKey } from './signing-key.js';

/** A number as a JWK has it, with this many zeros in front. */
const encoded = (value: bigint, zeros = 0) => {
  const hex = value.toString(16);
  return Buffer.from('00'.repeat(zeros) + '0'.repeat(hex.length % 2) + hex, 'hex').toString('base64url');
};
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey.export({ format: 'jwk' }) as JWK;
const ofLength = (bits: bigint) => encoded(2n ** bits - 1n, 4);

test.each<[string, JWK, RegExp]>([
  ['e = 1, with which a signature is the padded hash itself', { e: encoded(1n) }, /exponent "e"/],
  ['e = 1 with zeros in front', { e: encoded(1n, 3) }, /exponent "e"/],
  ['e = 0', { e: encoded(0n) }, /exponent "e"/],
  ['an even e', { e: encoded(65_536n) }, /exponent "e"/],
  ['an empty e', { e: '' }, /exponent "e"/],
  ['no e', { e: undefined }, /exponent "e"/],
  ['2,047 bits and zeros in front', { n: ofLength(2_047n) }, /shorter than 2,048 bits/],
  ['no n', { n: undefined }, /shorter than 2,048 bits/],
])('an RS256 key with %s is refused', async (_, wrong, message) => {
  await expect(importKey({ ...rsa, ...wrong, kid: 'k', alg: 'RS256' })).rejects.toThrow(message);
});

test.each<[string, JWK]>([
  ['e = 3', { e: encoded(3n) }],
  ['the usual e with zeros in front', { e: encoded(65_537n, 2) }],
  ['2,048 bits and zeros in front', { n: ofLength(2_048n) }],
])('an RS256 key with %s can be imported', async (_, other) => {
  await expect(importKey({ ...rsa, ...other, kid: 'k', alg: 'RS256' })).resolves.toBeDefined();
});

// The arithmetic of Ed25519 (RFC 8032, 5.1).
const P = 2n ** 255n - 19n;
const D = modulo(-121_665n * inverse(121_666n));
const LARGE_ORDER = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n;
type Point = readonly [x: bigint, y: bigint];

function modulo(value: bigint): bigint {
  return ((value % P) + P) % P;
}
function power(base: bigint, exponent: bigint): bigint {
  let [result, square] = [1n, modulo(base)];
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left % 2n === 1n) result = modulo(result * square);
    square = modulo(square * square);
  }
  return result;
}
function inverse(value: bigint): bigint {
  return power(value, P - 2n);
}
function add([x1, y1]: Point, [x2, y2]: Point): Point {
  const k = modulo(D * x1 * x2 * y1 * y2);
  return [modulo((x1 * y2 + x2 * y1) * inverse(1n + k)), modulo((y1 * y2 + x1 * x2) * inverse(1n - k))];
}
function times(point: Point, factor: bigint): Point {
  let [result, doubled]: [Point, Point] = [[0n, 1n], point];
  for (let left = factor; left > 0n; left >>= 1n) {
    if (left % 2n === 1n) result = add(result, doubled);
    doubled = add(doubled, doubled);
  }
  return result;
}
/** A point with this y, if there is one (RFC 8032, 5.1.3). */
function pointAt(y: bigint): Point | undefined {
  const [u, v] = [y * y - 1n, D * y * y + 1n];
  const root = power(u * inverse(v), (P + 3n) / 8n);
  const candidates = [root, modulo(root * power(2n, (P - 1n) / 4n))];
  const x = candidates.find((each) => modulo(v * each * each) === modulo(u));
  return x === undefined ? undefined : [x, y];
}
function encode(y: bigint, sign: number): string {
  const bytes = Buffer.from(y.toString(16).padStart(64, '0').match(/../g)!.toReversed().join(''), 'hex');
  bytes[31]! |= sign << 7;
  return bytes.toString('base64url');
}

/** Every y below 2^255 that stands for one of the eight points. */
function ysOfSmallOrder(): bigint[] {
  const ys = new Set<bigint>();
  for (let y = 2n; ys.size < 5; y++) {
    const point = pointAt(y);
    if (!point) continue;
    const small = times(point, LARGE_ORDER);
    for (let factor = 0n; factor < 8n; factor++) ys.add(times(small, factor)[1]);
  }
  return [...ys].flatMap((y) => [y, y + P]).filter((y) => y < 2n ** 255n);
}

test('an EdDSA key of small order is refused in every encoding', async () => {
  const ys = ysOfSmallOrder();
  expect(ys).toHaveLength(7);
  for (const x of ys.flatMap((y) => [encode(y, 0), encode(y, 1)])) {
    const importing = importKey({ kty: 'OKP', crv: 'Ed25519', x, kid: 'k', alg: 'EdDSA' });
    await expect(importing).rejects.toThrow(/small order/);
  }
});
