import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  encodeRefreshToken,
  isAuthentic,
  parseRefreshToken,
  type RefreshToken,
} from './refresh-token.codec.js';

const rawKey = randomBytes(32);
const key = createSecretKey(rawKey);

const parts: RefreshToken = {
  keyId: 0x01020304,
  sessionId: '019f0000-1111-7222-8333-444455556666',
  generation: 0x0a0b0c0d,
  issuedAt: Date.UTC(2030, 0, 1, 0, 0, 0, 123),
  tokenId: '00ff00ff00ff00ff',
  sessionSecret: Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex'),
};
const text = encodeRefreshToken(parts, key);

/** The text of a token's bytes after a change to them. */
function changed(change: (bytes: Buffer) => void): string {
  const bytes = Buffer.from(text, 'base64url');
  change(bytes);
  return bytes.toString('base64url');
}

describe('a refresh token', () => {
  it('reads back as what it was made of', () => {
    expect(parseRefreshToken(text)).toMatchObject(parts);
  });

  it.each<Partial<RefreshToken>>([
    { keyId: 0, generation: 0, issuedAt: 0, tokenId: '0000000000000000', sessionSecret: Buffer.alloc(16) },
    {
      keyId: 2 ** 32 - 1,
      generation: 2 ** 32 - 1,
      issuedAt: 2 ** 48 - 1,
      sessionId: 'ffffffff-ffff-ffff-ffff-ffffffffffff',
      tokenId: 'ffffffffffffffff',
      sessionSecret: Buffer.alloc(16, 0xff),
    },
  ])('holds the extremes of its parts (%#)', (extremes) => {
    const token = { ...parts, ...extremes };
    const encoded = encodeRefreshToken(token, key);
    expect(encoded).toHaveLength(text.length);
    expect(parseRefreshToken(encoded)).toMatchObject(token);
  });

  it.each([
    { keyId: 2 ** 32 },
    { generation: 2 ** 32 },
    { generation: -1 },
    { issuedAt: 2 ** 48 },
    { issuedAt: -1 },
  ])('is not made when a number does not fit: %j', (excess) => {
    expect(() => encodeRefreshToken({ ...parts, ...excess }, key)).toThrow(RangeError);
  });

  it('has the layout that is documented', () => {
    const bytes = Buffer.from(text, 'base64url');
    const body = Buffer.concat([
      Buffer.from([1]),
      Buffer.from('01020304', 'hex'),
      Buffer.from('019f0000111172228333444455556666', 'hex'),
      Buffer.from('0a0b0c0d', 'hex'),
      Buffer.from(parts.issuedAt.toString(16).padStart(12, '0'), 'hex'),
      Buffer.from(parts.tokenId, 'hex'),
      parts.sessionSecret,
    ]);
    const mac = createHmac('sha256', rawKey).update(body).digest().subarray(0, 16);
    expect(bytes).toEqual(Buffer.concat([body, mac]));
  });

  it('has 95 characters that need no escaping in cookies, headers and URLs', () => {
    expect(text).toMatch(/^[A-Za-z0-9_-]{95}$/);
  });
});

describe('parsing', () => {
  it.each([
    ['nothing', ''],
    ['one character less', text.slice(0, -1)],
    ['one character more', `${text}A`],
    ['padding', `${text}=`],
    ['a space around it', ` ${text}`],
    ['a much longer text', 'A'.repeat(100_000)],
    ['a foreign character in place of one of its own', `${text.slice(0, 40)}*${text.slice(41)}`],
    ['a line break in place of one of its own', `${text.slice(0, 94)}\n`],
    ['a character outside ASCII', `${text.slice(0, 94)}ü`],
  ])('refuses %s', (_, damaged) => {
    expect(parseRefreshToken(damaged)).toBeUndefined();
  });

  it('refuses the alphabet of plain base64', () => {
    const urlSafe = encodeRefreshToken({ ...parts, sessionSecret: Buffer.alloc(16, 0xff) }, key);
    const plain = urlSafe.replaceAll('-', '+').replaceAll('_', '/');
    expect(plain).not.toBe(urlSafe);
    expect(parseRefreshToken(plain)).toBeUndefined();
  });

  it('accepts one spelling only: the last character has two unused bits', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.split('');
    const bytes = Buffer.from(text, 'base64url');
    const same = alphabet
      .map((last) => text.slice(0, -1) + last)
      .filter((spelling) => Buffer.from(spelling, 'base64url').equals(bytes));
    expect(same).toHaveLength(4);
    expect(same.filter((spelling) => parseRefreshToken(spelling) !== undefined)).toEqual([text]);
  });

  it.each([0, 2, 255])('refuses version %i', (version) => {
    expect(parseRefreshToken(changed((bytes) => bytes.writeUInt8(version, 0)))).toBeUndefined();
  });
});

describe('authentication', () => {
  it('accepts a token made with the key', () => {
    expect(isAuthentic(parseRefreshToken(text)!, key)).toBe(true);
  });

  it('refuses a token made with another key', () => {
    expect(isAuthentic(parseRefreshToken(text)!, createSecretKey(randomBytes(32)))).toBe(false);
  });

  it('refuses a token in which any single bit is changed', () => {
    const accepted: number[] = [];
    for (let bit = 0; bit < 71 * 8; bit++) {
      const parsed = parseRefreshToken(changed((bytes) => (bytes[bit >> 3]! ^= 1 << (bit & 7))));
      if (parsed && isAuthentic(parsed, key)) accepted.push(bit);
    }
    expect(accepted).toEqual([]);
  });
});
