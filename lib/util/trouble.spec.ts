import { Logger } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Trouble } from './trouble.js';

const NOW = Date.UTC(2026, 0, 15);
const FIRST = new Error('down');

const COMES_AND_GOES = 'begins This comes and goes; its end is told after a minute without it.';

/** What is tried: `+` works, `-` fails. One try per second. */
const courses: [course: string, lines: string[]][] = [
  ['', []],
  ['+++', []],
  ['-', ['begins']],
  ['----', ['begins']],
  ['-+', ['begins', 'It works again. The trouble lasted 1 s.']],
  ['+---++', ['begins', 'It works again. The trouble lasted 3 s.']],
  ['-+-', ['begins', 'It works again. The trouble lasted 1 s.', COMES_AND_GOES]],
  [`-+${'-+'.repeat(100)}`, ['begins', 'It works again. The trouble lasted 1 s.', COMES_AND_GOES]],
  [
    `-+-+-${'+'.repeat(60)}`,
    [
      'begins',
      'It works again. The trouble lasted 1 s.',
      COMES_AND_GOES,
      'It works again. The trouble lasted 3 s.',
    ],
  ],
  [`-${'+'.repeat(59)}-+`, ['begins', 'It works again. The trouble lasted 1 s.', COMES_AND_GOES]],
  [
    `-${'+'.repeat(60)}-+`,
    [
      'begins',
      'It works again. The trouble lasted 1 s.',
      'begins',
      'It works again. The trouble lasted 1 s.',
    ],
  ],
];

describe('a trouble', () => {
  let lines: unknown[];

  beforeEach(() => {
    lines = [];
    vi.spyOn(Logger.prototype, 'error').mockImplementation((text: unknown, cause: unknown) => {
      expect(cause).toBe(FIRST);
      lines.push(text);
    });
    vi.spyOn(Logger.prototype, 'log').mockImplementation((text: unknown) => void lines.push(text));
  });
  afterEach(() => vi.restoreAllMocks());

  it.each(courses)('of the course "%s" is told when it begins and when it ends', (course, expected) => {
    const trouble = new Trouble({ begins: 'begins', ends: 'It works again.' });
    for (const [second, result] of course.split('').entries()) {
      const now = NOW + second * 1_000;
      if (result === '+') trouble.worked(now);
      else trouble.failed(course[second - 1] === '-' ? new Error('later') : FIRST, now);
    }
    expect(lines).toEqual(expected);
  });

  it('knows since when it lasts', () => {
    const trouble = new Trouble({ begins: 'begins', ends: 'ends' });
    expect(trouble.since).toBeUndefined();
    trouble.failed(FIRST, NOW);
    trouble.failed(FIRST, NOW + 1);
    expect(trouble.since).toBe(NOW);
    trouble.worked(NOW + 2);
    expect(trouble.since).toBeUndefined();
  });

  it('that comes and goes is no trouble while it has gone', () => {
    const trouble = new Trouble({ begins: 'begins', ends: 'ends' });
    trouble.failed(FIRST, NOW);
    trouble.worked(NOW + 1);
    trouble.failed(FIRST, NOW + 2);
    trouble.worked(NOW + 3);
    expect([trouble.since, trouble.isOpen]).toEqual([undefined, true]);
    trouble.failed(FIRST, NOW + 4);
    expect(trouble.since).toBe(NOW + 2);
  });

  it('that ended before it began, by a clock that was set back, lasts no negative time', () => {
    const trouble = new Trouble({ begins: 'begins', ends: 'ends.' });
    trouble.failed(FIRST, NOW);
    trouble.worked(NOW - 2_000);
    expect(lines).toEqual(['begins', 'ends. The trouble lasted 2 s.']);
  });
});
