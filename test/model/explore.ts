import { canonical, initialWorld, type Limits, successors, violation, type World } from './world.js';

export interface Exploration {
  readonly states: number;
  readonly thefts: number;
  /** The shortest history that breaks a guarantee. */
  readonly story: string | undefined;
}

/** Visits every world that can be reached within the limits, nearest first, so that a story it finds is a shortest one. */
export function explore(limits: Limits): Exploration {
  const start = initialWorld(limits);
  const seen = new Set([canonical(start)]);
  // A visited world is forgotten once its successors are known; its place in the story stays.
  const worlds: (World | undefined)[] = [start];
  const parents: number[] = [-1];
  const events: string[] = [''];
  let thefts = 0;

  for (let index = 0; index < worlds.length; index++) {
    const world = worlds[index]!;
    worlds[index] = undefined;
    const wrong = violation(world, limits);
    if (wrong !== undefined) return { states: seen.size, thefts, story: tell(index, wrong, parents, events) };
    if (world.row === undefined) thefts++;
    for (const [event, next] of successors(world, limits)) {
      const key = canonical(next);
      if (next.row !== undefined && seen.has(key)) continue;
      // All revoked worlds are alike, and the end of their story.
      if (next.row === undefined && limits.thief) {
        thefts++;
        continue;
      }
      seen.add(key);
      worlds.push(next);
      parents.push(index);
      events.push(`t=${next.now} ${event}`);
    }
  }
  return { states: seen.size, thefts, story: undefined };
}

function tell(index: number, wrong: string, parents: readonly number[], events: readonly string[]): string {
  const story = [wrong];
  for (let at = index; at > 0; at = parents[at]!) story.unshift(events[at]!);
  return story.join('\n');
}
