import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import type { Tokens, TokenStore } from './session-client.js';

/** Tokens in a file that nobody else on the machine can read. */
export class FileStore implements TokenStore {
  constructor(private readonly path: string) {}

  async load(): Promise<Tokens | undefined> {
    const text = await readFile(this.path, 'utf8').catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as Tokens);
  }

  async save(tokens: Tokens | undefined): Promise<void> {
    if (!tokens) return rm(this.path, { force: true });
    // All of it or nothing, also if the program is killed here.
    const next = `${this.path}.${process.pid}.new`;
    await writeFile(next, JSON.stringify(tokens), { mode: 0o600 });
    await rename(next, this.path);
  }
}
