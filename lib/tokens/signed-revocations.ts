import { KeysUnavailableError } from '../errors/session.errors.js';
import type { VerificationKeys } from '../keys/signing-key.js';
import type { SigningKeys } from '../keys/signing-keys.js';
import {
  decodeRevocationList,
  encodeRevocationList,
  type RevocationList,
} from '../protocol/revocation-list.codec.js';
import { encodeHeader, kidOf, REVOCATIONS_TYPE } from './jws-header.js';
import { isSignedWith, signAsymmetrically } from './jws.js';

/** @throws {@link KeysUnavailableError} when the key that signs now has no public half */
export async function signRevocations(keys: SigningKeys, list: RevocationList, now: number): Promise<string> {
  const key = await keys.current(now);
  if (key.algorithm === 'HS256')
    throw new KeysUnavailableError('Nobody can verify a list of revocations that an HS256 key signs.');
  return signAsymmetrically(key, encodeRevocationList(list), REVOCATIONS_TYPE);
}

/**
 * @param token a list in compact serialization
 * @returns `undefined` when none of the keys has signed it as a list of revocations
 * @throws {@link KeysUnavailableError} when its key cannot be looked up
 */
export async function verifyRevocations(
  keys: VerificationKeys,
  token: string,
  now: number,
): Promise<RevocationList | undefined> {
  const [header = '', payload = ''] = token.split('.', 2);
  const kid = kidOf(header);
  const key = kid === undefined ? undefined : (keys.find(kid) ?? (await keys.lookUp(kid, now)));
  if (!key || header !== encodeHeader(key, REVOCATIONS_TYPE)) return undefined;
  if (!(await isSignedWith(key, token)) || !(await keys.isInUse(key, now))) return undefined;
  return decodeRevocationList(Buffer.from(payload, 'base64url').toString());
}
