import { describe, expect, it } from 'vitest';
import { explore } from './explore.js';
import type { Limits } from './world.js';

/**
 * Every interleaving of a small world, on the real rules. `npm run test:model` explores more of it; the environment
 * changes any limit: MODEL_TIME, MODEL_MESSAGES, MODEL_SENDS, MODEL_LOST, MODEL_WINDOW, MODEL_TTL, MODEL_DELAY.
 */
const isLarge = process.env['MODEL'] === 'large';

const rules = { window: 3, ttl: 7, delay: 1 };

const worlds: [string, Limits, Limits][] = [
  [
    'an honest browser is never signed out',
    { ...rules, time: 7, messages: 2, sends: 6, lost: 1, explicit: false, thief: false },
    { ...rules, time: 9, messages: 3, sends: 7, lost: 1, explicit: false, thief: false },
  ],
  [
    'an honest browser that also calls the refresh route is never signed out',
    { ...rules, time: 7, messages: 2, sends: 4, lost: 1, explicit: true, thief: false },
    { ...rules, time: 9, messages: 3, sends: 5, lost: 1, explicit: true, thief: false },
  ],
  [
    'a thief who copies the cookies once is caught when both have refreshed twice',
    { ...rules, time: 6, messages: 1, sends: 6, lost: 0, explicit: false, thief: true },
    { ...rules, time: 7, messages: 2, sends: 6, lost: 0, explicit: false, thief: true },
  ],
];

function fromEnvironment(limits: Limits): Limits {
  const names = ['window', 'ttl', 'delay', 'time', 'messages', 'sends', 'lost'] as const;
  const given = names.flatMap((name) => {
    const value = process.env[`MODEL_${name.toUpperCase()}`];
    return value === undefined ? [] : [[name, Number(value)]];
  });
  return { ...limits, ...(Object.fromEntries(given) as Partial<Limits>) };
}

describe('in every interleaving of a small world', () => {
  it.each(worlds)(
    '%s',
    (name, small, large) => {
      const { states, thefts, story } = explore(fromEnvironment(isLarge ? large : small));
      console.log(
        `${states.toLocaleString('en')} states explored, ${thefts.toLocaleString('en')} thefts caught: ${name}`,
      );
      if (story !== undefined) console.log(`THE STORY\n${story}\nTHE END`);
      expect(story).toBeUndefined();
    },
    600_000,
  );
});
