import type { JWK } from 'jose';

/** More than any real set of keys has: 100 keys of 4,096-bit RSA are about 80 kB. */
const LONGEST_BODY = 256 * 1_024;

/**
 * Fetches a JSON Web Key Set (RFC 7517, 5). The server may be broken, or somebody else's by now: so it is not followed
 * elsewhere, and it can take neither much memory nor much time.
 *
 * @param timeout for all of the response, in milliseconds
 * @throws Error that says what is wrong with the response
 */
export async function fetchKeySet(uri: URL, timeout: number): Promise<JWK[]> {
  const signal = AbortSignal.timeout(timeout);
  let text: string;
  try {
    const headers = { accept: 'application/jwk-set+json, application/json' };
    const response = await fetch(uri, { headers, redirect: 'manual', signal });
    text = await bodyOf(response);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new Error(`The response was not complete within ${timeout} ms.`, { cause: error });
  }
  const set = parse(text);
  if (!isKeySet(set)) throw new Error('The response is not a JSON Web Key Set: it has no list "keys".');
  return set.keys;
}

/** Counts the bytes after decompression, so that few compressed bytes cannot become many. */
async function bodyOf(response: Response): Promise<string> {
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`The response has the status ${response.status} in place of 200.`);
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  // Leaving the loop by an error closes the connection.
  for await (const chunk of response.body ?? []) {
    length += chunk.byteLength;
    if (length > LONGEST_BODY) throw new Error(`The response is longer than ${LONGEST_BODY} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
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
