import { Logger } from '@nestjs/common';
import { createRemoteJWKSet } from 'jose';
import { KeysUnavailableError } from '../errors/session.errors.js';
import { type KeyImport, KeyList } from './key-list.js';
import type { VerificationKey, VerificationKeys } from './signing-key.js';

/** Where the public keys are, and how often to look. Times in milliseconds. */
export interface RemoteKeysOptions {
  readonly jwksUri: URL;
  /** Age at which the keys are fetched again, when requests come. */
  readonly cacheMaxAge: number;
  /** Unknown keys cause at most one fetch in this time, and so does a server that does not answer. */
  readonly cooldown: number;
  /** How long a fetch may take. */
  readonly timeout: number;
}

/** Keys that another service publishes (RFC 7517). While they cannot be fetched, those known stay in use. */
export class RemoteKeys implements VerificationKeys {
  private readonly logger = new Logger(RemoteKeys.name);
  private readonly list: KeyList;

  constructor(options: RemoteKeysOptions) {
    const { jwksUri, cacheMaxAge, cooldown, timeout } = options;
    // When to fetch is decided here, so that a server that is down is not asked once per request.
    const remote = createRemoteJWKSet(jwksUri, { timeoutDuration: timeout });
    const times = { interval: cacheMaxAge, maxAge: Number.POSITIVE_INFINITY, cooldown };
    this.list = new KeyList(
      async (importKey) => {
        try {
          await remote.reload();
        } catch (error) {
          throw new KeysUnavailableError(`The keys at ${jwksUri.href} could not be fetched.`, {
            cause: error,
          });
        }
        return usableKeys(remote.jwks()?.keys ?? [], importKey);
      },
      times,
      (error) => this.logger.error('The public keys could not be fetched; those known stay in use.', error),
    );
  }

  /** Fetches the keys, so that the first request need not wait. The service starts without them, too. */
  async start(now: number): Promise<void> {
    try {
      await this.list.reload(now);
    } catch (error) {
      this.logger.warn(
        'The public keys could not be fetched yet; until then requests are answered 503.',
        error,
      );
    }
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
}

/** Keys of other kinds may be in the set, for other purposes. A symmetric one must not be used, wherever it comes from. */
async function usableKeys(
  jwks: readonly Parameters<KeyImport>[0][],
  importKey: KeyImport,
): Promise<VerificationKey[]> {
  const keys = await Promise.all(jwks.map((jwk) => importKey(jwk).catch(() => undefined)));
  return keys.filter((key): key is VerificationKey => key?.publicJwk !== undefined);
}
