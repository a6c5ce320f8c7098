import type { JWK } from 'jose';
import type { KeyState } from '../diagnostics/channels.js';
import type { DroppedKeys, KeyRotation } from './key-ring.js';
import type { LastingKeys, SigningKey, VerificationKeys } from './signing-key.js';

/** The keys of access tokens: the module's or the application's. */
export interface SigningKeys extends VerificationKeys, LastingKeys {
  start(now: number): Promise<void>;
  /** The key that signs now. */
  current(now: number): Promise<SigningKey>;
  /** The public halves of all keys, for services that verify but cannot sign. */
  publicKeys(now: number): Promise<PublicKeys>;
  /**
   * Makes another key sign at once, and drops keys.
   *
   * @throws {@link SigningKeyNotFoundError}
   * @throws {@link InvalidOptionError} when the application provides the keys
   */
  rotate(now: number, drop?: DroppedKeys): Promise<KeyRotation>;
  removeRetired(now: number): Promise<void>;
  /** How the reads of the keys have gone, and the age of the key that signs now. */
  state(now: number): KeyState;
}

export interface PublicKeys {
  readonly keys: readonly JWK[];
  /** How long they may be cached, in milliseconds. A new key is published for a longer time before it signs. */
  readonly maxAge: number;
}
