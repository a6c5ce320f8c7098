import { exportJWK, exportSPKI, generateKeyPair, importJWK, type JWK, jwtVerify, SignJWT } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { KeysUnavailableError } from '../errors/session.errors.js';
import { generateJwk } from '../keys/signing-key.js';
import { ProvidedSigningKeys } from '../keys/provided-signing-keys.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { SigningAlgorithm } from '../keys/signing-key.js';
import { AccessTokens } from './access-tokens.js';
import { timeOfSessionId } from '../protocol/session-id.js';

const NOW = Date.UTC(2030, 0, 1);
const TTL = 900_000;
const IN_SECONDS = NOW / 1_000;
const OPTIONS = {
  ttl: TTL,
  algorithm: 'HS256',
  issuer: undefined,
  audience: undefined,
  clockTolerance: 0,
  cacheSize: 1_000,
} as const;
const SID = '0190abcd-0000-7000-8000-000000000001';
const INVALID = { status: 'invalid' };
const subject = { sessionId: SID, userId: 1, claims: { role: 'admin' }, unproven: undefined };

let key: JWK;

beforeAll(async () => {
  key = await newKey('HS256');
});

async function newKey(alg: SigningAlgorithm, kid = `${alg}-key`): Promise<JWK> {
  return { ...(await generateJwk(alg)), kid, alg };
}

async function start(
  options: Partial<ResolvedOptions['accessToken']> = {},
  keys: readonly JWK[] = [key],
): Promise<AccessTokens> {
  const signingKeys = new ProvidedSigningKeys(() => keys);
  await signingKeys.start(NOW);
  return new AccessTokens(signingKeys, { ...OPTIONS, ...options });
}

function headerOf(token: string): unknown {
  return JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString());
}

/** A token with exactly this content, signed with the right key. */
async function signed(payload: object, header: object): Promise<string> {
  return new SignJWT({ ...payload })
    .setProtectedHeader(header as { alg: string })
    .sign(Buffer.from(key.k!, 'base64url'));
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}

describe.each(['HS256', 'ES256', 'EdDSA', 'RS256'] as const)('access tokens signed with %s', (alg) => {
  let own: JWK;
  let tokens: AccessTokens;
  let token: string;

  beforeAll(async () => {
    own = await newKey(alg);
    tokens = await start({}, [own]);
    ({ token } = await tokens.sign(subject, NOW));
  });

  it('come back as what was signed', async () => {
    expect(await tokens.verify(token, NOW)).toEqual({
      status: 'valid',
      accessToken: {
        ...subject,
        authTime: timeOfSessionId(SID),
        amr: [],
        issuedAt: NOW,
        expiresAt: NOW + TTL,
        kid: own.kid,
      },
    });
  });

  it('name algorithm, key and type in their header, and nothing else', () => {
    expect(headerOf(token)).toEqual({ alg, kid: `${alg}-key`, typ: 'at+jwt' });
  });

  it('are verified by any JWT library that has the key', async () => {
    const { kty, crv, x, y, n, e } = own;
    const known = alg === 'HS256' ? own : { kty, crv, x, y, n, e };
    const { payload } = await jwtVerify(token, await importJWK(known, alg), { currentDate: new Date(NOW) });
    expect(payload).toEqual({
      role: 'admin',
      sub: '1',
      sid: SID,
      uid: 1,
      iat: IN_SECONDS,
      exp: IN_SECONDS + 900,
    });
  });

  it('are refused under another key of the same name', async () => {
    const others = await start({}, [await newKey(alg)]);
    expect(await others.verify(token, NOW)).toEqual(INVALID);
  });

  it('are refused where the key of that name is for another algorithm', async () => {
    const other = await newKey(alg === 'ES256' ? 'HS256' : 'ES256', `${alg}-key`);
    expect(await (await start({}, [other])).verify(token, NOW)).toEqual(INVALID);
  });
});

