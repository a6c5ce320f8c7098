import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import type { VerificationKey } from '../keys/signing-key.js';
import type { AccessToken } from './access-token.js';
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
    expect(tokens.find(token(0))).toEqual({ token: token(0), key, accessToken });
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

  test('are forgotten when they are removed, whichever generation they are in', () => {
    const tokens = filled(4, 3);
    for (const n of [0, 2]) {
      tokens.remove(token(n));
      expect(tokens.find(token(n))).toBeUndefined();
    }
    expect(tokens.find(token(1))).toBeDefined();
  });

  test.each([0, 1, 2, 10, 1_000])('are never more than %d, however many come', (size) => {
    const tokens = new VerifiedTokens(size);
    for (let n = 0; n < 10_000; n++) {
      tokens.add(token(n), key, accessToken);
      tokens.find(token(n - 3));
      expect(tokens.size).toBeLessThanOrEqual(size);
    }
  });

  test('that are in use stay through a flood of tokens that are seen once', () => {
    const tokens = filled(100, 10);
    for (let round = 1; round < 2_500; round++) {
      for (let n = 0; n < 40; n++) tokens.add(token(`${round}-${n}`), key, accessToken);
      for (let used = 0; used < 10; used++) expect(tokens.find(token(used))).toBeDefined();
    }
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
