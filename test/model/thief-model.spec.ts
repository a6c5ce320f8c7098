import { describe, expect, it } from 'vitest';
import { fromEnvironment, isLarge, MAX_STATES, report } from './environment.js';
import { explore } from './explore.js';
import { type LifeLimits, longestLife } from './thief-life.js';
import { smallWorld } from './world.js';
import { theft } from './worlds.js';

describe('a thief who copies the cookies once is unseen for less than two access tokens’ lives and two windows', () => {
  it.each<[string, LifeLimits, LifeLimits]>([
    ['window = ttl / 2', lifeOf(8, 4, 1), lifeOf(12, 6, 2)],
    ['window = ttl / 10', lifeOf(20, 2, 1), lifeOf(30, 3, 2)],
  ])(
    '%s',
    (scale, small, large) => {
      const limits = fromEnvironment(isLarge ? large : small);
      const { ttl, window } = limits;
      const exploration = longestLife(limits, 2 * (ttl + window) - 1, MAX_STATES);
      const life = `, longest life ${(exploration.life / ttl).toFixed(2)} ttl (${exploration.life} ticks)`;
      expect(report(exploration, `the thief’s life, ${scale}`, life)).toBeUndefined();
    },
    600_000,
  );
});

describe('in every interleaving of a small world with a thief', () => {
  it.each(theft.map(({ name, small, large }) => [name, small, large] as const))(
    '%s',
    (name, small, large) => {
      const limits = fromEnvironment(isLarge ? large : small);
      expect(report(explore(smallWorld(limits), MAX_STATES), name)).toBeUndefined();
    },
    600_000,
  );
});

/**
 * The thief copies in one of the owner's first two generations. A copy in a later one has the same results as in the
 * second.
 */
function lifeOf(ttl: number, window: number, hoard: number): LifeLimits {
  return { ttl, window, hoard, copiedBy: 2 * ttl + window, horizon: 4 * ttl };
}
