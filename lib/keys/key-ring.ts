import { Logger } from '@nestjs/common';
import { SigningKeyNotFoundError, StorageUnavailableError } from '../errors/session.errors.js';
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
  /** How old this process's view of the ring may become, so that a dropped key is refused. @default `maxAge` of the ring */
  readonly interval?: number;
  /** Makes new key material. */
  generate(): Promise<Pick<StoredKey, 'kid' | 'algorithm' | 'material'>>;
  /** Turns stored material into a usable key. */
  load(stored: StoredKey): Promise<LoadedKey<K>>;
  /** The name that a token gives this key. */
  nameOf(stored: StoredKey): string;
  /** Whether a key is not as this process would make it now. The next one is then made at the start, not when due. */
  isOutdated?(stored: StoredKey): boolean;
}

export interface LoadedKey<K> {
  readonly key: K;
  /** The material as it is to be stored from now on, where it is stored in an older way. */
  readonly resealed: string | undefined;
}

/** Which keys of a ring to drop: the one that signs, all of them, or the one of this `kid`. */
export type DroppedKeys = 'current' | 'all' | (string & {});

/** What a rotation by hand came to; `kid`s. */
export interface KeyRotation {
  /** The key that signs from now on. */
  readonly current: string;
  /** The keys whose tokens are refused from now on. */
  readonly dropped: readonly string[];
}

interface RingEntry<K> {
  readonly stored: StoredKey;
  readonly key: K;
}

const MINUTE = 60_000;
const ROTATION_ATTEMPTS = 10;

/**
 * The keys of one purpose, shared by every process through the database: the retired ones, the current one and, in
 * good time, the next one.
 *
 * Each key has a place in a sequence and a time from which it signs. A unique constraint on purpose and sequence decides
 * which process made it; the others read the winner's. A key is published before it signs, and kept after that until
 * the last token that it signed has expired, so that a rotation makes nobody refresh.
 */
export class KeyRing<K> {
  private readonly logger = new Logger(KeyRing.name);
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
    const { maxAge, cooldown } = this;
    const interval = Math.min(settings.interval ?? maxAge, maxAge);
    this.reloader = new Reloader(
      (now) => this.read(now),
      { interval, maxAge, cooldown },
      (error) =>
        this.logger.error(`The ${settings.purpose} keys could not be read; those known stay in use.`, error),
    );
  }

  /** Reads the ring, making the first key on an empty database, and the next one where the newest is outdated. */
  async start(now: number): Promise<void> {
    await this.reloader.reload(now);
    const newest = this.entries.at(-1)?.stored;
    if (newest === undefined || !this.settings.isOutdated?.(newest)) return;
    // Once, at the start: processes that are set up differently would go on replacing each other's keys.
    const activeAt = Math.max(newest.activeAt, now + this.publishAhead);
    await this.insert(newest.sequence + 1, activeAt, now);
    await this.reloader.reloadAnew(now);
  }

  /** The key that signs now. */
  async current(now: number): Promise<K> {
    await this.reloader.ensureUsable(now);
    const entry = this.entries.findLast(({ stored }) => stored.activeAt <= now) ?? this.entries[0];
    return entry!.key;
  }

  /**
   * Looks whether other processes have changed the ring, where it is time for that.
   *
   * @returns a promise only when there is something to wait for
   */
  freshen(now: number): Promise<void> | undefined {
    return this.reloader.freshen(now);
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

  /**
   * Makes the next key sign at once, and deletes keys, so that every process refuses what they have signed as soon as it
   * looks again.
   *
   * @throws {@link SigningKeyNotFoundError}
   */
  async rotate(now: number, drop?: DroppedKeys): Promise<KeyRotation> {
    const { purpose } = this.settings;
    for (let attempts = 0; attempts < ROTATION_ATTEMPTS; attempts++) {
      const keys = await this.store.findAll(purpose);
      const current = keys.findLast(({ activeAt }) => activeAt <= now) ?? keys[0];
      const dropped = keys.filter(
        ({ kid }) => drop === 'all' || kid === (drop === 'current' ? current?.kid : drop),
      );
      if (drop !== undefined && dropped.length === 0) throw new SigningKeyNotFoundError(drop);

      const needsSuccessor = drop === undefined || current === undefined || dropped.includes(current);
      const successor = needsSuccessor ? await this.succeed(keys, current, dropped, now) : current.kid;
      // Somebody else was faster: what is current has to be looked at again.
      if (successor === undefined) continue;
      // Not before there is another one: a ring is never without a key that signs.
      await this.store.remove(dropped.map(({ kid }) => kid));
      await this.reloader.reloadAnew(now);
      return { current: successor, dropped: dropped.map(({ kid }) => kid) };
    }
    throw new StorageUnavailableError('The signing keys changed too often while they were being rotated.');
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

  /** @returns the `kid` of the key that now signs, or `undefined` when another process was faster */
  private async succeed(
    keys: readonly StoredKey[],
    current: StoredKey | undefined,
    dropped: readonly StoredKey[],
    now: number,
  ): Promise<string | undefined> {
    // The one that has been published already is the one that everybody knows. One from before the current key is no next
    // one: another process is about to delete it with all others of its time.
    const isNext = (key: StoredKey) => key.activeAt > now && key.sequence > (current?.sequence ?? 0);
    const next = keys.find((key) => isNext(key) && !dropped.includes(key));
    if (next) return (await this.store.activate(next, now)) ? next.kid : undefined;
    return this.insert((keys.at(-1)?.sequence ?? 0) + 1, now, now);
  }

  /** @returns the new key's `kid`, or `undefined` when its place in the sequence was taken */
  private async insert(sequence: number, activeAt: number, now: number): Promise<string | undefined> {
    const made = await this.settings.generate();
    const { purpose } = this.settings;
    const isMine = await this.store.insertUnlessTaken({
      ...made,
      purpose,
      sequence,
      activeAt,
      createdAt: now,
    });
    return isMine ? made.kid : undefined;
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
      // Whether this process or another one won the place in the sequence, the ring now has its key.
      await this.insert((newest?.sequence ?? 0) + 1, activeAt, now);
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
      const known = this.entries.find((entry) => entry.stored.kid === stored.kid);
      try {
        entries.push({ stored, key: known?.key ?? (await this.load(stored)) });
      } catch (error) {
        failure = error;
        sealed.add(this.settings.nameOf(stored));
      }
    }
    if (entries.length === 0 && failure !== undefined) throw failure;
    return { entries, sealed };
  }

  private async load(stored: StoredKey): Promise<K> {
    const { key, resealed } = await this.settings.load(stored);
    if (resealed !== undefined) await this.reseal(stored, resealed);
    return key;
  }

  /** Nothing is lost when this fails: the key is usable as it is stored, and the next start tries again. */
  private async reseal(stored: StoredKey, material: string): Promise<void> {
    try {
      await this.store.replaceMaterial(stored, material);
    } catch (error) {
      this.logger.warn(`The key "${stored.kid}" could not be stored under the newest secret.`, error);
    }
  }

  /** When the next key is to take over, if it must be made now. */
  private timeOfNext(newest: StoredKey | undefined, now: number): number | undefined {
    if (newest === undefined) return now;
    const due = newest.activeAt + this.settings.rotation;
    return now >= due - this.publishAhead ? Math.max(due, now + this.publishAhead) : undefined;
  }
}
