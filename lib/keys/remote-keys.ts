import type { KeyState } from '../diagnostics/channels.js';
import { KeysUnavailableError } from '../errors/session.errors.js';
import { fetchKeySet } from './fetch-key-set.js';
import { type KeyImport, KeyList } from './key-list.js';
import { Trouble } from '../util/trouble.js';
import type { LastingKeys, VerificationKey, VerificationKeys } from './signing-key.js';

/** Where the public keys are, and how often they are fetched. Times in milliseconds. */
export interface RemoteKeysOptions {
  readonly jwksUri: URL;
  /** The age at which the next request fetches the keys again. */
  readonly cacheMaxAge: number;
  /** The shortest time between two fetches for unknown keys, and after a fetch that failed. */
  readonly cooldown: number;
  /** How long a fetch may take, until all of the response is there. */
  readonly timeout: number;
  /** How long a request waits for a fetch if it can do with the keys that are known. */
  readonly patience: number;
}

/** Keys that another service publishes (RFC 7517). While they cannot be fetched, the known keys stay in use. */
export class RemoteKeys implements VerificationKeys, LastingKeys {
  private readonly trouble = new Trouble({
    begins:
      'The public keys could not be fetched; those known stay in use. While none are known, requests are answered 503.',
    ends: 'The public keys can be fetched again.',
  });
  private readonly list: KeyList;

  constructor(options: RemoteKeysOptions) {
    const { jwksUri, cacheMaxAge, cooldown, timeout, patience } = options;
    const times = { interval: cacheMaxAge, maxAge: Number.POSITIVE_INFINITY, cooldown, patience };
    this.list = new KeyList(
      async (importKey) => {
        const jwks = await fetchKeySet(jwksUri, timeout).catch((error: unknown) => {
          // Logs have this message: without the query of the address.
          const address = jwksUri.origin + jwksUri.pathname;
          throw new KeysUnavailableError(`The keys at ${address} could not be fetched.`, {
            cause: error,
          });
        });
        return usableKeys(jwks, importKey);
      },
      times,
      this.trouble,
    );
  }

  /** Fetches the keys, so that the first request need not wait. If that fails, the service starts all the same. */
  async start(now: number): Promise<void> {
    try {
      await this.list.reload(now);
    } catch (error) {
      this.trouble.failed(error, now);
    }
  }

  state(): KeyState {
    const { counts: reads, size: known } = this.list;
    return { purpose: 'public', reads, age: undefined, overdue: 0, known };
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

  /** Why the issuer has removed a key is not known. */
  isDropped(): boolean {
    return false;
  }
}

/** The usable keys of a set. It may have other kinds of keys for other purposes. A symmetric key must never be used. */
async function usableKeys(
  jwks: readonly Parameters<KeyImport>[0][],
  importKey: KeyImport,
): Promise<VerificationKey[]> {
  const keys = await Promise.all(jwks.map((jwk) => importKey(jwk).catch(() => undefined)));
  return keys.filter((key): key is VerificationKey => key?.publicJwk !== undefined);
}
