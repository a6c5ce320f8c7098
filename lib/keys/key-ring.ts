import {
  KeysUnavailableError,
  SigningKeyNotFoundError,
  StorageUnavailableError,
} from '../errors/session.errors.js';
import type { KeyStore, StoredKey } from '../storage/key.store.js';
import type { KeyState } from '../diagnostics/channels.js';
import { logger } from '../util/logger.js';
import { Trouble } from '../util/trouble.js';
import { Reloader } from './reloader.js';

/** The settings of a key ring. All times in milliseconds. */
export interface KeyRingSettings<K> {
  /** The `purpose` of this ring's keys in the database. */
  readonly purpose: 'access' | 'refresh';
  /** How long a key signs before the next one takes over. */
  readonly rotation: number;
  /** The longest lifetime of a token. */
  readonly lifetime: number;
  /** The age at which this process reads the ring again, to refuse dropped keys. @default `maxAge` of the ring */
  readonly interval?: number;
  /** How long callers who can do with what is known wait for a read at most. @default 1 s */
  readonly patience?: number;
  /** Makes new key material. */
  generate(): Promise<Pick<StoredKey, 'kid' | 'algorithm' | 'material'>>;
  /** Turns stored material into a usable key. */
  load(stored: StoredKey): Promise<LoadedKey<K>>;
  /** The name by which tokens refer to this key. */
  nameOf(stored: StoredKey): string;
  /** Whether this process would make the key in another way now. The next key is then made at start, before it is due. */
  isOutdated?(stored: StoredKey): boolean;
  /** Told of each change of the ring by this process, after it was written; not of the first key of all. */
  rotated?: ((change: RingChange, now: number) => void) | undefined;
}

/** How a process has changed a ring. */
export interface RingChange {
  /** The key that signs from `signsFrom` on. */
  readonly kid: string;
  /** Epoch milliseconds. */
  readonly signsFrom: number;
  /** The `kid`s of the keys that were dropped. */
  readonly dropped: readonly string[];
}

export interface LoadedKey<K> {
  readonly key: K;
  /** The material to store from now on. Present if the stored material is not encrypted with the newest secret. */
  readonly resealed: string | undefined;
}

/** Which keys to drop: the one that signs, all keys, or the one with this `kid`. */
export type DroppedKeys = 'current' | 'all' | (string & {});

/** The result of a rotation by hand, as `kid`s. */
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

/** What it means that a process cannot open a key that others use. */
const CONSEQUENCES = {
  access: 'access tokens that they have signed are refused here, so that clients refresh',
  refresh: 'refreshes with tokens that were made under them are answered 503 here',
} as const;

const MINUTE = 60_000;
const ROTATION_ATTEMPTS = 10;

/**
 * The keys of one purpose: the retired keys, the current key and, some time before it signs, the next key. All processes
 * share them through the database.
 *
 * Each key has a number in a sequence, and a time from which it signs. If several processes make a key for the same number,
 * a unique constraint on purpose and sequence accepts one of them, and the other processes read that one. A key is
 * published before it signs. It is kept until the last token that it signed has expired. So a rotation forces no client to
 * refresh.
 */
export class KeyRing<K> {
  private entries: readonly RingEntry<K>[] = [];
  private byName: ReadonlyMap<string, RingEntry<K>> = new Map();
  private sealed: ReadonlySet<string> = new Set();
  /** The `kid`s of keys that have gone from the ring before their time. They are few. */
  private readonly dropped = new Set<string>();
  private readonly reloader: Reloader;
  private readonly sealedTrouble: Trouble;

