import { createHmac, createPrivateKey, type JsonWebKey, sign } from 'node:crypto';
import type { JWK } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { generateJwk, importKey, type VerificationKey, type VerificationKeys } from '../keys/signing-key.js';
import type { SigningAlgorithm } from '../keys/signing-key.js';
import { AccessTokenVerifier } from './access-token-verifier.js';

const ALGORITHMS = ['HS256', 'ES256', 'EdDSA', 'RS256'] as const;
const NOW = Date.UTC(2030, 0, 1);
const iat = NOW / 1_000;
const CLAIMS = {
  role: 'admin',
  sub: '7',
  sid: '0190abcd-0000-7000-8000-000000000001',
  uid: 7,
  iat,
  exp: iat + 900,
};
const EXPECTED = { issuer: undefined, audience: undefined, clockTolerance: 120_000, cacheSize: 100 };
const INVALID = { status: 'invalid' };

/** The keys of a process: one key, which can be dropped. */
class Keys implements VerificationKeys {
  isDropped = false;
  wait: Promise<void> | undefined;
  lookUps = 0;

  constructor(private readonly key: VerificationKey) {}

  find(kid: string): VerificationKey | undefined {
    return kid === this.key.kid && !this.isDropped ? this.key : undefined;
  }

  async lookUp(): Promise<VerificationKey | undefined> {
    this.lookUps++;
    return undefined;
  }

  isInUse(): boolean | Promise<boolean> {
    return this.wait ? this.wait.then(() => !this.isDropped) : !this.isDropped;
  }
}

/** Signs any payload text with any header, with the right key. Only the tested part of the token is wrong. */
function signed(jwk: JWK, header: string, payload: string): string {
  const input = `${Buffer.from(header).toString('base64url')}.${Buffer.from(payload).toString('base64url')}`;
  return `${input}.${signatureOf(jwk, input)}`;
}

function signatureOf(jwk: JWK, input: string): string {
  if (jwk.alg === 'HS256') {
    return createHmac('sha256', Buffer.from(jwk.k!, 'base64url')).update(input).digest('base64url');
  }
  const key = createPrivateKey({ key: jwk as JsonWebKey, format: 'jwk' });
  const hash = jwk.alg === 'EdDSA' ? null : 'sha256';
  return sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');
}

const headerOf = (alg: string, more: object = {}) =>
  JSON.stringify({ alg, kid: 'the-key', typ: 'at+jwt', ...more });

const jwks = new Map<SigningAlgorithm, JWK>();

beforeAll(async () => {
  for (const alg of ALGORITHMS) jwks.set(alg, { ...(await generateJwk(alg)), kid: 'the-key', alg });
});

async function setUp(alg: SigningAlgorithm = 'HS256', expected: Partial<typeof EXPECTED> = {}) {
  const jwk = jwks.get(alg)!;
  const keys = new Keys(await importKey(jwk));
  const verifier = new AccessTokenVerifier(keys, { ...EXPECTED, ...expected });
  const token = signed(jwk, headerOf(alg), JSON.stringify(CLAIMS));
  return { jwk, keys, verifier, token };
}

