import { describe, expect, it } from 'vitest';
import { firstSessionId, isSessionId, newSessionId, timeOfSessionId } from './session-id.js';

const NOW = Date.UTC(2030, 0, 1);

describe('newSessionId', () => {
  it('is a UUID of version 7 and variant 10', () => {
    const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
    const ids = Array.from({ length: 200 }, () => newSessionId(NOW));
    expect(ids.filter((id) => !uuid.test(id))).toEqual([]);
  });

  it.each([0, 1, NOW, 2 ** 48 - 1])('begins with its time in milliseconds (%i)', (now) => {
    expect(Number.parseInt(newSessionId(now).replaceAll('-', '').slice(0, 12), 16)).toBe(now);
  });

  it('sorts by time as text', () => {
    const ids = [NOW, NOW + 1, NOW + 255, NOW + 65_536, NOW + 2 ** 40].map(newSessionId);
    expect(ids.toSorted()).toEqual(ids);
  });

  it('never comes twice, even within a millisecond', () => {
    expect(new Set(Array.from({ length: 10_000 }, () => newSessionId(NOW))).size).toBe(10_000);
  });

  it('fills all of its 74 other bits at random', () => {
    const ids = Array.from({ length: 200 }, () => BigInt(`0x${newSessionId(NOW).replaceAll('-', '')}`));
    const everSet = ids.reduce((a, b) => a | b);
    const alwaysSet = ids.reduce((a, b) => a & b);
    const varying = (everSet ^ alwaysSet).toString(2).replaceAll('0', '').length;
    expect(varying).toBe(74);
  });
});

describe('firstSessionId', () => {
  it('lies between the ids of earlier times and all of its own', () => {
    const first = firstSessionId(NOW);
    expect(isSessionId(first)).toBe(true);
    expect(timeOfSessionId(first)).toBe(NOW);
    const ids = Array.from({ length: 200 }, () => newSessionId(NOW));
    expect([...ids, first].toSorted()[0]).toBe(first);
    expect(newSessionId(NOW - 1) < first).toBe(true);
  });
});
