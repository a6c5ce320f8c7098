import type { KeyStore, StoredKey } from '../storage/key.store.js';
import { Reloader } from './reloader.js';

/** What tells one ring from another. All times in milliseconds. */
export interface KeyRingSettings<K> {
  /** Which keys in the database are this ring's. */
  readonly purpose: string;
  /** How long a key is current before the next one takes over. */
  readonly rotation: number;
  /** How long what a key has signed can live. */
  readonly lifetime: number;
  /** Makes new key material. */
  generate(): Promise<Pick<StoredKey, 'kid' | 'algorithm' | 'material'>>;
  /** Turns stored material into a usable key. */
  load(stored: StoredKey): Promise<K>;
  /** The name that a token gives this key. */
  nameOf(stored: StoredKey): string;
}

interface RingEntry<K> {
  readonly stored: StoredKey;
  readonly key: K;
}

const MINUTE = 60_000;

/**
 * The keys of one purpose, shared by every process through the database: the retired ones, the current one and, in
 * good time, the next one.
 *
 * Each key has a place in a sequence and a time from which it signs. A unique constraint on purpose and sequence decides
 * which process made it; the others read the winner's. A key is published before it signs, and kept after that until
 * the last token that it signed has expired, so that a rotation makes nobody refresh.
 */
export class KeyRing<K> {
  private entries: readonly RingEntry<K>[] = [];
  private byName: ReadonlyMap<string, RingEntry<K>> = new Map();
  private sealed: ReadonlySet<string> = new Set();
  private readonly reloader: Reloader;

  /** How long before it signs a key is published. */
  readonly publishAhead: number;
  /** How old this process's view of the ring may be when it signs; a quarter of `publishAhead` leaves it time to fail. */
  readonly maxAge: number;
  /** Unknown names cause at most one reload in this time, however many there are. */
  readonly cooldown: number;

  constructor(
    private readonly store: KeyStore,
    private readonly settings: KeyRingSettings<K>,
  ) {
    this.publishAhead = Math.min(60 * MINUTE, Math.floor(settings.rotation / 4));
    this.maxAge = Math.min(5 * MINUTE, this.publishAhead / 4);
    this.cooldown = Math.min(10_000, this.publishAhead);
    this.reloader = new Reloader((now) => this.read(now), this.maxAge, this.cooldown);
  }

  /** The key that signs now. */
  async current(now: number): Promise<K> {
    await this.reloader.ensureFresh(now);
    const entry = this.entries.findLast(({ stored }) => stored.activeAt <= now) ?? this.entries[0];
    return entry!.key;
  }

  /** The key of this name, if this process knows it. */
  find(name: string): K | undefined {
    return this.byName.get(name)?.key;
  }

  /** All keys that this process knows, oldest first. */
  all(): K[] {
    return this.entries.map(({ key }) => key);
  }

  /** Whether there is a key of this name that this process cannot open. */
  isSealed(name: string): boolean {
    return this.sealed.has(name);
  }

  /**
   * The key of a name that {@link find} did not know, after reading the ring again. Junk must not turn into database
   * load, so that is done once per cooldown.
   *
   * @returns the key; `'unknown'` when there is none; `'unchecked'` when the cooldown forbids to look
   */
  async findAfterReload(name: string, now: number): Promise<K | 'unknown' | 'unchecked'> {
    const isChecked = await this.reloader.reloadOnDoubt(now);
    return this.find(name) ?? (isChecked ? 'unknown' : 'unchecked');
  }

  /** Reads the ring, and makes the first or the next key where it is time. Callers at the same time share one run. */
  async reload(now: number): Promise<void> {
    await this.reloader.reload(now);
  }

  /** Deletes keys whose last token has expired. */
  async removeRetired(now: number): Promise<void> {
    // A process whose view is maxAge old may have signed with a key after it retired; clocks may differ, too.
    const keep = this.settings.lifetime + this.maxAge + 5 * MINUTE;
    const keys = await this.store.findAll(this.settings.purpose);
    const retired = keys.filter((_, index) => {
      const successor = keys[index + 1];
      return successor !== undefined && successor.activeAt + keep < now;
    });
    await this.store.remove(retired.map(({ kid }) => kid));
  }

  private async read(now: number): Promise<void> {
    const { purpose } = this.settings;
    // First the keys that are there: a process that cannot open them, because it has another secret or none, must not add
    // one that the others cannot open.
    let keys = await this.store.findAll(purpose);
    let opened = await this.open(keys);
    const newest = keys.at(-1);
    const activeAt = this.timeOfNext(newest, now);
    if (activeAt !== undefined) {
      const sequence = (newest?.sequence ?? 0) + 1;
      const made = await this.settings.generate();
      // Whether this process or another one won the place in the sequence, the ring now has its key.
      await this.store.insertUnlessTaken({ ...made, purpose, sequence, activeAt, createdAt: now });
      keys = await this.store.findAll(purpose);
      opened = await this.open(keys);
    }
    this.entries = opened.entries;
    this.byName = new Map(opened.entries.map((entry) => [this.settings.nameOf(entry.stored), entry]));
    this.sealed = opened.sealed;
  }

  /**
   * The keys that this process can open. While a new secret is being rolled out, some cannot: they are another process's
   * for now.
   */
  private async open(keys: readonly StoredKey[]): Promise<{ entries: RingEntry<K>[]; sealed: Set<string> }> {
    const entries: RingEntry<K>[] = [];
    const sealed = new Set<string>();
    let failure: unknown;
    for (const stored of keys) {
      try {
        const known = this.entries.find((entry) => entry.stored.kid === stored.kid);
        entries.push(known ?? { stored, key: await this.settings.load(stored) });
      } catch (error) {
        failure = error;
        sealed.add(this.settings.nameOf(stored));
      }
    }
    if (entries.length === 0 && failure !== undefined) throw failure;
    return { entries, sealed };
  }

  /** When the next key is to take over, if it must be made now. */
  private timeOfNext(newest: StoredKey | undefined, now: number): number | undefined {
    if (newest === undefined) return now;
    const due = newest.activeAt + this.settings.rotation;
    return now >= due - this.publishAhead ? Math.max(due, now + this.publishAhead) : undefined;
  }
}
