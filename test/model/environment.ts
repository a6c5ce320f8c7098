import type { Exploration } from './explore.js';

/** `--mode large` explores more. */
export const isLarge = process.env['MODEL'] === 'large';

/** Stops an exploration that would not end, because with some broken rules the number of states is infinite. */
export const MAX_STATES = isLarge ? 4_000_000 : 1_000_000;

/** Environment variables can change every limit: MODEL_MESSAGES=3, MODEL_EXPLICIT=1. */
export function fromEnvironment<T extends object>(limits: T): T {
  const given = Object.entries(limits).flatMap(([name, value]) => {
    const text = process.env[`MODEL_${name.toUpperCase()}`];
    if (text === undefined) return [];
    return [[name, typeof value === 'boolean' ? text === '1' : Number(text)]];
  });
  return { ...limits, ...(Object.fromEntries(given) as Partial<T>) };
}

/** Prints the result of an exploration, for people and for `test/mutations/run.mjs`. @returns the story, if there is one */
export function report({ states, thefts, story }: Exploration, name: string, more = ''): string | undefined {
  const caught = thefts > 0 ? `, ${thefts.toLocaleString('en')} thefts caught` : '';
  console.log(`${states.toLocaleString('en')} states explored${caught}${more}: ${name}`);
  if (story !== undefined) console.log(`THE STORY\n${story}\nTHE END`);
  return story;
}