describe.each(ALGORITHMS)('a valid token signed with %s', (alg) => {
  it('is accepted', async () => {
    const { verifier, token } = await setUp(alg);
    expect(await verifier.verify(token, NOW)).toMatchObject({
      status: 'valid',
      accessToken: { userId: 7, claims: { role: 'admin' } },
    });
  });

  it('is refused with any one character replaced by any other that JWT libraries might read', async () => {
    const { verifier, token } = await setUp(alg, { cacheSize: 0 });
    const accepted: string[] = [];
    for (let at = 0; at < token.length; at++) {
      for (const other of ['A', 'B', 'w', '-', '_', '+', '/', '=', '.', ' ', '\n', '~', 'é', '\u0000']) {
        if (token[at] === other) continue;
        const altered = token.slice(0, at) + other + token.slice(at + 1);
        if ((await verifier.verify(altered, NOW)).status !== 'invalid') accepted.push(`${at}: ${other}`);
      }
    }
    expect(accepted).toEqual([]);
  });

  it('is refused with any one bit of a character flipped, the unused ones included', async () => {
    const { verifier, token } = await setUp(alg, { cacheSize: 0 });
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const accepted: number[] = [];
    for (let at = 0; at < token.length; at++) {
      if (token[at] === '.') continue;
      const value = alphabet.indexOf(token[at]!);
      for (let bit = 0; bit < 6; bit++) {
        const altered = token.slice(0, at) + alphabet[value ^ (1 << bit)] + token.slice(at + 1);
        if ((await verifier.verify(altered, NOW)).status !== 'invalid') accepted.push(at);
      }
    }
    expect(accepted).toEqual([]);
  });

  it('is refused with anything inserted anywhere, or any one character taken out', async () => {
    const { verifier, token } = await setUp(alg, { cacheSize: 0 });
    const accepted: string[] = [];
    for (let at = 0; at <= token.length; at++) {
      for (const more of ['A', '=', '==', ' ', '\n', '\t', '.', '\u0000', '%20', '"']) {
        const altered = token.slice(0, at) + more + token.slice(at);
        if ((await verifier.verify(altered, NOW)).status !== 'invalid') accepted.push(`${at}: ${more}`);
      }
      const shorter = token.slice(0, at) + token.slice(at + 1);
      if (shorter !== token && (await verifier.verify(shorter, NOW)).status !== 'invalid')
        accepted.push(`${at}`);
    }
    expect(accepted).toEqual([]);
  });

  it('is refused cut off anywhere, at either end', async () => {
    const { verifier, token } = await setUp(alg, { cacheSize: 0 });
    const accepted: string[] = [];
    for (let at = 1; at < token.length; at++) {
      for (const part of [token.slice(0, at), token.slice(at)]) {
        if ((await verifier.verify(part, NOW)).status !== 'invalid') accepted.push(part);
      }
    }
    expect(accepted).toEqual([]);
  });

  it.each([
    ['in another order', (a: string) => `{"kid":"the-key","alg":"${a}","typ":"at+jwt"}`],
    ['with white space', (a: string) => `{"alg":"${a}","kid":"the-key", "typ":"at+jwt"}`],
    ['with a name twice', (a: string) => `{"alg":"none","alg":"${a}","kid":"the-key","typ":"at+jwt"}`],
    ['with an escape', (a: string) => `{"alg":"${a}","kid":"the\\u002dkey","typ":"at+jwt"}`],
    ['with the full media type', (a: string) => headerOf(a, { typ: 'application/at+jwt' })],
    ['with another type', (a: string) => headerOf(a, { typ: 'JWT' })],
    ['with no type', (a: string) => headerOf(a, { typ: undefined })],
    ['with no kid', (a: string) => headerOf(a, { kid: undefined })],
    ['with a kid in a list', (a: string) => headerOf(a, { kid: ['the-key'] })],
    ['with an unknown member', (a: string) => headerOf(a, { cty: 'JWT' })],
    ['with an extension', (a: string) => headerOf(a, { crit: ['exp'], exp: 1 })],
    ['with an empty list of extensions', (a: string) => headerOf(a, { crit: [] })],
    ['with an unencoded payload', (a: string) => headerOf(a, { crit: ['b64'], b64: true })],
    ['with the address of a key', (a: string) => headerOf(a, { jku: 'https://evil.example/jwks.json' })],
    ['with a certificate', (a: string) => headerOf(a, { x5u: 'https://evil.example/cert.pem' })],
    ['with a key', (a: string) => headerOf(a, { jwk: { kty: 'oct', k: 'AAAA' } })],
    ['as a list', (a: string) => `[${headerOf(a)}]`],
    ['followed by something', (a: string) => `${headerOf(a)} `],
  ])('is refused with its header %s, although it is signed with the right key', async (_, header) => {
    const { jwk, verifier } = await setUp(alg);
    const token = signed(jwk, header(alg), JSON.stringify(CLAIMS));
    expect(await verifier.verify(token, NOW)).toEqual(INVALID);
  });

  it.each([
    ['white space', JSON.stringify(CLAIMS).replace(',', ', ')],
    ['a line break at its end', `${JSON.stringify(CLAIMS)}\n`],
    ['a claim twice', JSON.stringify(CLAIMS).replace('{', '{"sub":"8",')],
    ['the same claim twice', JSON.stringify(CLAIMS).replace('{', '{"sub":"7",')],
    ['an escaped name', JSON.stringify(CLAIMS).replace('"sub"', '"su\\u0062"')],
    ['exp: 1e400', JSON.stringify(CLAIMS).replace(/"exp":\d+/, '"exp":1e400')],
    ['exp: 2e9', JSON.stringify(CLAIMS).replace(/"exp":\d+/, '"exp":2e9')],
    ['exp as text', JSON.stringify({ ...CLAIMS, exp: String(CLAIMS.exp) })],
    ['exp in a list', JSON.stringify({ ...CLAIMS, exp: [CLAIMS.exp] })],
    ['a fraction in exp', JSON.stringify({ ...CLAIMS, exp: CLAIMS.exp + 0.5 })],
    ['a negative exp', JSON.stringify({ ...CLAIMS, exp: -1 })],
    ['exp: null', JSON.stringify({ ...CLAIMS, exp: null })],
    ['exp: true', JSON.stringify({ ...CLAIMS, exp: true })],
    ['no exp', JSON.stringify({ ...CLAIMS, exp: undefined })],
    ['no iat', JSON.stringify({ ...CLAIMS, iat: undefined })],
    ['iat in the future', JSON.stringify({ ...CLAIMS, iat: iat + 121, exp: iat + 900 })],
    ['no sub', JSON.stringify({ ...CLAIMS, sub: undefined })],
    ['no sid', JSON.stringify({ ...CLAIMS, sid: undefined })],
    ['nbf', JSON.stringify({ ...CLAIMS, nbf: iat })],
    ['a list in place of claims', JSON.stringify([CLAIMS])],
    ['text in place of claims', JSON.stringify('claims')],
    ['null in place of claims', 'null'],
    ['nothing that is JSON', 'claims'],
    ['half of it', JSON.stringify(CLAIMS).slice(0, 40)],
    ['brackets without end', '['.repeat(4_000)],
  ])('is refused with %s, although it is signed with the right key', async (_, payload) => {
    const { jwk, verifier } = await setUp(alg);
    expect(await verifier.verify(signed(jwk, headerOf(alg), payload), NOW)).toEqual(INVALID);
  });

  it('is refused with bytes that are not UTF-8', async () => {
    const { jwk, verifier } = await setUp(alg);
    const bytes = Buffer.from(JSON.stringify({ ...CLAIMS, name: 'Zo_' }));
    bytes[bytes.lastIndexOf('_')] = 0xeb;
    const input = `${Buffer.from(headerOf(alg)).toString('base64url')}.${bytes.toString('base64url')}`;
    expect(await verifier.verify(`${input}.${signatureOf(jwk, input)}`, NOW)).toEqual(INVALID);
  });
});

