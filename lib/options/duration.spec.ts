import { describe, expect, it } from 'vitest';
import { parseDuration } from './duration.js';

describe('parseDuration', () => {
  it.each([
    ['0', 0],
    ['500ms', 500],
    ['10s', 10_000],
    ['15m', 900_000],
    ['24h', 86_400_000],
    ['30d', 2_592_000_000],
    ['2w', 1_209_600_000],
    ['1.5s', 1_500],
    ['0.001s', 1],
    ['0.0s', 0],
    ['2.25h', 8_100_000],
    ['90', 90_000],
    ['15 m', 900_000],
    ['  15m  ', 900_000],
    ['0.4ms', 0],
    ['0.5ms', 1],
  ])('reads %j as %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each([
    [0, 0],
    [1, 1_000],
    [900, 900_000],
    [0.25, 250],
    [0.0004, 0],
    [0.0005, 1],
  ])('takes the number %d for seconds: %i ms', (seconds, ms) => {
    expect(parseDuration(seconds)).toBe(ms);
  });

  it.each([
    '',
    ' ',
    'm',
    '-1s',
    '+1s',
    '1e3',
    '.5s',
    '1.s',
    '1.2345s',
    '1,5s',
    '15M',
    '15 minutes',
    '15min',
    '1y',
    '1h30m',
    '15  m',
    '15\nm',
    'Infinity',
    'NaN',
    '0x10',
    '1_000',
    '١s',
    '9999999999999999ms',
    '999999999999999w',
  ])('refuses the text %j', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it.each([-1, -0.001, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'refuses the number %d',
    (seconds) => {
      expect(parseDuration(seconds)).toBeUndefined();
    },
  );

  it.each([null, undefined, true, 10n, [], ['1s'], {}, () => 1, Symbol('1s')])(
    'refuses what is neither text nor number (%#)',
    (value) => {
      expect(parseDuration(value)).toBeUndefined();
    },
  );

  it('refuses what would not be exact in milliseconds, as text and as number alike', () => {
    expect(parseDuration('9007199254740s')).toBe(9_007_199_254_740_000);
    expect(parseDuration('9007199254741s')).toBeUndefined();
    expect(parseDuration(9_007_199_254_740)).toBe(9_007_199_254_740_000);
    expect(parseDuration(9_007_199_254_741)).toBeUndefined();
    expect(parseDuration(1e300)).toBeUndefined();
    expect(parseDuration(Number.MAX_VALUE)).toBeUndefined();
  });
});
