import type { VerificationKey } from '../keys/signing-key.js';

/** The `typ` of access tokens (RFC 9068, 2.1), which keeps other tokens under the same keys apart (RFC 8725, 3.11). */
export const TOKEN_TYPE = 'at+jwt';

/** The header of every token that a key signs. */
export function headerOf({ algorithm, kid }: Pick<VerificationKey, 'algorithm' | 'kid'>) {
  return { alg: algorithm, kid, typ: TOKEN_TYPE };
}

const encodedHeaders = new WeakMap<object, string>();

/** The same as it stands in the token: its only spelling. */
export function encodedHeaderOf(key: Pick<VerificationKey, 'algorithm' | 'kid'>): string {
  const known = encodedHeaders.get(key);
  if (known !== undefined) return known;
  const encoded = Buffer.from(JSON.stringify(headerOf(key))).toString('base64url');
  encodedHeaders.set(key, encoded);
  return encoded;
}

/** The `kid` that an encoded header names, which is nothing but a hint, or `undefined` when it names none. */
export function kidOf(encodedHeader: string): string | undefined {
  try {
    const header: unknown = JSON.parse(Buffer.from(encodedHeader, 'base64url').toString());
    const { kid } = (header ?? {}) as { kid?: unknown };
    return typeof kid === 'string' ? kid : undefined;
  } catch {
    return undefined;
  }
}
