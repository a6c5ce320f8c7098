import { describe, expect, it } from 'vitest';
import { whyNotJson } from './json.js';

/** A value inside so many arrays. */
function nested(levels: number, innermost: unknown = null): unknown {
  return levels === 0 ? innermost : [nested(levels - 1, innermost)];
}

describe('whyNotJson', () => {
  it.each([
    null,
    true,
    false,
    0,
    -1.5,
    Number.MAX_VALUE,
    '',
    'text',
    'Zoë 🙂',
    '\u0000',
    '\ud800',
    [],
    [1, [2, [3]]],
    {},
    { a: { b: [null] } },
    { '': 1, 'with space': 2, constructor: 3 },
    Object.assign(Object.create(null), { a: 1 }),
  ])('lets JSON through (%#)', (value) => {
    expect(whyNotJson(value)).toBeUndefined();
  });

  it('lets an absent property through, which JSON leaves out as everybody expects', () => {
    expect(whyNotJson({ a: undefined, b: { c: undefined } })).toBeUndefined();
  });

  it.each([
    [Number.NaN, 'the value is NaN'],
    [Number.POSITIVE_INFINITY, 'the value is Infinity'],
    [Number.NEGATIVE_INFINITY, 'the value is -Infinity'],
    [undefined, 'the value is undefined'],
    [1n, 'the value is a bigint'],
    [Symbol('s'), 'the value is a symbol'],
    [() => 1, 'the value is a function'],
    [new Date(0), 'the value is a Date, not a plain object'],
    [new Map(), 'the value is a Map, not a plain object'],
    [new Set(), 'the value is a Set, not a plain object'],
    [/x/, 'the value is a RegExp, not a plain object'],
    [new Error('x'), 'the value is a Error, not a plain object'],
    [Buffer.from('x'), 'the value is a Buffer, not a plain object'],
    [Object(1), 'the value is a Number, not a plain object'],
    [{ toJSON: () => 1 }, 'the value is a Object, not a plain object'],
  ])('says what it is instead (%#: $1)', (value, why) => {
    expect(whyNotJson(value)).toBe(why);
  });

  it('says where it is', () => {
    expect(whyNotJson({ a: [0, { b: Number.NaN }] }, 'claims')).toBe('claims.a[1].b is NaN');
    expect(whyNotJson([undefined], 'data')).toBe('data[0] is undefined');
  });

  it('reports the first of several', () => {
    expect(whyNotJson({ fine: 1, first: 1n, second: Number.NaN })).toBe('the value.first is a bigint');
  });

  it('sees the holes of an array', () => {
    // oxlint-disable-next-line no-sparse-arrays -- the hole is the case
    expect(whyNotJson([1, , 3])).toBe('the value[1] is undefined');
  });

  it('allows 64 levels and no more', () => {
    expect(whyNotJson(nested(64))).toBeUndefined();
    expect(whyNotJson(nested(65))).toMatch(/nested deeper than 64 levels, or contains itself$/);
  });

  it('ends on a value that contains itself', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    expect(whyNotJson(circle)).toMatch(/contains itself$/);
  });
});