describe('an access token', () => {
  it('is whole when it is signed: what the result says is what verification says', async () => {
    const tokens = await start();
    const unproven = { generation: 2, issuedAt: NOW - 7, preimage: '0123456789abcdefABCDEF' };
    const { token, ...said } = await tokens.sign({ ...subject, unproven }, NOW + 250);
    expect(await tokens.verify(token, NOW + 250)).toEqual({ status: 'valid', accessToken: said });
  });

  it('is good until just before it expires, and then known as expired', async () => {
    const tokens = await start();
    const { token } = await tokens.sign(subject, NOW);
    expect(await tokens.verify(token, NOW + TTL - 1)).toMatchObject({ status: 'valid' });
    expect(await tokens.verify(token, NOW + TTL)).toMatchObject({
      status: 'expired',
      accessToken: { sessionId: SID, userId: 1 },
    });
    expect(await tokens.verify(token, NOW + 100 * TTL)).toMatchObject({ status: 'expired' });
  });

  it('may lose up to a second of its life, and no more, because JWT times are whole seconds', async () => {
    const tokens = await start({ ttl: 2_000 });
    expect((await tokens.sign(subject, NOW)).expiresAt).toBe(NOW + 2_000);
    expect((await tokens.sign(subject, NOW + 999)).expiresAt).toBe(NOW + 2_000);
    expect((await tokens.sign(subject, NOW + 1_000)).expiresAt).toBe(NOW + 3_000);
  });

  it('can be given an expiry of its own', async () => {
    const tokens = await start();
    const { token, expiresAt } = await tokens.sign(subject, NOW, NOW + 5_000);
    expect(expiresAt).toBe(NOW + 5_000);
    expect(await tokens.verify(token, NOW + 5_000)).toMatchObject({ status: 'expired' });
  });

  it('is good where the clock is no further behind than it may be', async () => {
    const tokens = await start({ clockTolerance: 5_000 });
    const { token } = await tokens.sign(subject, NOW);
    expect(await tokens.verify(token, NOW - 5_000)).toMatchObject({ status: 'valid' });
    expect(await tokens.verify(token, NOW - 5_001)).toEqual(INVALID);
    expect(await tokens.verify(token, NOW + TTL)).toMatchObject({ status: 'expired' });
  });

  it('is refused when any one character of header or payload is another', async () => {
    const tokens = await start();
    const { token } = await tokens.sign(subject, NOW);
    const accepted: number[] = [];
    for (let at = 0; at < token.lastIndexOf('.'); at++) {
      const altered = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
      if ((await tokens.verify(altered, NOW)).status !== 'invalid') accepted.push(at);
    }
    expect(accepted).toEqual([]);
  });

  it('is refused when any one bit of its signature is another', async () => {
    const tokens = await start();
    const { token } = await tokens.sign(subject, NOW);
    const [header, payload, signature] = token.split('.');
    const accepted: number[] = [];
    for (let bit = 0; bit < 256; bit++) {
      const bytes = Buffer.from(signature!, 'base64url');
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      const altered = `${header}.${payload}.${bytes.toString('base64url')}`;
      if ((await tokens.verify(altered, NOW)).status !== 'invalid') accepted.push(bit);
    }
    expect(accepted).toEqual([]);
  });
});

describe('issuer and audience', () => {
  const named = { issuer: 'https://issuer.example', audience: 'the-api' };

  it('are in the token, and the application’s claims are free of them', async () => {
    const tokens = await start(named);
    const { token } = await tokens.sign(subject, NOW);
    const payload: unknown = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString());
    expect(payload).toMatchObject({ iss: 'https://issuer.example', aud: 'the-api' });
    expect(await tokens.verify(token, NOW)).toMatchObject({ accessToken: { claims: { role: 'admin' } } });
  });

  it.each([
    ['another issuer', { ...named, issuer: 'https://other.example' }],
    ['another audience', { ...named, audience: 'other-api' }],
    ['no issuer', { audience: named.audience }],
    ['no audience', { issuer: named.issuer }],
    ['neither', {}],
  ])('are demanded: a token of %s is refused, even an expired one', async (_, other) => {
    const { token } = await (await start(other)).sign(subject, NOW);
    const tokens = await start(named);
    expect(await tokens.verify(token, NOW)).toEqual(INVALID);
    expect(await tokens.verify(token, NOW + TTL)).toEqual(INVALID);
  });

  it('are not looked at where none is configured', async () => {
    const { token } = await (await start(named)).sign(subject, NOW);
    expect(await (await start()).verify(token, NOW)).toMatchObject({ status: 'valid' });
  });
});