const ES256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const EDDSA_ORDER = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n;

function numberOf(bytes: Buffer): bigint {
  return BigInt(`0x${bytes.toString('hex')}`);
}

function bytesOf(value: bigint, length: number): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * length, '0'), 'hex');
}

function swapped(bytes: Buffer): Buffer {
  return Buffer.from(bytes.toReversed());
}

/** What is signed, with the dot behind it, and the signature. */
function split(token: string): [input: string, signature: Buffer] {
  const at = token.lastIndexOf('.') + 1;
  return [token.slice(0, at), Buffer.from(token.slice(at), 'base64url')];
}

describe('the numbers of a signature, written in another way', () => {
  // docs/security.md says so. About half of all signatures have the larger s, so neither is the right one.
  it('are accepted for ES256 with s negated, and say the same', async () => {
    const { verifier, token } = await setUp('ES256');
    const [input, signature] = split(token);
    const s = bytesOf(ES256_ORDER - numberOf(signature.subarray(32)), 32);
    const twin = input + Buffer.concat([signature.subarray(0, 32), s]).toString('base64url');
    expect(twin).not.toBe(token);
    const said = await verifier.verify(token, NOW);
    expect(said).toMatchObject({ status: 'valid' });
    expect(await verifier.verify(twin, NOW)).toEqual(said);
    // Twins expire, and are dropped with their key, like any other token.
    expect(await verifier.verify(twin, NOW + 900_000)).toMatchObject({ status: 'expired' });
  });

  it('are refused for EdDSA with the order added to S', async () => {
    const { verifier, token } = await setUp('EdDSA');
    const [input, signature] = split(token);
    const sum = numberOf(swapped(signature.subarray(32))) + EDDSA_ORDER;
    const other = Buffer.concat([signature.subarray(0, 32), swapped(bytesOf(sum, 32))]);
    expect(await verifier.verify(token, NOW)).toMatchObject({ status: 'valid' });
    expect(await verifier.verify(input + other.toString('base64url'), NOW)).toEqual(INVALID);
  });

  it('are refused for RS256 with the modulus added', async () => {
    const { jwk, verifier } = await setUp('RS256');
    const modulus = numberOf(Buffer.from(jwk.n!, 'base64url'));
    for (let n = 0; ; n++) {
      const token = signed(jwk, headerOf('RS256'), JSON.stringify({ n, ...CLAIMS }));
      const [input, signature] = split(token);
      const sum = numberOf(signature) + modulus;
      if (sum >= 2n ** 2_048n) continue;
      expect(await verifier.verify(token, NOW)).toMatchObject({ status: 'valid' });
      expect(await verifier.verify(input + bytesOf(sum, 256).toString('base64url'), NOW)).toEqual(INVALID);
      break;
    }
  });
});

