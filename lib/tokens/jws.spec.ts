import { compactVerify, CompactSign } from 'jose';
import { describe, expect, it } from 'vitest';
import { asSigningKey, generateJwk, importKey } from '../keys/signing-key.js';
import { isSignedWith, signJws } from './jws.js';

const PAYLOAD = JSON.stringify({ sub: 'änn', list: [1, 2], text: '用户' });

async function hmacKey(kid = 'k') {
  const jwk = { ...(await generateJwk('HS256')), kid, alg: 'HS256' };
  return { secret: Buffer.from(jwk.k!, 'base64url'), key: asSigningKey(await importKey(jwk)) };
}

describe('an HMAC, which jose neither makes nor verifies here', () => {
  it('is one that jose verifies', async () => {
    const { secret, key } = await hmacKey();
    const { payload, protectedHeader } = await compactVerify(await signJws(key, PAYLOAD), secret);
    expect(Buffer.from(payload).toString()).toBe(PAYLOAD);
    expect(protectedHeader).toEqual({ alg: 'HS256', kid: 'k', typ: 'at+jwt' });
  });

  it('is byte for byte what jose signs', async () => {
    const { secret, key } = await hmacKey();
    const josesOwn = await new CompactSign(Buffer.from(PAYLOAD))
      .setProtectedHeader({ alg: 'HS256', kid: 'k', typ: 'at+jwt' })
      .sign(secret);
    expect(signJws(key, PAYLOAD)).toBe(josesOwn);
    expect(isSignedWith(key, josesOwn)).toBe(true);
  });

  it('is right with its own key only', async () => {
    const [one, two] = [await hmacKey(), await hmacKey()];
    const token = await signJws(one.key, PAYLOAD);
    expect(isSignedWith(one.key, token)).toBe(true);
    expect(isSignedWith(two.key, token)).toBe(false);
  });

  it('covers header and payload, and is right in one spelling only', async () => {
    const { key } = await hmacKey();
    const token = await signJws(key, PAYLOAD);
    const [header, payload, signature] = token.split('.') as [string, string, string];
    const wrong = [
      `${header}A.${payload}.${signature}`,
      `${header}.${payload}A.${signature}`,
      `${header}.A${payload}.${signature}`,
      `${header}..${signature}`,
      `${payload}.${header}.${signature}`,
      `${header}.${payload}.`,
      `${header}.${payload}.${signature}=`,
      `${header}.${payload}.${signature} `,
      `${header}.${payload}.${signature.slice(0, -1)}`,
      `${header}.${payload}.${signature}A`,
      `${header}.${payload}.${Buffer.from(signature, 'base64url').toString('hex')}`,
      // The last of 43 characters has two unused bits.
      ...['A', 'B', 'C', 'D', '8', '_'].map(
        (last) => `${header}.${payload}.${signature.slice(0, -1)}${last}`,
      ),
      // The low byte of U+0141 is that of "A".
      `${header}.${payload.replace(/./, (char) => String.fromCharCode(char.charCodeAt(0) + 0x100))}.${signature}`,
    ].filter((each) => each !== token);
    expect(wrong.filter((each) => isSignedWith(key, each))).toEqual([]);
  });
});

describe.each(['ES256', 'EdDSA', 'RS256'] as const)('a signature by %s', (alg) => {
  it('is right with its own key only, and in one spelling only', async () => {
    const [one, two] = await Promise.all(
      ['one', 'two'].map(async (kid) =>
        asSigningKey(await importKey({ ...(await generateJwk(alg)), kid, alg })),
      ),
    );
    const token = await signJws(one!, PAYLOAD);
    expect(await isSignedWith(one!, token)).toBe(true);
    expect(await isSignedWith(two!, token)).toBe(false);
    expect(await isSignedWith(one!, `${token}=`)).toBe(false);
    expect(await isSignedWith(one!, `${token} `)).toBe(false);
  });

  it('is refused with a key of another algorithm, whatever the header says', async () => {
    const { key } = await hmacKey('one');
    const other = asSigningKey(await importKey({ ...(await generateJwk(alg)), kid: 'one', alg }));
    expect(await isSignedWith(key, await signJws(other, PAYLOAD))).toBe(false);
    expect(await isSignedWith(other, await signJws(key, PAYLOAD))).toBe(false);
  });
});
