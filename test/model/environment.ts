import type { Exploration } from './explore.js';

/** `--mode large` explores more. */
export const isLarge = process.env['MODEL'] === 'large';

/** Stops an exploration that does not end: some broken rules have no end of states. */
export const MAX_STATES = isLarge ? 4_000_000 : 1_000_000;

/** Any limit can be changed from outside: MODEL_MESSAGES=3, MODEL_EXPLICIT=1. */
export function fromEnvironment<T extends object>(limits: T): T {
  const given = Object.entries(limits).flatMap(([name, value]) => {
    const text = process.env[`MODEL_${name.toUpperCase()}`];
    if (text === undefined) return [];
    return [[name, typeof value === 'boolean' ? text === '1' : Number(text)]];
  });
  return { ...limits, ...(Object.fromEntries(given) as Partial<T>) };
}

/** Tells what came of an exploration, to people and to `test/mutations/run.mjs`. @returns the story, where there is one */
export function report({ states, thefts, story }: Exploration, name: string, more = ''): string | undefined {
  const caught = thefts > 0 ? `, ${thefts.toLocaleString('en')} thefts caught` : '';
  console.log(`${states.toLocaleString('en')} states explored${caught}${more}: ${name}`);
  if (story !== undefined) console.log(`THE STORY\n${story}\nTHE END`);
  return story;
}
