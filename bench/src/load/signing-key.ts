import { exportJWK, generateKeyPair, generateSecret, type JWK } from 'jose';

export type Algorithm = 'HS256' | 'EdDSA';

/** A new private or symmetric key, as the environment variable `SIGNING_JWK` of the servers has it. */
export async function makeKey(algorithm: Algorithm): Promise<JWK> {
  const key =
    algorithm === 'HS256'
      ? await generateSecret(algorithm, { extractable: true })
      : (await generateKeyPair(algorithm, { extractable: true })).privateKey;
  return { ...(await exportJWK(key)), alg: algorithm, kid: 'bench' };
}
