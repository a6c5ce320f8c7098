/** A small world, and everything that can happen in it. */
export interface Model<World> {
  readonly start: World;
  /** Everything that can happen next, each with its place in the story. */
  successors(world: World): [event: string, next: World][];
  /** What is wrong with a world, if anything. */
  violation(world: World): string | undefined;
  /** Whether the story ends well: a thief has been caught. */
  isCaught(world: World): boolean;
  /** The same text for worlds that have the same future, but for names and for when they began. */
  canonical(world: World): string;
}

export interface Exploration {
  readonly states: number;
  readonly thefts: number;
  /** The shortest history that breaks a guarantee. */
  readonly story: string | undefined;
}

/**
 * Visits every world that can be reached, nearest first, so that a story it finds is a shortest one.
 *
 * @param max how many worlds it may be
 */
export function explore<World>(model: Model<World>, max: number): Exploration {
  const seen = new Set([model.canonical(model.start)]);
  // A visited world is forgotten once its successors are known. How to get there again stays: from which, and by which event.
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
