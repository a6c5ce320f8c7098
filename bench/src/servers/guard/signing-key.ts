import { importJWK, type JWK } from 'jose';

/** The key of the environment. */
export const jwk = JSON.parse(process.env['SIGNING_JWK']!) as JWK;
export const algorithm = jwk.alg!;

/** The same, imported once into a CryptoKey: `jose` would import a KeyObject or bytes anew for each token. */
export const key = await (algorithm === 'HS256'
  ? crypto.subtle.importKey(
      'raw',
      Buffer.from(jwk.k!, 'base64url'),
      { name: 'HMAC', hash: 'SHA-256' },
      false,
      ['verify'],
    )
  : importJWK({ ...jwk, d: undefined }, algorithm));
