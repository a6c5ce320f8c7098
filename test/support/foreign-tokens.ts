/** Bearer tokens that somebody else has issued: a platform in front of the application, another service. */

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const jws = (header: object, payload: unknown) => `${part(header)}.${part(payload)}.${'s'.repeat(86)}`;

const GOOGLE = { iss: 'https://accounts.google.com', aud: 'service', sub: '1', iat: 1, exp: 4_000_000_000 };

export const foreignTokens: [string, string][] = [
  ['an opaque token', 'of-another-system'],
  ['an empty token', ''],
  ['dots', '..'],
  ['a platform’s identity token', jws({ alg: 'RS256', kid: 'f1a2', typ: 'JWT' }, GOOGLE)],
  ['a token without a type', jws({ alg: 'ES256', kid: 'f1a2' }, GOOGLE)],
  ['an access token of another issuer (RFC 9068)', jws({ alg: 'RS256', kid: 'f1a2', typ: 'at+jwt' }, GOOGLE)],
  ['an encrypted token', `${part({ alg: 'dir', enc: 'A256GCM' })}..iv.text.tag`],
  ['a header that is no JSON', `bm90IEpTT04.${part(GOOGLE)}.s`],
  ['a payload that is no JSON', `${part({ alg: 'RS256', kid: 'f1a2', typ: 'at+jwt' })}.bm90IEpTT04.s`],
  ['a token of any length', jws({ alg: 'RS256', kid: 'f1a2', typ: 'at+jwt' }, { text: 'x'.repeat(7_000) })],
];
