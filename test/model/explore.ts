/** A small world, and everything that can happen in it. */
export interface Model<World> {
  readonly start: World;
  /** Every event that can happen next, each with its line in the story. */
  successors(world: World): [event: string, next: World][];
  /** What is wrong with a world, if anything. */
  violation(world: World): string | undefined;
  /** Whether the story ends well: a thief has been caught. */
  isCaught(world: World): boolean;
  /** A text that is equal for worlds with the same future, apart from names and start times. */
  canonical(world: World): string;
}

export interface Exploration {
  readonly states: number;
  readonly thefts: number;
  /** The shortest history that breaks a guarantee. */
  readonly story: string | undefined;
}

/**
 * Visits every reachable world, nearest first. So each story that it finds is a shortest one.
 *
 * @param max the largest number of worlds
 */
export function explore<World>(model: Model<World>, max: number): Exploration {
  const seen = new Set([model.canonical(model.start)]);
  // A visited world is dropped when its successors are known. For each world, only its predecessor and the event are kept,
  // so that the story can be replayed.
  const worlds: (World | undefined)[] = [model.start];
  const parents: number[] = [-1];
  const choices: number[] = [-1];
  let thefts = 0;

  for (let index = 0; index < worlds.length; index++) {
    const world = worlds[index]!;
    worlds[index] = undefined;
    const wrong = model.violation(world);
    if (wrong !== undefined) {
      return { states: seen.size, thefts, story: tell(model, pathTo(index, parents, choices), wrong) };
    }
    for (const [choice, [, next]] of model.successors(world).entries()) {
      if (model.isCaught(next)) {
        thefts++;
        continue;
      }
      const key = model.canonical(next);
      if (seen.has(key)) continue;
      if (seen.size >= max) throw new Error(`There are more than ${max} states.`);
      seen.add(key);
      worlds.push(next);
      parents.push(index);
      choices.push(choice);
    }
  }
  return { states: seen.size, thefts, story: undefined };
}

function pathTo(index: number, parents: readonly number[], choices: readonly number[]): number[] {
  const path: number[] = [];
  for (let at = index; at > 0; at = parents[at]!) path.unshift(choices[at]!);
  return path;
}

function tell<World>(model: Model<World>, path: readonly number[], wrong: string): string {
  const story: string[] = [];
  let world = model.start;
  for (const choice of path) {
    const [event, next] = model.successors(world)[choice]!;
    story.push(event);
    world = next;
  }
  return [...story, wrong].join('\n');
}
