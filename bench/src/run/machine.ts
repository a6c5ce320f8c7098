import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem, type as osType, release } from 'node:os';
import { canPin } from './child.js';

/** Where the measurements were made, and with what. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly os: string;
  /** Whether server and load generator had a core each. */
  readonly pinned: boolean;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGb: Math.round(totalmem() / 2 ** 30),
    os: `${osType()} ${/^\d+\.\d+/.exec(release())?.[0] ?? ''}`,
    pinned: canPin,
  };
}

/** Versions of Node, of the library, and of all that it is compared with. */
export function describeVersions(): Record<string, string> {
  const own = manifest(new URL('../../package.json', import.meta.url));
  const versions: Record<string, string> = { node: process.versions.node };
  for (const name of Object.keys(own.dependencies)) versions[name] = versionOf(name);
  for (const name of ['express', 'fastify']) versions[name] = versionOf(name);
  return versions;
}

function versionOf(name: string): string {
  // Not every package exports its manifest, so that it is looked for as Node would.
  for (const folder of ['../node_modules', '../../node_modules']) {
    try {
      return manifest(new URL(`${folder}/${name}/package.json`, import.meta.url)).version;
    } catch {
      // The library's copy is in one of them, the others are in the other.
    }
  }
  return 'not installed';
}

function manifest(url: URL): { version: string; dependencies: Record<string, string> } {
  return JSON.parse(readFileSync(url, 'utf8')) as { version: string; dependencies: Record<string, string> };
}
