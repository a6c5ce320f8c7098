import { hkdfSync } from 'node:crypto';
import { CompactEncrypt, compactDecrypt } from 'jose';
import { KeysUnavailableError } from '../errors/session.errors.js';

/** The key that a sealed text belongs to. The text cannot be opened for another key, so that rows cannot be swapped. */
export interface SealContext {
  readonly kid: string;
  readonly purpose: string;
}

/** A decrypted text. */
export interface OpenedText {
  readonly text: string;
  /** The text, encrypted with the newest secret. Present if it was encrypted with another secret, or not at all. */
  readonly resealed: string | undefined;
}

/**
 * Encrypts key material at rest, as a JWE (RFC 7516) with AES-256-GCM. HKDF-SHA-256 (RFC 5869) derives the encryption key
 * from the application's secret, and from the name of the deployment if it has one. Without a secret, material is not
 * encrypted.
 */
export class KeySealer {
  private readonly keys: readonly Uint8Array[];

  /**
   * @param secrets newest first. The first one encrypts; all of them decrypt
   * @param deployment decrypts only what was encrypted under this name, or before there was a name
   */
  constructor(secrets: readonly string[], deployment?: string) {
    const named = deployment === undefined ? [] : secrets.map((secret) => deriveKey(secret, deployment));
    this.keys = [...named, ...secrets.map((secret) => deriveKey(secret))];
  }

  async seal(text: string, { kid, purpose }: SealContext): Promise<string> {
    const [key] = this.keys;
    if (!key) return text;
    return new CompactEncrypt(new TextEncoder().encode(text))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid, purpose })
      .encrypt(key);
  }

  /** @throws {@link KeysUnavailableError} when none of the secrets decrypts it; the stored key is not changed */
  async open(sealed: string, context: SealContext): Promise<OpenedText> {
    // JSON begins with a brace; a compact JWE never does. So material that was stored without a secret stays readable.
    if (sealed.startsWith('{')) return this.opened(sealed, this.keys.length === 0, context);
    for (const key of this.keys) {
      try {
        const options = { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] };
        const { plaintext, protectedHeader } = await compactDecrypt(sealed, key, options);
        if (protectedHeader.kid !== context.kid || protectedHeader['purpose'] !== context.purpose) break;
        return await this.opened(new TextDecoder().decode(plaintext), key === this.keys[0], context);
      } catch {
        // encrypted with another secret, or damaged: the error below is for both
      }
    }
    throw new KeysUnavailableError(
      this.keys.length === 0
        ? 'The session keys in the database are encrypted, and no "secret" is set. Set the secret they were stored with.'
        : 'No "secret" opens the session keys in the database. Give the secret they were stored with as well, after the new one. If the database is a copy of another "deployment", empty the table of keys: this one makes its own.',
    );
  }

  private async opened(text: string, isCurrent: boolean, context: SealContext): Promise<OpenedText> {
    return { text, resealed: isCurrent ? undefined : await this.seal(text, context) };
  }
}

function deriveKey(secret: string, deployment?: string): Uint8Array {
  const use = 'nestjs-session-tokens key encryption v1';
  const info = deployment === undefined ? use : `${use} ${JSON.stringify(deployment)}`;
  return new Uint8Array(hkdfSync('sha256', secret, '', info, 32));
}
