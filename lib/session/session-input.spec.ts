import { describe, expect, it } from 'vitest';
import { RESERVED_CLAIMS } from '../protocol/access-token.payload.js';
import {
  InvalidClaimsError,
  InvalidDataError,
  InvalidInputError,
  InvalidUserIdError,
} from '../errors/session.errors.js';
import {
  checkLabel,
  checkSessionInput,
  checkUserId,
  normaliseClaims,
  normaliseData,
} from './session-input.js';
import type { SessionInput } from './session.types.js';
import { untyped } from '../../test/support/untyped.js';

const NOW = Date.UTC(2026, 0, 15);
const YEAR = 365 * 24 * 3_600_000;

const anyJson = [null, true, false, 0, -1.5, '', 'text', 'Zoë 🙂', [], [1, 'a', null], {}, { a: { b: [1] } }];

describe('checkUserId', () => {
  it.each([
    1,
    -1,
    Number.MAX_SAFE_INTEGER,
    Number.MIN_SAFE_INTEGER,
    '1',
    ' ',
    '{"i":1}',
    '"',
    'null',
    '用户',
    '🙂',
    'a\u0000b',
  ])('gives %j back as what it is', (userId) => {
    expect(checkUserId(userId)).toBe(userId);
  });

  it('takes −0 for 0, because that is what can be stored', () => {
    expect(Object.is(checkUserId(-0), 0)).toBe(true);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 1.5, 2 ** 53])('refuses the number %d', (userId) => {
    expect(() => checkUserId(userId)).toThrow(InvalidUserIdError);
    expect(() => checkUserId(userId)).toThrow('A numeric user id must be a safe integer.');
  });

  it.each(['', null, undefined, true, 1n, {}, ['1'], Symbol('1')])(
    'refuses what is neither text nor number (%#)',
    (userId) => {
      expect(() => checkUserId(userId)).toThrow(InvalidUserIdError);
      expect(() => checkUserId(userId)).toThrow('A user id must be a non-empty string or a safe integer.');
    },
  );

  it.each([
    ['253 characters', 'a'.repeat(253), 'a'.repeat(254)],
    ['42 that are not ASCII', `${'ü'.repeat(42)}a`, `${'ü'.repeat(42)}aa`],
    ['21 outside the basic plane', `${'🙂'.repeat(21)}a`, `${'🙂'.repeat(21)}aa`],
    ['126 that JSON escapes', `${'"'.repeat(126)}a`, `${'"'.repeat(126)}aa`],
  ])('allows %s and not one more', (_, longest, tooLong) => {
    expect(checkUserId(longest)).toBe(longest);
    expect(() => checkUserId(tooLong)).toThrow('A user id must have at most 253 characters');
  });
});

describe('normaliseClaims', () => {
  it.each(anyJson)('takes any JSON (%j)', (claims) => {
    expect(normaliseClaims(claims)).toEqual(claims);
  });

  it.each(RESERVED_CLAIMS)('refuses the reserved name "%s"', (name) => {
    expect(() => normaliseClaims({ [name]: 1 })).toThrow(InvalidClaimsError);
    expect(() => normaliseClaims({ [name]: 1 })).toThrow(`The claim name "${name}" is reserved.`);
  });

  it('says where they are not JSON', () => {
    expect(() => normaliseClaims({ roles: [new Date(0)] })).toThrow(InvalidClaimsError);
    expect(() => normaliseClaims({ roles: [new Date(0)] })).toThrow(
      'Claims must be JSON: claims.roles[0] is a Date, not a plain object.',
    );
  });
});

