import { randomBytes } from 'node:crypto';
import type { CryptoKey, JWK } from 'jose';
import { KeysUnavailableError } from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { KeyStore } from '../storage/key.store.js';
import { KeyRing } from './key-ring.js';
import type { KeySealer } from './key-sealer.js';
import { Reloader } from './reloader.js';
import { generateJwk, importSigningKey, type SigningKey, type SigningKeySource } from './signing-key.js';

/** The keys of access tokens, wherever they come from. */
export interface SigningKeys {
  start(now: number): Promise<void>;
  /** The key that signs now. */
  current(now: number): Promise<SigningKey & { signKey: CryptoKey }>;
  /** The key of this name. Not a promise where the answer is known: most tokens are verified on that path. */
  forVerification(kid: string, now: number): SigningKey | undefined | Promise<SigningKey | undefined>;
  removeRetired(now: number): Promise<void>;
}

/** Keys that the module makes, rotates, and shares through the database. */
export class ManagedSigningKeys implements SigningKeys {
  private readonly ring: KeyRing<SigningKey & { signKey: CryptoKey }>;

  constructor(store: KeyStore, sealer: KeySealer, options: ResolvedOptions) {
    const purpose = 'access';
    this.ring = new KeyRing(store, {
      purpose,
      rotation: options.signingKeys.rotation,
      lifetime: options.accessToken.ttl,
      nameOf: ({ kid }) => kid,
      generate: async () => {
        const { algorithm } = options.accessToken;
        const kid = randomBytes(12).toString('base64url');
        const jwk = JSON.stringify(await generateJwk(algorithm));
        return { kid, algorithm, material: await sealer.seal(jwk, { kid, purpose }) };
      },
      load: async ({ kid, algorithm, material }) => {
        const jwk = JSON.parse(await sealer.open(material, { kid, purpose })) as object;
        return canSign(await importSigningKey({ ...jwk, kid, alg: algorithm }));
      },
    });
  }

  async start(now: number): Promise<void> {
    await this.ring.reload(now);
  }

  async current(now: number): Promise<SigningKey & { signKey: CryptoKey }> {
    return this.ring.current(now);
  }

  forVerification(kid: string, now: number): SigningKey | undefined | Promise<SigningKey | undefined> {
    return this.ring.find(kid) ?? this.lookUp(kid, now);
  }

  async removeRetired(now: number): Promise<void> {
    await this.ring.removeRetired(now);
  }

  private async lookUp(kid: string, now: number): Promise<SigningKey | undefined> {
    const found = await this.ring.findAfterReload(kid, now);
    return typeof found === 'string' ? undefined : found;
  }
}

const MAX_AGE = 5 * 60_000;
const COOLDOWN = 10_000;

/** Keys that the application gives. */
export class ProvidedSigningKeys implements SigningKeys {
  private keys: readonly SigningKey[] = [];
  private readonly reloader = new Reloader(() => this.load(), MAX_AGE, COOLDOWN);

  constructor(private readonly source: SigningKeySource) {}

  async start(now: number): Promise<void> {
    await this.reloader.reload(now);
  }

  async current(now: number): Promise<SigningKey & { signKey: CryptoKey }> {
    await this.reloader.ensureFresh(now);
    return canSign(this.keys[0]!);
  }

  forVerification(kid: string, now: number): SigningKey | undefined | Promise<SigningKey | undefined> {
    const known = this.find(kid);
    return known && this.reloader.isFresh(now) ? known : this.lookUp(kid, now, known);
  }

  async removeRetired(): Promise<void> {
    // The application's keys are its own.
  }

  /** A key that the application has taken away must go; but while its source fails, the known keys do. */
  private async lookUp(
    kid: string,
    now: number,
    known: SigningKey | undefined,
  ): Promise<SigningKey | undefined> {
    try {
      await this.reloader.reloadOnDoubt(now);
    } catch (error) {
      if (!known) throw error;
    }
    return this.find(kid);
  }

  private find(kid: string): SigningKey | undefined {
    return this.keys.find((key) => key.kid === kid);
  }

  private async load(): Promise<void> {
    try {
      const jwks: unknown = await this.source();
      if (!Array.isArray(jwks)) throw new Error('It must give a list of JSON Web Keys.');
      const keys = await Promise.all((jwks as JWK[]).map(importSigningKey));
      if (keys.length === 0) throw new Error('It gave no key.');
      canSign(keys[0]!);
      if (new Set(keys.map(({ kid }) => kid)).size !== keys.length)
        throw new Error('Two keys have the same "kid".');
      this.keys = keys;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new KeysUnavailableError(`The application's signingKeys.source gave no usable keys: ${why}`, {
        cause: error,
      });
    }
  }
}

function canSign(key: SigningKey): SigningKey & { signKey: CryptoKey } {
  if (!key.signKey) throw new KeysUnavailableError(`The signing key "${key.kid}" has no private part.`);
  return key as SigningKey & { signKey: CryptoKey };
}
