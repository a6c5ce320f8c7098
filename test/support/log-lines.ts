import { Logger } from '@nestjs/common';
import { expect, vi } from 'vitest';
import { logger } from '../../lib/util/logger.js';

/** A line of the log, with the messages of its cause and of that one's causes. */
export interface LogLine {
  readonly level: 'error' | 'log' | 'warn';
  readonly text: string;
  readonly cause: string;
}

/** Hears the lines of the library from now on, until the mocks are restored. */
export function hearLog(): readonly LogLine[] {
  const lines: LogLine[] = [];
  for (const level of ['error', 'log', 'warn'] as const) {
    vi.spyOn(Logger.prototype, level).mockImplementation(function (
      this: unknown,
      text: unknown,
      cause?: unknown,
    ) {
      if (this === logger) lines.push({ level, text: String(text), cause: messagesOf(cause) });
    });
  }
  return lines;
}

/** Expects that each trouble is told once when it begins, and once when it is over, and that no line is about anything else. */
export function expectPairs(lines: readonly LogLine[]): void {
  const begun = lines.filter(({ level }) => level !== 'log').map(({ text }) => text);
  const ended = lines.filter(({ level }) => level === 'log').map(({ text }) => text);
  expect(begun.toSorted()).toEqual([...new Set(begun)].toSorted());
  for (const text of ended) expect(text).toMatch(/The trouble lasted \d+ s\.$/);
  expect({ begun, ended: ended.length }).toEqual({ begun, ended: begun.length });
}

function messagesOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message} ${messagesOf(error.cause)}`;
}
