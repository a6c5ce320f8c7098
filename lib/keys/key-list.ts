import type { JWK } from 'jose';
import type { ReadCounts } from '../diagnostics/channels.js';
import type { Trouble } from '../util/trouble.js';
import { Reloader, type ReloadTimes } from './reloader.js';
import { importKey, type VerificationKey, type VerificationKeys } from './signing-key.js';

/** Imports a JWK. Gives the same object for a JWK that is already imported. */
export type KeyImport = (jwk: JWK) => Promise<VerificationKey>;

/** A list of keys from an external source, which is loaded again from time to time. */
export class KeyList implements VerificationKeys {
  private keys: readonly VerificationKey[] = [];
  private imported: ReadonlyMap<string, VerificationKey> = new Map();
  private readonly reloader: Reloader;

  constructor(
    private readonly load: (importKey: KeyImport) => Promise<readonly VerificationKey[]>,
    times: ReloadTimes,
    trouble: Pick<Trouble, 'failed' | 'worked'>,
  ) {
    this.reloader = new Reloader(() => this.read(), times, trouble);
  }

  /** How the loads have gone since the start. */
  get counts(): ReadCounts {
    return this.reloader.counts;
  }

  /** How many keys are known. */
  get size(): number {
    return this.keys.length;
  }

  async reload(now: number): Promise<void> {
    await this.reloader.reload(now);
  }

  /** All keys. Loads them again if they are too old. */
  async all(now: number): Promise<readonly VerificationKey[]> {
    await this.reloader.ensureUsable(now);
    return this.keys;
  }

  find(kid: string): VerificationKey | undefined {
    return this.keys.find((key) => key.kid === kid);
  }

  async lookUp(kid: string, now: number): Promise<VerificationKey | undefined> {
    await this.reloader.reloadOnDoubt(now);
    return this.find(kid);
  }

  freshen(now: number): Promise<void> | undefined {
    return this.reloader.freshen(now);
  }

  get dueAt(): number {
    return this.reloader.dueAt;
  }

  /** A key that the source has removed is refused. While the source fails, the known keys stay in use. */
  isInUse(key: VerificationKey, now: number): boolean | Promise<boolean> {
    const freshened = this.reloader.freshen(now);
    return freshened ? freshened.then(() => this.keys.includes(key)) : this.keys.includes(key);
  }

  /** A key that is still in the list stays the same object, so that cached verified tokens stay valid. */
  private async read(): Promise<void> {
    const imported = new Map<string, VerificationKey>();
    this.keys = await this.load(async (jwk) => {
      const text = JSON.stringify(jwk);
      const key = this.imported.get(text) ?? (await importKey(jwk));
      imported.set(text, key);
      return key;
    });
    this.imported = imported;
  }
}
