import { vi } from 'vitest';
import { parseDuration } from '../../lib/options/duration.js';

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** The default reuse window: after that long, the use of an access token proves its generation. */
export const SETTLED = 90 * SECOND;

/** The default life of an access token: after that long, the refresh token that came with it is exchanged. */
export const TTL = 15 * MINUTE;

/** When a test begins: a whole second, as JWT times are. */
export const START = Date.UTC(2026, 0, 15, 9, 30);

/** Has the clock stand still until a test lets time {@link pass}. Timers go on; `vi.useRealTimers()` ends it. */
export function stopClock(now = START): void {
  vi.useFakeTimers({ toFake: ['Date'], now });
}

/** Lets time pass: a string has its unit, as `'16m'`; a number is in milliseconds, and takes time back where it is negative. */
export function pass(duration: string | number): void {
  const milliseconds = typeof duration === 'number' ? duration : parseDuration(duration);
  if (milliseconds === undefined) throw new Error(`Not a duration: ${duration}`);
  vi.setSystemTime(Date.now() + milliseconds);
}

/** Calls with a clock that is ahead (or behind); every operation reads the clock as the first thing it does. */
export function withClock<T>(offset: number, call: () => T): T {
  const now = Date.now();
  vi.setSystemTime(now + offset);
  try {
    return call();
  } finally {
    vi.setSystemTime(now);
  }
}
