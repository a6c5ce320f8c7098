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

/** A CPU profile of a server process under load. */
export interface Recording {
  readonly profile: CpuProfile;
  /** Requests that were answered while it was recorded. */
  readonly requests: number;
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

/** What something itself took of a recording. */
export interface Usage {
  readonly name: string;
  /** Of all the time that was not idle. */
  readonly share: number;
  /** Microseconds per request. */
  readonly each: number;
}

/** The usage of a function. */
export interface FunctionUsage extends Usage {
  readonly group: string;
}

/** Each function's usage, most first; idle time is left out. */
export function functionUsage({
  profile: { nodes, samples, timeDeltas },
  requests,
}: Recording): FunctionUsage[] {
  const byId = new Map(nodes.map((node) => [node.id, node.callFrame]));
  const functions = new Map<string, { name: string; group: string; time: number }>();
  let total = 0;
  for (const [index, id] of samples.entries()) {
    const { functionName, url, lineNumber } = byId.get(id)!;
    if (functionName === '(idle)' || functionName === '(root)') continue;
    const file = url.replace(/^.*\/node_modules\//, '').replace(/^file:.*\/dist\//, '');
    const place = url === '' ? '' : ` ${file}:${lineNumber + 1}`;
    const name = `${functionName || '(anonymous)'}${place}`;
    const entry = functions.get(name) ?? { name, group: groupOf(functionName, url), time: 0 };
    const time = timeDeltas[index] ?? 0;
    entry.time += time;
    total += time;
    functions.set(name, entry);
  }
  return [...functions.values()]
    .map(({ name, group, time }) => ({ name, group, share: time / total, each: time / requests }))
    .toSorted((a, b) => b.share - a.share);
}

/** Each group's usage, most first. */
export function groupUsage(functions: readonly FunctionUsage[]): Usage[] {
  const groups = new Map<string, Usage>();
  for (const { group: name, share, each } of functions) {
    const present = groups.get(name) ?? { share: 0, each: 0 };
    groups.set(name, { name, share: present.share + share, each: present.each + each });
  }
  return [...groups.values()].toSorted((a, b) => b.share - a.share);
}

function groupOf(functionName: string, url: string): string {
  // V8's own functions have no file.
  if (url === '') return NATIVE.get(functionName) ?? 'native code';
  return GROUPS.find(([, pattern]) => pattern.test(url))?.[0] ?? 'other';
}
