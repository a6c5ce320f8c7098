import type { JWK } from 'jose';
import type { KeyState } from '../diagnostics/channels.js';
import { InvalidOptionError, KeysUnavailableError } from '../errors/session.errors.js';
import type { KeyRotation } from './key-ring.js';
import { type KeyImport, KeyList } from './key-list.js';
import {
  asSigningKey,
  publicJwks,
  type SigningKey,
  type SigningKeySource,
  type VerificationKey,
} from './signing-key.js';
import { Trouble } from '../util/trouble.js';
import type { PublicKeys, SigningKeys } from './signing-keys.js';

const MAX_AGE = 5 * 60_000;
const COOLDOWN = 10_000;
const PUBLIC_MAX_AGE = 60_000;

/** Keys that the application provides. */
export class ProvidedSigningKeys implements SigningKeys {
  private readonly list: KeyList;

  /** @param patience how long a request waits for the source if it can do with the keys that are known, in milliseconds */
  constructor(source: SigningKeySource, patience = 1_000) {
    const times = { interval: MAX_AGE, maxAge: MAX_AGE, cooldown: COOLDOWN, patience };
    const trouble = new Trouble({
      begins: "The application's signing keys could not be loaded; those known stay in use.",
      ends: "The application's signing keys can be loaded again.",
    });
    this.list = new KeyList((importKey) => load(source, importKey), times, {
      // Without the cause: it comes from the application, and may contain a secret of a key vault.
      failed: (error, now) => trouble.failed((error as Error).message, now),
      worked: (now) => trouble.worked(now),
    });
  }

  async start(now: number): Promise<void> {
    await this.list.reload(now);
  }

  async current(now: number): Promise<SigningKey> {
    const [first] = await this.list.all(now);
    return asSigningKey(first!);
  }

  find(kid: string): VerificationKey | undefined {
    return this.list.find(kid);
  }

  async lookUp(kid: string, now: number): Promise<VerificationKey | undefined> {
    return this.list.lookUp(kid, now);
  }

  isInUse(key: VerificationKey, now: number): boolean | Promise<boolean> {
    return this.list.isInUse(key, now);
  }

  freshen(now: number): Promise<void> | undefined {
    return this.list.freshen(now);
  }

  get dueAt(): number {
    return this.list.dueAt;
  }

  /** Why the application has removed a key is not known. */
  isDropped(): boolean {
    return false;
  }

  async publicKeys(now: number): Promise<PublicKeys> {
    return { keys: publicJwks(await this.list.all(now)), maxAge: PUBLIC_MAX_AGE };
  }

  async rotate(): Promise<KeyRotation> {
    throw new InvalidOptionError(
      'signingKeys.source',
      'gives the keys, so that it is the one to rotate and to drop them.',
    );
  }

  /** When the application has begun to use its key is not known. */
  state(): KeyState {
    const { counts: reads, size: known } = this.list;
    return { purpose: 'access', reads, age: undefined, overdue: 0, known };
  }

  async removeRetired(): Promise<void> {
    // The application removes its keys itself.
  }
}

async function load(source: SigningKeySource, importKey: KeyImport): Promise<VerificationKey[]> {
  let jwks: unknown;
  try {
    jwks = await source();
  } catch (error) {
    // The message of this error comes from the application. It may contain a secret of a key vault.
    throw new KeysUnavailableError("The application's signingKeys.source failed.", { cause: error });
  }
  try {
    return await usableKeys(jwks, importKey);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new KeysUnavailableError(`The application's signingKeys.source gave no usable keys: ${why}`, {
      cause: error,
    });
  }
}

async function usableKeys(jwks: unknown, importKey: KeyImport): Promise<VerificationKey[]> {
  if (!Array.isArray(jwks)) throw new Error('It must give a list of JSON Web Keys.');
  const keys = await Promise.all((jwks as JWK[]).map(importKey));
  if (keys.length === 0) throw new Error('It gave no key.');
  asSigningKey(keys[0]!);
  if (new Set(keys.map(({ kid }) => kid)).size !== keys.length) {
    throw new Error('Two keys have the same "kid".');
  }
  return keys;
}
