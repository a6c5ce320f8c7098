import type { VerificationKey } from '../keys/signing-key.js';
import type { AccessToken } from '../protocol/access-token.js';

/** A token whose signature has been verified with a key. */
export interface VerifiedToken {
  readonly token: string;
  readonly key: VerificationKey;
  readonly accessToken: AccessToken;
}

interface Entry extends VerifiedToken {
  /** Whether it has been found since the hand was last here. */
  isUsed: boolean;
}

/** How many tokens in use the hand passes by at most, so that no request waits for a whole round. */
const MAX_PASSED = 1_000;

/**
 * Remembers tokens whose signatures have been verified, so that their next requests need no cryptography. What is
 * remembered is only that: whether the token has expired, its key been dropped or its session been revoked is asked each
 * time.
 *
 * When all places are taken, a new token gets that of one that has not been used for a round (the CLOCK algorithm, or
 * "second chance": Corbató, A Paging Experiment with the Multics System, 1968). A flood of tokens, each seen once, therefore
 * pushes out other such tokens, not the ones in use; and as many as there are places stay for good.
 */
export class VerifiedTokens {
  private readonly entries = new Map<number, Entry>();
  /** All entries by their places, and some that have been removed or replaced since. */
  private readonly places: Entry[] = [];
  private hand = 0;

  /** @param capacity how many tokens are remembered at most; 0 for none */
  constructor(private readonly capacity: number) {}

  get size(): number {
    return this.entries.size;
  }

  find(token: string): VerifiedToken | undefined {
    const found = this.entries.get(numberOf(token));
    if (found?.token !== token) return undefined;
    found.isUsed = true;
    return found;
  }

  add(token: string, key: VerificationKey, accessToken: AccessToken): void {
    if (this.capacity === 0) return;
    // A part of a cookie header would keep the whole header in memory.
    const copy = Buffer.from(token, 'latin1').toString('latin1');
    const entry = { token: copy, key, accessToken, isUsed: false };
    this.places[this.freePlace()] = entry;
    this.entries.set(numberOf(copy), entry);
  }

  remove(token: string): void {
    const number = numberOf(token);
    const entry = this.entries.get(number);
    if (entry?.token !== token) return;
    this.entries.delete(number);
    // Its place is the next to be taken that the hand comes to.
    entry.isUsed = false;
  }

  private freePlace(): number {
    if (this.places.length < this.capacity) return this.places.length;
    for (let passed = 0; ; passed++) {
      const place = this.hand;
      const entry = this.places[place]!;
      this.hand = (place + 1) % this.capacity;
      if (!entry.isUsed || passed === MAX_PASSED) {
        const number = numberOf(entry.token);
        if (this.entries.get(number) === entry) this.entries.delete(number);
        return place;
      }
      entry.isUsed = false;
    }
  }
}

const LENGTH_READ = 8;

/**
 * A number from the end of the signature, which is as good as random. Texts would have to be cut out and hashed first, which
 * takes longer than all the rest. Two tokens with the same number, rare as they are, push each other out.
 */
function numberOf(token: string): number {
  let number = 0;
  for (let at = Math.max(0, token.length - LENGTH_READ); at < token.length; at++) {
    number = (Math.imul(number, 31) + token.charCodeAt(at)) | 0;
  }
  return number;
}
