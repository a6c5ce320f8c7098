import { expect, test } from 'vitest';
import { wholeNumber, toAsciiJson } from './columns.js';

test.each([
  null,
  0,
  'plain',
  'Zoë 東京 👩‍👧 \u007f\u0080\uffff',
  '\ud83d',
  'a\u0000b',
  { é: ['ü', { '😀': null }] },
])('%j becomes ASCII that parses to the same', (value) => {
  const text = toAsciiJson(value);
  expect(text).toMatch(/^[\x20-\x7e]*$/);
  expect(JSON.parse(text)).toEqual(value);
});

test('escapes have one spelling, so that equal values are equal text', () => {
  expect(toAsciiJson('é€😀')).toBe(String.raw`"\u00e9\u20ac\ud83d\ude00"`);
});

test('numbers that drivers give as text become numbers, and null stays null', () => {
  expect(wholeNumber.from('1768469400000')).toBe(1_768_469_400_000);
  expect(wholeNumber.from(5)).toBe(5);
  expect(wholeNumber.from(null)).toBeNull();
});
