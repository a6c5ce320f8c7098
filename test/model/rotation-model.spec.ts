import { describe, expect, it } from 'vitest';
import { fromEnvironment, isLarge, MAX_STATES, report } from './environment.js';
import { explore } from './explore.js';
import { smallWorld } from './world.js';
import { honest } from './worlds.js';

/** On the real rules. `npm run test:model` explores larger worlds. */
describe('in every interleaving of a small world', () => {
  it.each(honest.map(({ name, small, large }) => [name, small, large] as const))(
    '%s',
    (name, small, large) => {
      const limits = fromEnvironment(isLarge ? large : small);
      expect(report(explore(smallWorld(limits), MAX_STATES), name)).toBeUndefined();
    },
    600_000,
  );
});
