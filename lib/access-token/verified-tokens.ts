import type { VerificationKey } from '../keys/signing-key.js';
import type { AccessToken } from './access-token.js';

/** A token whose signature has been verified with a key. */
export interface VerifiedToken {
  readonly token: string;
  readonly key: VerificationKey;
  readonly accessToken: AccessToken;
}

/**
 * Remembers tokens whose signatures have been verified, so that their next requests need no cryptography. What is
 * remembered is only that: whether the token has expired, its key been dropped or its session been revoked is asked each
 * time.
 *
 * Two generations bound it: when the younger one is full it becomes the older one, whose entries go unless they are used
 * in the meantime. A flood of tokens, each seen once, therefore pushes out other such tokens, not the ones in use.
 */
export class VerifiedTokens {
  private younger = new Map<number, VerifiedToken>();
  private older = new Map<number, VerifiedToken>();
  private readonly generationSize: number;

  /** @param size how many tokens are remembered at most; 0 for none */
  constructor(size: number) {
    this.generationSize = Math.floor(size / 2);
  }

  get size(): number {
    return this.younger.size + this.older.size;
  }

  find(token: string): VerifiedToken | undefined {
    const key = keyOf(token);
    const found = this.younger.get(key) ?? this.rejuvenate(key);
    return found?.token === token ? found : undefined;
  }

  add(token: string, key: VerificationKey, accessToken: AccessToken): void {
    if (this.generationSize === 0) return;
    // A part of a cookie header would keep the whole header in memory.
    const copy = Buffer.from(token, 'latin1').toString('latin1');
    this.insert(keyOf(copy), { token: copy, key, accessToken });
  }

  remove(token: string): void {
    const key = keyOf(token);
    for (const generation of [this.younger, this.older]) {
      if (generation.get(key)?.token === token) generation.delete(key);
    }
  }

  private rejuvenate(key: number): VerifiedToken | undefined {
    const found = this.older.get(key);
    if (found) {
      this.older.delete(key);
      this.insert(key, found);
    }
    return found;
  }

  private insert(key: number, entry: VerifiedToken): void {
    if (this.younger.size >= this.generationSize) {
      this.older = this.younger;
      this.younger = new Map();
    }
    this.younger.set(key, entry);
  }
}

const KEY_LENGTH = 8;

/**
 * A number from the end of the signature, which is as good as random. Texts would have to be cut out and hashed first, which
 * takes longer than all the rest. Two tokens with the same number, rare as they are, push each other out.
 */
function keyOf(token: string): number {
  let key = 0;
  for (let at = Math.max(0, token.length - KEY_LENGTH); at < token.length; at++) {
    key = (Math.imul(key, 31) + token.charCodeAt(at)) | 0;
  }
  return key;
}