describe('the key of a token', () => {
  it('is the first for signing and any for verifying', async () => {
    const older = await newKey('HS256', 'older');
    const { token } = await (await start({}, [older])).sign(subject, NOW);
    const tokens = await start({}, [key, older]);
    expect(await tokens.verify(token, NOW)).toMatchObject({ status: 'valid' });
    expect(headerOf((await tokens.sign(subject, NOW)).token)).toMatchObject({ kid: 'HS256-key' });
  });

  it('must be a known one', async () => {
    const stranger = await start({}, [await newKey('HS256', 'unknown')]);
    const { token } = await stranger.sign(subject, NOW);
    expect(await (await start()).verify(token, NOW)).toEqual(INVALID);
  });

  it('is the reason of an error, not of a refusal, when it cannot be looked up', async () => {
    const { token } = await (await start({}, [await newKey('HS256', 'unknown')])).sign(subject, NOW);
    let isDown = false;
    const signingKeys = new ProvidedSigningKeys(() => {
      if (isDown) throw new Error('the key store is down');
      return [key];
    });
    await signingKeys.start(NOW - 60_000);
    isDown = true;
    await expect(new AccessTokens(signingKeys, OPTIONS).verify(token, NOW)).rejects.toThrow(
      KeysUnavailableError,
    );
  });
});

describe('a token that somebody else made', () => {
  const claims = { sub: 'ann', sid: SID, iat: IN_SECONDS, exp: IN_SECONDS + 900 };
  const header = { alg: 'HS256', kid: 'HS256-key', typ: 'at+jwt' };

  it('would be accepted if all of it were right', async () => {
    expect(await (await start()).verify(await signed(claims, header), NOW)).toMatchObject({
      status: 'valid',
    });
  });

  it.each<Record<string, unknown>>([
    { typ: undefined },
    { typ: 'JWT' },
    { typ: 'rt+jwt' },
    { kid: undefined },
    { kid: '' },
    { kid: 'other' },
    { alg: 'HS384' },
    { alg: 'HS512' },
  ])('is refused with %j in its header, although the key is right', async (wrong) => {
    const token = await signed(claims, { ...header, ...wrong });
    expect(await (await start()).verify(token, NOW)).toEqual(INVALID);
  });

  it.each(['sub', 'sid', 'iat', 'exp'])('is refused without "%s"', async (name) => {
    const { [name]: _, ...rest } = claims as Record<string, unknown>;
    expect(await (await start()).verify(await signed(rest, header), NOW)).toEqual(INVALID);
  });

  it.each<Record<string, unknown>>([{ sub: 1 }, { sid: 1 }, { iat: '1' }, { exp: '2000000000' }, { gen: 1 }])(
    'is refused with the claim %j',
    async (wrong) => {
      const token = await signed({ ...claims, ...wrong }, header);
      expect(await (await start()).verify(token, NOW)).toEqual(INVALID);
    },
  );

  it.each<Record<string, unknown>>([{ sid: 1 }, { sub: '2', uid: 1 }, { gen: 1 }])(
    'is refused, not called expired, with the claim %j when it has expired',
    async (wrong) => {
      const token = await signed({ ...claims, ...wrong }, header);
      expect(await (await start()).verify(token, NOW + TTL)).toEqual(INVALID);
    },
  );

  it.each(['none', 'None', 'HS256'])('is refused when it is not signed at all (alg: %s)', async (alg) => {
    const token = `${encode({ ...header, alg })}.${encode(claims)}.`;
    expect(await (await start()).verify(token, NOW)).toEqual(INVALID);
  });

  it('is refused when a public key was used as if it were a shared secret', async () => {
    const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
    const tokens = await start({}, [{ ...(await exportJWK(privateKey)), kid: 'rsa', alg: 'RS256' }]);
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256', kid: 'rsa', typ: 'at+jwt' })
      .sign(Buffer.from(await exportSPKI(publicKey)));
    expect(await tokens.verify(token, NOW)).toEqual(INVALID);
  });

  it.each(['', '.', '..', '...', 'junk', 'a.b', 'a.b.c', 'ü.ü.ü', `${'A'.repeat(10_000)}.A.A`, '\u0000'])(
    'is refused when it is junk (%#)',
    async (junk) => {
      expect(await (await start()).verify(junk, NOW)).toEqual(INVALID);
    },
  );
});