describe('what claims may be', () => {
  it.each([
    { text: 'Zoë 用户 🙂 \u2028 \ud800 "quoted" \\ / \u0000' },
    { '1': 'a', b: 'c', '0': 'd' },
    { nested: { list: [1, -0.5, 1e21, 5e-324, null, true] } },
    JSON.parse('{"__proto__":{"admin":true}}') as object,
  ])('comes back as it was: %j', async (claims) => {
    const { jwk, verifier } = await setUp();
    const token = signed(jwk, headerOf('HS256'), JSON.stringify({ ...CLAIMS, ...claims }));
    const verification = await verifier.verify(token, NOW);
    expect(verification).toMatchObject({ status: 'valid' });
    const { role: _, ...rest } = (verification as { accessToken: { claims: Record<string, unknown> } })
      .accessToken.claims;
    expect(JSON.stringify(rest)).toBe(JSON.stringify({ ...claims }));
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });
});

describe('a token that has been verified before', () => {
  it('is answered without a promise, and its claims cannot be changed', async () => {
    const { verifier, token } = await setUp('ES256');
    const first = verifier.verify(token, NOW);
    expect(first).toBeInstanceOf(Promise);
    const said = await first;
    const again = verifier.verify(token, NOW);
    expect(again).toEqual(said);
    const { claims } = (again as unknown as { accessToken: { claims: { role: string } } }).accessToken;
    expect(() => (claims.role = 'root')).toThrow(TypeError);
  });

  it('lives not a moment longer', async () => {
    const { verifier, token } = await setUp();
    await verifier.verify(token, NOW);
    expect(verifier.verify(token, NOW + 899_999)).toMatchObject({ status: 'valid' });
    expect(verifier.verify(token, NOW + 900_000)).toMatchObject({ status: 'expired' });
    expect(await verifier.verify(token, NOW + 900_000)).toMatchObject({ status: 'expired' });
  });

  it('is refused when the clock was set back too far', async () => {
    const { verifier, token } = await setUp();
    await verifier.verify(token, NOW);
    expect(verifier.verify(token, NOW - 120_000)).toMatchObject({ status: 'valid' });
    expect(verifier.verify(token, NOW - 120_001)).toEqual(INVALID);
  });

  it('is refused when its key has been dropped', async () => {
    const { keys, verifier, token } = await setUp();
    await verifier.verify(token, NOW);
    keys.isDropped = true;
    expect(verifier.verify(token, NOW)).toEqual(INVALID);
  });

  it('is refused when its key has been dropped, where that has to be asked first', async () => {
    const { keys, verifier, token } = await setUp();
    await verifier.verify(token, NOW);
    keys.wait = Promise.resolve();
    expect(await verifier.verify(token, NOW)).toMatchObject({ status: 'valid' });
    keys.isDropped = true;
    expect(await verifier.verify(token, NOW)).toEqual(INVALID);
  });

  it('is refused when its key is dropped while it is verified for the first time', async () => {
    const { keys, verifier, token } = await setUp('ES256');
    const first = verifier.verify(token, NOW);
    keys.isDropped = true;
    expect(await first).toEqual(INVALID);
    keys.isDropped = false;
    expect(await verifier.verify(token, NOW)).toMatchObject({ status: 'valid' });
  });

  it('is verified again each time without a cache', async () => {
    const { verifier, token } = await setUp('ES256', { cacheSize: 0 });
    await verifier.verify(token, NOW);
    expect(verifier.verify(token, NOW)).toBeInstanceOf(Promise);
  });
});

describe('an HMAC', () => {
  it('is verified without a promise, the first time, too, where the key is known', async () => {
    const { verifier, token } = await setUp('HS256');
    expect(verifier.verify(token, NOW)).toMatchObject({ status: 'valid' });
    expect(verifier.verify(`${token}x`, NOW)).toEqual(INVALID);
  });
});

describe('junk', () => {
  it('provokes no look for keys unless it names one', async () => {
    const { keys, verifier, token } = await setUp();
    for (const junk of ['', 'a', '..', 'a.b.c', `${token}.x`, 'x'.repeat(100_000), '.'.repeat(50_000)]) {
      expect(await verifier.verify(junk, NOW)).toEqual(INVALID);
    }
    expect(keys.lookUps).toBe(0);
  });

  it('is refused unread where it is longer than any token', async () => {
    const { jwk, keys, verifier } = await setUp();
    const long = signed(jwk, headerOf('HS256', { kid: 'x'.repeat(9_000) }), JSON.stringify(CLAIMS));
    expect(await verifier.verify(long, NOW)).toEqual(INVALID);
    expect(keys.lookUps).toBe(0);
  });
});
