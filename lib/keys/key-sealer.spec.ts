import { CompactEncrypt, decodeProtectedHeader } from 'jose';
import { describe, expect, test } from 'vitest';
import { KeysUnavailableError } from '../errors/session.errors.js';
import { KeySealer } from './key-sealer.js';

const OLD = 'old secret, made of more than 32 characters';
const NEW = 'new secret, made of more than 32 characters';
const TEXT = '{"kty":"oct","k":"Zoë"}';
const context = { kid: 'k1', purpose: 'access' };

describe('with a secret', () => {
  const sealer = new KeySealer([OLD]);

  test('what is sealed opens as it was, and shows nothing of it', async () => {
    const sealed = await sealer.seal(TEXT, context);
    expect(decodeProtectedHeader(sealed)).toEqual({ alg: 'dir', enc: 'A256GCM', ...context });
    for (const part of sealed.split('.')) {
      expect(Buffer.from(part, 'base64url').toString()).not.toMatch(/kty|Zoë/);
    }
    expect((await sealer.open(sealed, context)).text).toBe(TEXT);
  });

  test('the same text is never sealed to the same', async () => {
    expect(await sealer.seal(TEXT, context)).not.toBe(await sealer.seal(TEXT, context));
  });

  test.each([
    ['kid', { ...context, kid: 'k2' }],
    ['purpose', { ...context, purpose: 'refresh' }],
  ])('it does not open as that of another %s', async (_, other) => {
    const sealed = await sealer.seal(TEXT, context);
    await expect(sealer.open(sealed, other)).rejects.toThrow(KeysUnavailableError);
  });

  test('it does not open when any character of it was changed', async () => {
    const sealed = await sealer.seal(TEXT, context);
    const opened: number[] = [];
    for (let index = 0; index < sealed.length; index += 7) {
      if (sealed[index] === '.') continue;
      const damaged = `${sealed.slice(0, index)}${sealed[index] === 'x' ? 'y' : 'x'}${sealed.slice(index + 1)}`;
      const error: unknown = await sealer.open(damaged, context).catch((reason: unknown) => reason);
      if (!(error instanceof KeysUnavailableError)) opened.push(index);
    }
    expect(opened).toEqual([]);
  });

  test.each(['', 'x', '....', 'null', '[1]'])('%j is no sealed text', async (text) => {
    await expect(sealer.open(text, context)).rejects.toThrow(KeysUnavailableError);
  });

  test('a text under a password of the attacker, by another JWE algorithm, is refused', async () => {
    const forged = await new CompactEncrypt(new TextEncoder().encode(TEXT))
      .setProtectedHeader({ alg: 'PBES2-HS256+A128KW', enc: 'A256GCM', ...context })
      .encrypt(new TextEncoder().encode(OLD));
    await expect(sealer.open(forged, context)).rejects.toThrow(KeysUnavailableError);
  });

  test('plain material from before there was a secret stays readable', async () => {
    expect((await sealer.open(TEXT, context)).text).toBe(TEXT);
  });
});

describe('with several secrets', () => {
  test('the first seals, all open', async () => {
    const byOld = await new KeySealer([OLD]).seal(TEXT, context);
    const both = new KeySealer([NEW, OLD]);
    expect((await both.open(byOld, context)).text).toBe(TEXT);
    const byBoth = await both.seal(TEXT, context);
    expect((await new KeySealer([NEW]).open(byBoth, context)).text).toBe(TEXT);
    await expect(new KeySealer([OLD]).open(byBoth, context)).rejects.toThrow(KeysUnavailableError);
  });
});

describe('with a name of the deployment', () => {
  const live = new KeySealer([OLD], 'production');

  test('what is sealed opens under this name only', async () => {
    const sealed = await live.seal(TEXT, context);
    expect(await live.open(sealed, context)).toEqual({ text: TEXT, resealed: undefined });
    for (const name of ['staging', 'Production', 'production ', '', undefined]) {
      await expect(new KeySealer([OLD], name).open(sealed, context)).rejects.toThrow(KeysUnavailableError);
    }
  });

  test('what was sealed before there was a name opens, and is sealed again', async () => {
    const sealed = await new KeySealer([OLD]).seal(TEXT, context);
    const both = new KeySealer([NEW, OLD], 'production');
    const { text, resealed } = await both.open(sealed, context);
    expect(text).toBe(TEXT);
    expect(await both.open(resealed!, context)).toEqual({ text: TEXT, resealed: undefined });
    await expect(new KeySealer([NEW, OLD]).open(resealed!, context)).rejects.toThrow(KeysUnavailableError);
  });

  test('an old secret opens under the name, too', async () => {
    const sealed = await live.seal(TEXT, context);
    expect((await new KeySealer([NEW, OLD], 'production').open(sealed, context)).text).toBe(TEXT);
  });
});

describe('without a secret', () => {
  const plain = new KeySealer([]);

  test('material stays as it is', async () => {
    expect(await plain.seal(TEXT, context)).toBe(TEXT);
    expect((await plain.open(TEXT, context)).text).toBe(TEXT);
  });

  test('what is sealed asks for the secret', async () => {
    const sealed = await new KeySealer([OLD]).seal(TEXT, context);
    await expect(plain.open(sealed, context)).rejects.toThrow(/encrypted, and no "secret" is set/);
    await expect(new KeySealer([NEW]).open(sealed, context)).rejects.toThrow(/No "secret" opens/);
  });
});
