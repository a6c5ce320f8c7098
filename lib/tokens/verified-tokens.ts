import type { VerificationKey } from '../keys/signing-key.js';
import type { AccessToken } from '../protocol/access-token.js';

/** A token whose signature has been verified with a key. */
export interface VerifiedToken {
  readonly token: string;
  readonly key: VerificationKey;
  readonly accessToken: AccessToken;
}

interface Entry extends VerifiedToken {
  /** Whether a request has used the token since the hand was last here. */
  isUsed: boolean;
}

/** The largest number of used tokens that the hand skips, so that no request waits for a whole round. */
const MAX_PASSED = 1_000;

/**
 * A cache of tokens whose signatures have been verified. The next request with such a token needs no cryptography. Expiry,
 * key and revocation are not cached: they are checked for each request.
 *
 * When all places are taken, a new token replaces one that has not been used for a round. This is the CLOCK or
 * "second chance" algorithm (Corbató, A Paging Experiment with the Multics System, 1968). So a flood of tokens that are each
 * used once replaces other such tokens, not the tokens in regular use. The cache never has more tokens than places.
 */
export class VerifiedTokens {
  private readonly entries = new Map<number, Entry>();
  /** All entries by place. Some of them have been removed or replaced since. */
  private readonly places: Entry[] = [];
  private hand = 0;

  /** @param capacity the largest number of tokens; 0 turns the cache off */
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
    // Without a copy, this part of the cookie header would keep the whole header in memory.
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
    // The hand takes this place when it next comes here.
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
 * A number from the last characters of the signature, which are as good as random. The number is the key of the map. With a
 * text as key, V8 would have to cut it out and hash it, which takes longer than everything else here. Two tokens rarely have
 * the same number; if they do, each replaces the other.
 */
function numberOf(token: string): number {
  let number = 0;
  for (let at = Math.max(0, token.length - LENGTH_READ); at < token.length; at++) {
    number = (Math.imul(number, 31) + token.charCodeAt(at)) | 0;
  }
  return number;
}