describe('normaliseData', () => {
  it.each(anyJson)('takes any JSON (%j)', (data) => {
    expect(normaliseData(data)).toEqual(data);
  });

  it('takes names that are reserved in claims', () => {
    expect(normaliseData({ sub: 1, exp: 2 })).toEqual({ sub: 1, exp: 2 });
  });

  it('says where it is not JSON', () => {
    expect(() => normaliseData({ count: 1n })).toThrow(InvalidDataError);
    expect(() => normaliseData({ count: 1n })).toThrow('Session data must be JSON: data.count is a bigint.');
  });

  it('allows 65,535 bytes of ASCII JSON and not one more', () => {
    const longest = 'a'.repeat(65_533);
    expect(normaliseData(longest)).toBe(longest);
    expect(() => normaliseData(`${longest}a`)).toThrow(InvalidDataError);
    expect(() => normaliseData(`${longest}a`)).toThrow('Session data has 65536 bytes');
  });

  it('counts six bytes for a character that is not ASCII', () => {
    expect(normaliseData('ü'.repeat(10_922))).toHaveLength(10_922);
    expect(() => normaliseData('ü'.repeat(10_923))).toThrow('Session data has 65540 bytes');
  });

  it('gives a copy, without absent properties', () => {
    const data = { list: [1], absent: undefined };
    const normalised = normaliseData(data);
    data.list.push(2);
    expect(normalised).toStrictEqual({ list: [1] });
  });

  it('keeps a member that is called __proto__ as a member', () => {
    const data: unknown = JSON.parse('{"__proto__":{"admin":true}}');
    const normalised = normaliseData(data);
    expect(JSON.stringify(normalised)).toBe('{"__proto__":{"admin":true}}');
    expect(normalised).not.toHaveProperty('admin');
  });
});

describe('checkLabel', () => {
  it.each([
    'Ann’s phone',
    ' Ann ',
    'O\'Brien \\ "PC" <b>',
    '書斎のパソコン',
    'هاتف آن',
    '\u200fهاتف',
    '👩‍👩‍👧‍👦🏳️‍🌈',
    '0',
    'null',
    'a\ud83d',
    'x'.repeat(64),
    '书'.repeat(64),
    null,
  ])('takes %j as it is', (label) => {
    expect(checkLabel(label)).toBe(label);
  });

  it.each<[unknown, string]>([
    ['', 'A label must be a text that is not blank, or null for none.'],
    [' \t', 'A label must be a text that is not blank'],
    ['\u3000', 'A label must be a text that is not blank'],
    [undefined, 'A label must be a text that is not blank'],
    [1, 'A label must be a text that is not blank'],
    [['a'], 'A label must be a text that is not blank'],
    [{ toString: () => 'a' }, 'A label must be a text that is not blank'],
    ['x'.repeat(65), 'A label must have at most 64 characters.'],
    ['📱'.repeat(33), 'A label must have at most 64 characters.'],
    ...['\0', '\n', '\r', '\t', '\u001b', '\u007f', '\u0085', '\u009b', '\u2028', '\u2029'].map(
      (character): [string, string] => [
        `Ann${character}phone`,
        'A label must not have line breaks or other control characters.',
      ],
    ),
  ])('refuses %j', (label, message) => {
    expect(() => checkLabel(label)).toThrow(InvalidInputError);
    expect(() => checkLabel(label)).toThrow(message);
  });
});

describe('checkSessionInput', () => {
  it('fills in what is absent', () => {
    expect(checkSessionInput({ userId: 1 }, YEAR, NOW)).toEqual({
      userId: 1,
      claims: {},
      data: {},
      label: null,
      idleTtl: null,
      absoluteTtl: null,
      remember: 1,
      authTime: null,
      amr: null,
    });
  });

  it('leaves null as it is', () => {
    expect(
      checkSessionInput({ userId: 1, claims: untyped(null), data: untyped(null) }, YEAR, NOW),
    ).toMatchObject({
      claims: null,
      data: null,
    });
  });

  it.each<[unknown, string]>([
    [{ userAgent: 1 }, '"device.userAgent" must be a text, or null.'],
    [{ ip: ['::1'] }, '"device.ip" must be a text, or null.'],
    [{ label: 1 }, 'A label must be a text that is not blank, or null for none.'],
    [{ name: 'x' }, '"device.name" is not known. Known here: userAgent, ip, label.'],
    [null, 'device must be an object.'],
  ])('refuses the device %j', (device, message) => {
    const input = { userId: 1, device } as SessionInput;
    expect(() => checkSessionInput(input, YEAR, NOW)).toThrow(InvalidInputError);
    expect(() => checkSessionInput(input, YEAR, NOW)).toThrow(message);
  });

  it.each([{}, { userAgent: null, ip: null, label: null }, { userAgent: undefined, label: undefined }])(
    'takes the device %j, of which nothing is known',
    (device) => {
      expect(checkSessionInput({ userId: 1, device }, YEAR, NOW)).toMatchObject({ label: null });
    },
  );

  it.each([undefined, null, {}, { userId: '' }])('refuses an input without a user (%#)', (input) => {
    expect(() => checkSessionInput(input as SessionInput, YEAR, NOW)).toThrow(InvalidUserIdError);
  });
});
