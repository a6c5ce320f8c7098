import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BoundedWait } from './bounded-wait.js';

const LONGEST = 1_000;

/** Work whose end is decided here. */
function work() {
  let end!: (hasWorked: boolean) => void;
  const promise = new Promise<boolean>((resolve) => (end = resolve));
  return { promise, end };
}

/** After how many milliseconds a caller goes on who comes now. */
async function waits(wait: BoundedWait, which: 'current' | 'whole' = 'current'): Promise<number> {
  const begun = Date.now();
  const caller = { isWaiting: true };
  void (wait[which] ?? Promise.resolve()).then(() => (caller.isWaiting = false));
  await vi.advanceTimersByTimeAsync(0);
  while (caller.isWaiting) await vi.advanceTimersByTimeAsync(100);
  return Date.now() - begun;
}

describe('waiting for news', () => {
  let late: Error[];
  const begin = (wait: BoundedWait) => {
    const begun = work();
    wait.begin(begun.promise, (error) => late.push(error));
    return begun;
  };
  beforeEach(() => {
    vi.useFakeTimers();
    late = [];
  });
  afterEach(() => void vi.useRealTimers());

  it('lasts as long as the work', async () => {
    const wait = new BoundedWait(LONGEST);
    const { end } = begin(wait);
    setTimeout(() => end(true), 300);
    expect(await waits(wait)).toBe(300);
    expect(await waits(wait)).toBe(0);
    await vi.advanceTimersByTimeAsync(LONGEST);
    expect(late).toEqual([]);
  });

  it('lasts no longer than the bound, and who comes later does not wait', async () => {
    const wait = new BoundedWait(LONGEST);
    begin(wait);
    await vi.advanceTimersByTimeAsync(400);
    expect(await waits(wait)).toBe(600);
    expect(late.map(String)).toEqual(['Error: No answer within 1 s.']);
    expect(await waits(wait)).toBe(0);
  });

  it('is not tried again before some work has been done', async () => {
    const wait = new BoundedWait(LONGEST);
    const first = begin(wait);
    await vi.advanceTimersByTimeAsync(LONGEST);
    first.end(false);
    const second = begin(wait);
    expect(await waits(wait)).toBe(0);
    second.end(true);
    await vi.advanceTimersByTimeAsync(0);
    const third = begin(wait);
    setTimeout(() => third.end(true), 200);
    expect(await waits(wait)).toBe(200);
  });

  it('goes on where work fails at once', async () => {
    const wait = new BoundedWait(LONGEST);
    begin(wait).end(false);
    await vi.advanceTimersByTimeAsync(0);
    const { end } = begin(wait);
    setTimeout(() => end(true), 200);
    expect(await waits(wait)).toBe(200);
  });

  it('is as long as ever for those who need the work', async () => {
    const wait = new BoundedWait(LONGEST);
    begin(wait).end(false);
    await vi.advanceTimersByTimeAsync(0);
    begin(wait);
    await vi.advanceTimersByTimeAsync(LONGEST);
    begin(wait);
    expect(await waits(wait)).toBe(0);
    expect(await waits(wait, 'whole')).toBe(LONGEST);
    expect(await waits(wait, 'whole')).toBe(0);
  });
});