  /** How long a key is published before it signs. */
  readonly publishAhead: number;
  /** How old this process's view of the ring may be when it signs. At most `publishAhead` / 4, so that reads may fail. */
  readonly maxAge: number;
  /** The shortest time between two reloads for unknown names. */
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
      { interval, maxAge, cooldown, patience: settings.patience ?? 1_000 },
      new Trouble({
        begins: `The ${settings.purpose} keys could not be read; those known stay in use, for new tokens at most ${Math.round(maxAge / 1_000)} s: then sign-in and refresh are answered 503.`,
        ends: `The ${settings.purpose} keys can be read again.`,
      }),
    );
    this.sealedTrouble = new Trouble({
      begins: `Some ${settings.purpose} keys in the database cannot be opened; ${CONSEQUENCES[settings.purpose]}.`,
      ends: `All ${settings.purpose} keys in the database can be opened again.`,
    });
  }

  /** Reads the ring. Makes the first key if there is none, and the next key if the newest is outdated. */
  async start(now: number): Promise<void> {
    await this.reloader.reload(now);
    const newest = this.entries.at(-1)?.stored;
    if (newest === undefined || !this.settings.isOutdated?.(newest)) return;
    // This is done only at start. Otherwise processes with different settings would replace each other's keys again and
    // again.
    const activeAt = Math.max(newest.activeAt, now + this.publishAhead);
    await this.add(newest.sequence + 1, activeAt, now);
    await this.reloader.reloadAnew(now);
  }

  /** The key that signs now. */
  async current(now: number): Promise<K> {
    await this.reloader.ensureUsable(now);
    return this.entryAt(now)!.key;
  }

  /** How the reads of the ring have gone, and the age of the key that signs now. */
  state(now: number): KeyState {
    const activeAt = this.entryAt(now)?.stored.activeAt;
    const age = activeAt === undefined ? undefined : Math.max(0, now - activeAt);
    const { purpose, rotation } = this.settings;
    const newest = this.entries.at(-1)?.stored.activeAt ?? now;
    const overdue = Math.max(0, now - newest - rotation);
    return { purpose, reads: this.reloader.counts, age, overdue, known: this.entries.length };
  }

  private entryAt(now: number): RingEntry<K> | undefined {
    return this.entries.findLast(({ stored }) => stored.activeAt <= now) ?? this.entries[0];
  }

  /**
   * Reads the ring again if `interval` has passed, because other processes may have changed it.
   *
   * @returns a promise only if something must be waited for
   */
  freshen(now: number): Promise<void> | undefined {
    return this.reloader.freshen(now);
  }

  get dueAt(): number {
    return this.reloader.dueAt;
  }

  /** The key of this name, if this process knows it. */
  find(name: string): K | undefined {
    return this.byName.get(name)?.key;
  }

  /** All keys that this process knows, oldest first. */
  all(): K[] {
    return this.entries.map(({ key }) => key);
  }

  /** Whether a key has gone from the ring before its last token had expired. */
  isDropped(kid: string): boolean {
    return this.dropped.has(kid);
  }

  /** Whether this process cannot decrypt the key of this name. */
  isSealed(name: string): boolean {
    return this.sealed.has(name);
  }

  /**
   * The key of a name that {@link find} did not know. This reads the ring again, at most once per cooldown, so that junk
   * tokens do not cause database load.
   *
   * @returns the key; `'unknown'` when there is none; `'unchecked'` when the cooldown does not allow a read
   */
  async findAfterReload(name: string, now: number): Promise<K | 'unknown' | 'unchecked'> {
    const isChecked = await this.reloader.reloadOnDoubt(now);
    return this.find(name) ?? (isChecked ? 'unknown' : 'unchecked');
  }

  /**
   * Makes the next key sign at once, and deletes the dropped keys. Every process refuses tokens of these keys when it has
   * read the ring again.
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
      // Another process has changed the ring. Read it and try again.
      if (successor === undefined) continue;
      // The keys are deleted only now, so that the ring always has a key that signs.
      const kids = dropped.map(({ kid }) => kid);
      await this.store.remove(kids);
      this.settings.rotated?.({ kid: successor, signsFrom: now, dropped: kids }, now);
      await this.reloader.reloadAnew(now);
      return { current: successor, dropped: kids };
    }
    throw new StorageUnavailableError('The signing keys changed too often while they were being rotated.');
  }

  /** Deletes keys whose last token has expired. */
  async removeRetired(now: number): Promise<void> {
    const keys = await this.store.findAll(this.settings.purpose);
    const retired = keys.filter((_, index) => this.isRetired(keys[index + 1], now));
    await this.store.remove(retired.map(({ kid }) => kid));
  }

  /** Whether the last token of a key has expired. */
  private isRetired(successor: StoredKey | undefined, now: number): boolean {
    // A process may sign with a retired key for up to maxAge, because its view is that old. Also, clocks may differ.
    const keep = this.settings.lifetime + this.maxAge + 5 * MINUTE;
    return successor !== undefined && successor.activeAt + keep < now;
  }

  /** Notes which keys another process, or this one, has deleted before their time. */
  private noteDropped(present: readonly RingEntry<K>[], now: number): void {
    const kids = new Set(present.map(({ stored }) => stored.kid));
    for (const [index, { stored }] of this.entries.entries()) {
      // Another process may have deleted a retired key by a clock that is a little ahead.
      const isRetired = this.isRetired(this.entries[index + 1]?.stored, now + MINUTE);
      if (!kids.has(stored.kid) && !isRetired) this.dropped.add(stored.kid);
    }
  }

  /** @returns the `kid` of the key that now signs, or `undefined` when another process was faster */
  private async succeed(
    keys: readonly StoredKey[],
    current: StoredKey | undefined,
    dropped: readonly StoredKey[],
    now: number,
  ): Promise<string | undefined> {
    // The published next key is best, because all processes know it already. A key with a number below the current one is
    // not a next key: another process is about to delete it.
    const isNext = (key: StoredKey) => key.activeAt > now && key.sequence > (current?.sequence ?? 0);
    const next = keys.find((key) => isNext(key) && !dropped.includes(key));
    if (next) return (await this.store.activate(next, now)) ? next.kid : undefined;
    return this.insert((keys.at(-1)?.sequence ?? 0) + 1, now, now);
  }

  /** Makes the next key, unless another process has. */
  private async add(sequence: number, signsFrom: number, now: number): Promise<void> {
    const kid = await this.insert(sequence, signsFrom, now);
    if (kid !== undefined) this.settings.rotated?.({ kid, signsFrom, dropped: [] }, now);
  }

  /** @returns the new key's `kid`, or `undefined` when another process has made the key of this number */
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
    // Existing keys are decrypted first. A process with a wrong secret, or with none, fails here. So it does not add a key
    // that other processes cannot decrypt.
    let keys = await this.store.findAll(purpose);
    let opened = await this.open(keys, now);
    const newest = keys.at(-1);
    const activeAt = this.timeOfNext(newest, now);
    if (activeAt !== undefined) {
      // Now the ring has the key, whether this process or another one has made it.
      if (newest) await this.add(newest.sequence + 1, activeAt, now);
      else await this.insert(1, activeAt, now);
      keys = await this.store.findAll(purpose);
      opened = await this.open(keys, now);
    }
    this.noteDropped(opened.entries, now);
    this.entries = opened.entries;
    this.byName = new Map(opened.entries.map((entry) => [this.settings.nameOf(entry.stored), entry]));
    this.sealed = opened.sealed;
  }

  /**
   * Decrypts the keys. While a new secret is being rolled out, this process may not be able to decrypt some of them.
   *
   * @throws {@link KeysUnavailableError} when it can decrypt none
   */
  private async open(
    keys: readonly StoredKey[],
    now: number,
  ): Promise<{ entries: RingEntry<K>[]; sealed: Set<string> }> {
    const entries: RingEntry<K>[] = [];
    const sealed = new Set<string>();
    let failure: KeysUnavailableError | undefined;
    for (const stored of keys) {
      const known = this.entries.find((entry) => entry.stored.kid === stored.kid);
      try {
        entries.push({ stored, key: known?.key ?? (await this.load(stored)) });
      } catch (error) {
        failure = error instanceof KeysUnavailableError ? error : this.damaged(stored);
        sealed.add(this.settings.nameOf(stored));
      }
    }
    if (entries.length === 0 && failure) throw failure;
    if (failure) this.sealedTrouble.failed(failure, now);
    else this.sealedTrouble.worked(now);
    return { entries, sealed };
  }

  /** Without the cause: errors of JSON.parse() quote the key. */
  private damaged({ kid }: StoredKey): KeysUnavailableError {
    return new KeysUnavailableError(
      `The ${this.settings.purpose} key "${kid}" in the database is damaged. Restore its row from a backup, or delete it: its tokens are then refused.`,
    );
  }

  private async load(stored: StoredKey): Promise<K> {
    const { key, resealed } = await this.settings.load(stored);
    if (resealed !== undefined) await this.reseal(stored, resealed);
    return key;
  }

  /** Stores a key under the newest secret. If this fails, the key stays usable as it is, and the next start tries again. */
  private async reseal(stored: StoredKey, material: string): Promise<void> {
    try {
      await this.store.replaceMaterial(stored, material);
    } catch (error) {
      logger.warn(`The key "${stored.kid}" could not be stored under the newest secret.`, error);
    }
  }

  /** The time from which the next key signs, if that key must be made now. */
  private timeOfNext(newest: StoredKey | undefined, now: number): number | undefined {
    if (newest === undefined) return now;
    const due = newest.activeAt + this.settings.rotation;
    return now >= due - this.publishAhead ? Math.max(due, now + this.publishAhead) : undefined;
  }
}
