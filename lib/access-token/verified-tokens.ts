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
  private younger = new Map<string, VerifiedToken>();
  private older = new Map<string, VerifiedToken>();
  private readonly generationSize: number;

  /** @param size how many tokens are remembered at most; 0 for none */
  constructor(size: number) {
    this.generationSize = Math.floor(size / 2);
  }

  get size(): number {
    return this.younger.size + this.older.size;
  }

  find(token: string): VerifiedToken | undefined {
    // The signature alone is a shorter key to hash than the whole token, which then has to be the same all the same.
    const signature = token.slice(token.lastIndexOf('.') + 1);
    const found = this.younger.get(signature) ?? this.rejuvenate(signature);
    return found?.token === token ? found : undefined;
  }

  add(token: string, key: VerificationKey, accessToken: AccessToken): void {
    if (this.generationSize === 0) return;
    // A part of a cookie header would keep the whole header in memory.
    const copy = Buffer.from(token, 'latin1').toString('latin1');
    this.insert(copy.slice(copy.lastIndexOf('.') + 1), { token: copy, key, accessToken });
  }

  remove(token: string): void {
    const signature = token.slice(token.lastIndexOf('.') + 1);
    this.younger.delete(signature);
    this.older.delete(signature);
  }

  private rejuvenate(signature: string): VerifiedToken | undefined {
    const found = this.older.get(signature);
    if (found) {
      this.older.delete(signature);
      // Its own spelling: that of the caller is part of a request.
      this.insert(found.token.slice(found.token.lastIndexOf('.') + 1), found);
    }
    return found;
  }

  private insert(signature: string, entry: VerifiedToken): void {
    if (this.younger.size >= this.generationSize) {
      this.older = this.younger;
      this.younger = new Map();
    }
    this.younger.set(signature, entry);
  }
}
