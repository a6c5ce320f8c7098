import { randomBytes } from 'node:crypto';
import type { KeyState } from '../diagnostics/channels.js';
import type { KeyStore } from '../storage/key.store.js';
import { type DroppedKeys, KeyRing, type KeyRotation, type RingChange } from './key-ring.js';
import type { KeySealer } from './key-sealer.js';
import {
  asSigningKey,
  generateJwk,
  importKey,
  publicJwks,
  type SigningAlgorithm,
  type SigningKey,
} from './signing-key.js';
import type { PublicKeys, SigningKeys } from './signing-keys.js';

const PURPOSE = 'access';
const LONGEST_PUBLIC_AGE = 60_000;

/** Times in milliseconds. */
export interface ManagedKeysSettings {
  /** The algorithm of new keys. */
  readonly algorithm: SigningAlgorithm;
  /** How long a key signs. */
  readonly rotation: number;
  /** How long a token can be accepted after it was signed. */
  readonly lifetime: number;
  /** The shortest time between two reads that look for changes by other processes. */
  readonly interval: number;
  /** See `KeyRingSettings`. */
  readonly patience?: number;
  /** See `KeyRingSettings`. */
  readonly rotated?: (change: RingChange, now: number) => void;
}

/** Keys that the module makes, rotates, and shares through the database. */
export class ManagedSigningKeys implements SigningKeys {
  private readonly ring: KeyRing<SigningKey>;

  constructor(
    store: KeyStore,
    sealer: KeySealer,
    { algorithm, rotation, lifetime, interval, patience, rotated }: ManagedKeysSettings,
  ) {
    this.ring = new KeyRing(store, {
      purpose: PURPOSE,
      rotation,
      lifetime,
      interval,
      patience,
      rotated,
      nameOf: ({ kid }) => kid,
      isOutdated: (stored) => stored.algorithm !== algorithm,
      generate: async () => {
        const kid = randomBytes(12).toString('base64url');
        const jwk = JSON.stringify(await generateJwk(algorithm));
        return { kid, algorithm, material: await sealer.seal(jwk, { kid, purpose: PURPOSE }) };
      },
      load: async ({ kid, algorithm: alg, material }) => {
        const { text, resealed } = await sealer.open(material, { kid, purpose: PURPOSE });
        const jwk = JSON.parse(text) as object;
        return { key: asSigningKey(await importKey({ ...jwk, kid, alg })), resealed };
      },
    });
  }

  async start(now: number): Promise<void> {
    await this.ring.start(now);
  }

  async current(now: number): Promise<SigningKey> {
    return this.ring.current(now);
  }

  find(kid: string): SigningKey | undefined {
    return this.ring.find(kid);
  }

  async lookUp(kid: string, now: number): Promise<SigningKey | undefined> {
    const found = await this.ring.findAfterReload(kid, now);
    return typeof found === 'string' ? undefined : found;
  }

  isInUse(key: SigningKey, now: number): boolean | Promise<boolean> {
    const freshened = this.ring.freshen(now);
    const isKnown = () => this.ring.find(key.kid) === key;
    return freshened ? freshened.then(isKnown) : isKnown();
  }

  freshen(now: number): Promise<void> | undefined {
    return this.ring.freshen(now);
  }

  get dueAt(): number {
    return this.ring.dueAt;
  }

  isDropped(kid: string): boolean {
    return this.ring.isDropped(kid);
  }

  async publicKeys(now: number): Promise<PublicKeys> {
    await this.ring.freshen(now);
    // This process may see the newest key late. Half of the time is left for that.
    const maxAge = Math.min(LONGEST_PUBLIC_AGE, this.ring.publishAhead / 2);
    return { keys: publicJwks(this.ring.all()), maxAge };
  }

  state(now: number): KeyState {
    return this.ring.state(now);
  }

  async rotate(now: number, drop?: DroppedKeys): Promise<KeyRotation> {
    return this.ring.rotate(now, drop);
  }

  async removeRetired(now: number): Promise<void> {
    await this.ring.removeRetired(now);
  }
}
