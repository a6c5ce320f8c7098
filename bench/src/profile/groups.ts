/** A CPU profile as V8 writes it. */
export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  /** Ids of the nodes that were met, and the microseconds before each. */
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    readonly lineNumber: number;
  };
}

/** The group of the library's own code. */
export const LIBRARY = 'nestjs-session-tokens';

/** Whose code it is, by where its file lies; the first that fits. */
const GROUPS: readonly (readonly [string, RegExp])[] = [
  [LIBRARY, new RegExp(`/node_modules/${LIBRARY}/`)],
  ['jose', /\/node_modules\/jose\//],
  ['TypeORM', /\/node_modules\/(typeorm)\//],
  ['database driver', /\/node_modules\/(pg|pg-[a-z]+|postgres-[a-z]+|mysql2|libsql)\//],
  ['Nest', /\/node_modules\/(@nestjs|rxjs|reflect-metadata)\//],
  ['the benchmark’s controllers', /\/dist\/(servers|load)\//],
  // What is left of node_modules in such a server is Express or Fastify, and what they depend on.
  ['Express or Fastify', /\/node_modules\//],
  ['Node', /^node:/],
];

const NATIVE = new Map([
  ['(garbage collector)', 'garbage collection'],
  ['(program)', 'native code'],
]);

/** Time spent in something itself, in microseconds. */
export interface SelfTime {
  readonly name: string;
  readonly group: string;
  readonly time: number;
}

/** Self time of each function, most first; idle time is left out. */
export function selfTimes({ nodes, samples, timeDeltas }: CpuProfile): SelfTime[] {
  const byId = new Map(nodes.map((node) => [node.id, node.callFrame]));
  const times = new Map<string, SelfTime & { time: number }>();
  for (const [index, id] of samples.entries()) {
    const { functionName, url, lineNumber } = byId.get(id)!;
    if (functionName === '(idle)' || functionName === '(root)') continue;
    const file = url.replace(/^.*\/node_modules\//, '').replace(/^file:.*\/dist\//, '');
    const place = url === '' ? '' : ` ${file}:${lineNumber + 1}`;
    const name = `${functionName || '(anonymous)'}${place}`;
    const entry = times.get(name) ?? { name, group: groupOf(functionName, url), time: 0 };
    entry.time += timeDeltas[index] ?? 0;
    times.set(name, entry);
  }
  return [...times.values()].toSorted((a, b) => b.time - a.time);
}

/** Self time of each group, most first. */
export function groupTimes(times: readonly SelfTime[]): { name: string; time: number }[] {
  const groups = new Map<string, number>();
  for (const { group, time } of times) groups.set(group, (groups.get(group) ?? 0) + time);
  return [...groups].map(([name, time]) => ({ name, time })).toSorted((a, b) => b.time - a.time);
}

function groupOf(functionName: string, url: string): string {
  // V8's own functions have no file.
  if (url === '') return NATIVE.get(functionName) ?? 'native code';
  return GROUPS.find(([, pattern]) => pattern.test(url))?.[0] ?? 'other';
}
