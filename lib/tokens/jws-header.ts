import type { VerificationKey } from '../keys/signing-key.js';

/** The `typ` of access tokens (RFC 9068, 2.1). It tells them from other tokens under the same keys (RFC 8725, 3.11). */
export const TOKEN_TYPE = 'at+jwt';

/** The `typ` of lists of revocations. */
export const REVOCATIONS_TYPE = 'session-revocations+jwt';

/** The header of all access tokens that a key signs, or of all of its signatures of another type. */
export function headerOf({ algorithm, kid }: Pick<VerificationKey, 'algorithm' | 'kid'>, typ = TOKEN_TYPE) {
  return { alg: algorithm, kid, typ };
}

const encodedHeaders = new WeakMap<object, string>();

/** The encoded header of all access tokens that a key signs. No other encoding is accepted. */
export function encodedHeaderOf(key: Pick<VerificationKey, 'algorithm' | 'kid'>): string {
  const known = encodedHeaders.get(key);
  if (known !== undefined) return known;
  const encoded = encodeHeader(key);
  encodedHeaders.set(key, encoded);
  return encoded;
}

/** The header of a key's signatures of a type, encoded. @param typ that of access tokens by default */
export function encodeHeader(key: Pick<VerificationKey, 'algorithm' | 'kid'>, typ?: string): string {
  return Buffer.from(JSON.stringify(headerOf(key, typ))).toString('base64url');
}

/** The `kid` in an encoded header, or `undefined` when there is none. It only selects a key; it proves nothing. */
export function kidOf(encodedHeader: string): string | undefined {
  const { kid } = decode(encodedHeader);
  return typeof kid === 'string' ? kid : undefined;
}

/** Whether an encoded header is that of an access token, by whatever key. */
export function isTokenHeader(encodedHeader: string): boolean {
  const { typ, kid } = decode(encodedHeader);
  return typ === TOKEN_TYPE && typeof kid === 'string';
}

function decode(encodedHeader: string): { readonly kid?: unknown; readonly typ?: unknown } {
  try {
    const header: unknown = JSON.parse(Buffer.from(encodedHeader, 'base64url').toString());
    return typeof header === 'object' && header !== null ? header : {};
  } catch {
    return {};
  }
}
