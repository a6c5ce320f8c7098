import { readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Found } from './station.js';

const FILE = fileURLToPath(new URL('../growth-parts.json', import.meta.url));

/**
 * What parts of a run have found, kept in a file in `dist`, so that a run that was stopped goes on with the part that it was at. The
 * file goes when the run is complete. Delete it to begin from the start.
 */
export class KeptParts {
  private constructor(private readonly found: Record<string, Found>) {}

  static async read(): Promise<KeptParts> {
    try {
      return new KeptParts(JSON.parse(await readFile(FILE, 'utf8')) as Record<string, Found>);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new KeptParts({});
      throw error;
    }
  }

  has(key: string): boolean {
    return key in this.found;
  }

  /** What the part has found; it runs only if it has not yet. */
  async part(key: string, run: () => Promise<Found>): Promise<Found> {
    this.found[key] ??= await run();
    await writeFile(FILE, JSON.stringify(this.found));
    return this.found[key];
  }

  async complete(): Promise<void> {
    await rm(FILE, { force: true });
  }
}
