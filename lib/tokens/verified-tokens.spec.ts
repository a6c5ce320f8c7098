import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import type { VerificationKey } from '../keys/signing-key.js';
import type { AccessToken } from '../protocol/access-token.js';
import { VerifiedTokens } from './verified-tokens.js';

const key = { kid: 'k' } as VerificationKey;
const accessToken = { sessionId: 's' } as AccessToken;
const token = (n: number | string) => `header.payload-${n}.signature-${n}`;

function filled(size: number, count: number): VerifiedTokens {
  const tokens = new VerifiedTokens(size);
  for (let n = 0; n < count; n++) tokens.add(token(n), key, accessToken);
  return tokens;
}

describe('verified tokens', () => {
  test('are found by the whole token, and by nothing less', () => {
    const tokens = filled(10, 1);
    const found = tokens.find(token(0));
    expect([found?.token, found?.key, found?.accessToken]).toEqual([token(0), key, accessToken]);
    for (const other of ['header.payload-1.signature-0', 'signature-0', '.signature-0', token(1), '', '..']) {
      expect(tokens.find(other)).toBeUndefined();
    }
  });

  test('are not taken for others whose signatures end alike: these push each other out', () => {
    const tokens = new VerifiedTokens(10);
    const [one, two] = ['a.b.one-and-the-same-end', 'a.b.two-and-the-same-end'] as const;
    tokens.add(one, key, accessToken);
    expect(tokens.find(two)).toBeUndefined();
    tokens.remove(two);
    expect(tokens.find(one)).toBeDefined();
    tokens.add(two, key, accessToken);
    expect(tokens.find(one)).toBeUndefined();
    expect(tokens.find(two)).toMatchObject({ token: two });
  });

  test('are forgotten when they are removed, and leave their places to others', () => {
    const tokens = filled(4, 4);
    for (let n = 0; n < 4; n++) expect(tokens.find(token(n))).toBeDefined();
    for (const n of [0, 2]) {
      tokens.remove(token(n));
      expect(tokens.find(token(n))).toBeUndefined();
    }
    for (const n of [4, 5]) tokens.add(token(n), key, accessToken);
    for (const n of [1, 3, 4, 5]) expect(tokens.find(token(n))).toBeDefined();
    expect(tokens.size).toBe(4);
  });

  test('that come again after they were removed stay when their former places are taken', () => {
    const tokens = filled(3, 3);
    tokens.remove(token(2));
    for (const n of [2, 3, 4]) tokens.add(token(n), key, accessToken);
    for (const n of [2, 3, 4]) expect(tokens.find(token(n))).toBeDefined();
    expect(tokens.size).toBe(3);
  });

  test('all stay while there are no more of them than places', () => {
    const tokens = filled(100, 100);
    const lost: number[] = [];
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 100; n++) if (!tokens.find(token(n))) lost.push(n);
    }
    expect(lost).toEqual([]);
  });

  test.each([0, 1, 2, 10, 1_000])('are never more than %d, however many come', (size) => {
    const tokens = new VerifiedTokens(size);
    let most = 0;
    for (let n = 0; n < 10_000; n++) {
      tokens.add(token(n), key, accessToken);
      tokens.find(token(n - 3));
      most = Math.max(most, tokens.size);
    }
    expect(most).toBeLessThanOrEqual(size);
  });

  test.each([
    { inUse: 10, flood: 40 },
    { inUse: 90, flood: 10 },
  ])('that are in use stay through a flood of tokens that are seen once: $inUse', ({ inUse, flood }) => {
    const tokens = filled(100, inUse);
    let lost = 0;
    for (let round = 1; round < 2_500; round++) {
      for (let n = 0; n < flood; n++) tokens.add(token(`${round}-${n}`), key, accessToken);
      for (let used = 0; used < inUse; used++) if (!tokens.find(token(used))) lost++;
    }
    expect(lost).toBe(0);
  });

  test('make way when they have not been used for a round', () => {
    const tokens = filled(10, 10);
    for (let n = 0; n < 10; n++) tokens.find(token(n));
    tokens.add(token(10), key, accessToken);
    tokens.find(token(5));
    for (let n = 11; n < 19; n++) tokens.add(token(n), key, accessToken);
    expect(tokens.find(token(5))).toBeDefined();
    for (const n of [0, 1, 2, 3, 4, 6, 7, 8, 9]) expect(tokens.find(token(n))).toBeUndefined();
  });

  test('make way when all of them are in use, one at a time', () => {
    const tokens = filled(5_000, 5_000);
    const use = () => Array.from({ length: 5_000 }, (_, n) => tokens.find(token(n))).filter(Boolean).length;
    expect(use()).toBe(5_000);
    tokens.add(token('new'), key, accessToken);
    expect(tokens.find(token('new'))).toBeDefined();
    expect(use()).toBe(4_999);
    // No request has waited for a whole round: the hand has moved only as far as it may for one token.
    expect(tokens.find(token(1_000))).toBeUndefined();
  });

  test('take no memory for the request that they came with', () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const tokens = new VerifiedTokens(20_000);
    gc();
    const before = process.memoryUsage().heapUsed;
    for (let n = 0; n < 10_000; n++) {
      const header = `theme=${'x'.repeat(4_000)}; access=${token(`${n}`.padStart(200, 'y'))}`;
      tokens.add(header.slice(header.lastIndexOf('=') + 1), key, accessToken);
    }
    gc();
    expect(tokens.size).toBe(10_000);
    expect((process.memoryUsage().heapUsed - before) / 10_000).toBeLessThan(1_500);
  });
});
