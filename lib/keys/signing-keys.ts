import type { JWK } from 'jose';
import type { DroppedKeys, KeyRotation } from './key-ring.js';
import type { SigningKey, VerificationKeys } from './signing-key.js';

/** The keys of access tokens, wherever they come from. */
export interface SigningKeys extends VerificationKeys {
  start(now: number): Promise<void>;
  /** The key that signs now. */
  current(now: number): Promise<SigningKey>;
  /** The public halves of all keys, for those who verify without being able to sign. */
  publicKeys(now: number): Promise<PublicKeys>;
  /**
   * Makes another key sign at once, and drops keys.
   *
   * @throws {@link SigningKeyNotFoundError} | {@link InvalidOptionError} when the keys are not this module's
   */
  rotate(now: number, drop?: DroppedKeys): Promise<KeyRotation>;
  removeRetired(now: number): Promise<void>;
}

export interface PublicKeys {
  readonly keys: readonly JWK[];
  /** How long they may be cached, in milliseconds; a new key is published for longer before it signs. */
  readonly maxAge: number;
}
