import { setTimeout as delay } from 'node:timers/promises';
import type { Growth, Station } from './station.js';

/** The longest clean-up that is waited for, in milliseconds. */
const PATIENCE = 45 * 60_000;

export interface Removal {
  readonly seconds: number;
  readonly count: number;
  /** Whether it ended by itself, and not because it took too long. */
  readonly isComplete: boolean;
}

/**
 * Has a process of its own remove all sessions that are over.
 *
 * @param expected how many there are, about
 */
export async function removeExpired(
  { progress }: Growth,
  { sql, start }: Station,
  expected: number,
): Promise<Removal> {
  const cleaner = await start({ core: 'generator' });
  const before = performance.now();
  const seconds = () => (performance.now() - before) / 1e3;
  const report = setInterval(() => progress(`clean-up, for ${Math.round(seconds())} s`), 30_000);
  const timer = new AbortController();
  try {
    const work = cleaner.call<{ count: number }>('removeExpired');
    const late = delay(PATIENCE, undefined, { signal: timer.signal });
    // The one that nobody waits for any more may fail.
    for (const each of [work, late]) each.catch(() => undefined);
    const done = await Promise.race([work, late]);
    const took = seconds();
    if (done) return { seconds: took, count: done.count, isComplete: true };
    const [left] = await sql.run(`SELECT count(*) AS n FROM user_session WHERE expires_at < ${Date.now()}`);
    return { seconds: took, count: Math.max(0, expected - Number(left!['n'])), isComplete: false };
  } finally {
    clearInterval(report);
    timer.abort();
    await cleaner.stop();
  }
}
