import type { JWK } from 'jose';
import { fetchText } from '../util/fetch-text.js';

/** More than any real set of keys has, in bytes: 100 keys of 4,096-bit RSA are about 80 kB. */
const LONGEST_BODY = 256 * 1_024;

/**
 * Fetches a JSON Web Key Set (RFC 7517, 5).
 *
 * @param timeout for all of the response, in milliseconds
 * @throws Error that says what is wrong with the response
 */
export async function fetchKeySet(uri: URL, timeout: number): Promise<JWK[]> {
  const headers = { accept: 'application/jwk-set+json, application/json' };
  const { text } = await fetchText(uri, { headers, timeout, longest: LONGEST_BODY });
  const set = parse(text);
  if (!isKeySet(set)) throw new Error('The response is not a JSON Web Key Set: it has no list "keys".');
  return set.keys;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The message of this error quotes the response.
    throw new Error('The response is not JSON.');
  }
}

function isKeySet(value: unknown): value is { readonly keys: JWK[] } {
  const keys = isObject(value) ? value['keys'] : undefined;
  return Array.isArray(keys) && keys.every(isObject);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
