import { decodeProtectedHeader, type JWK } from 'jose';
import { describe, expect, test } from 'vitest';
import { AccessTokens } from '../tokens/access-tokens.js';
import { KeysUnavailableError } from '../errors/session.errors.js';
import { resolveOptions } from '../options/resolved-options.js';
import type { SigningAlgorithm } from './signing-key.js';
import { generateJwk, type SigningKeySource } from './signing-key.js';
import { ProvidedSigningKeys } from './provided-signing-keys.js';

const NOW = Date.UTC(2026, 0, 15);
const MINUTE = 60_000;
const subject = {
  sessionId: '0190abcd-0000-7000-8000-000000000001',
  userId: 1,
  claims: {},
  unproven: undefined,
};

const key = async (kid: string, alg: SigningAlgorithm = 'HS256'): Promise<JWK> => ({
  ...(await generateJwk(alg)),
  kid,
  alg,
});

function start(source: SigningKeySource) {
  const keys = new ProvidedSigningKeys(source);
  const tokens = new AccessTokens(keys, resolveOptions().options.accessToken);
  return { keys, tokens, started: keys.start(NOW) };
}

describe('keys that the application gives', () => {
  test.each<SigningAlgorithm>(['HS256', 'ES256', 'EdDSA', 'RS256'])(
    '%s: the first signs, and kid and alg stand in the header',
    async (alg) => {
      const given = [await key('first', alg), await key('other')];
      const { tokens, started } = start(() => given);
      await started;
      const { token } = await tokens.sign(subject, NOW);
      expect(decodeProtectedHeader(token)).toEqual({ alg, kid: 'first', typ: 'at+jwt' });
      expect(await tokens.verify(token, NOW)).toMatchObject({ status: 'valid' });
    },
  );

  test('all of them verify, public halves included', async () => {
    const old = await key('old', 'ES256');
    const { tokens: before, started: startedBefore } = start(() => [old]);
    await startedBefore;
    const { token } = await before.sign(subject, NOW);

    const { d: _, ...publicHalf } = old;
    const current = await key('current', 'EdDSA');
    const { tokens, started } = start(() => [current, publicHalf]);
    await started;
    expect(await tokens.verify(token, NOW)).toMatchObject({ status: 'valid' });
    expect(decodeProtectedHeader((await tokens.sign(subject, NOW)).token).kid).toBe('current');
  });

  test('a key of the same name with another algorithm does not verify', async () => {
    const symmetric = await key('k');
    const { tokens: before, started } = start(() => [symmetric]);
    await started;
    const { token } = await before.sign(subject, NOW);
    const other = await key('k', 'ES256');
    const { tokens, started: startedOther } = start(() => [other]);
    await startedOther;
    expect(await tokens.verify(token, NOW)).toEqual({ status: 'invalid' });
  });

  test('a key that was taken away is refused within five minutes, even where nothing is signed', async () => {
    const [leaked, next] = [await key('leaked'), await key('next')];
    let published = [leaked, next];
    const { tokens, started } = start(() => published);
    await started;
    const { token } = await tokens.sign(subject, NOW);
    published = [next];
    expect(await tokens.verify(token, NOW + 5 * MINUTE + 1)).toEqual({ status: 'invalid' });
  });
});

describe('a source that gives no usable keys stops the start and says why', () => {
  test.each<[string, SigningKeySource, RegExp]>([
    [
      'it throws',
      () => {
        throw new Error('no route to the vault');
      },
      /^The application's signingKeys.source failed\.$/,
    ],
    ['it rejects', () => Promise.reject(new Error('no route to the vault')), /source failed/],
    ['it gives no key', () => [], /no key/],
    ['it gives nothing', () => undefined as unknown as JWK[], /list|array/i],
    [
      'the first key is public',
      async () => [{ ...(await key('pub', 'ES256')), d: undefined }],
      /"pub" has no private part/,
    ],
    ['two keys have one name', async () => [await key('twin'), await key('twin', 'ES256')], /same "kid"/],
    ['a key is short', () => [{ kty: 'oct', k: 'c2hvcnQ', kid: 'k', alg: 'HS256' }], /shorter than 256 bits/],
    ['an algorithm is unknown', async () => [{ ...(await key('k')), alg: 'HS512' }], /Supported: HS256/],
    [
      'everybody can sign with a later key',
      async () => [await key('k'), { ...(await key('l', 'RS256')), e: 'AQ' }],
      /"l" has an exponent "e"/,
    ],
    ['a later key is bad', async () => [await key('k'), { kty: 'oct', kid: 'l', alg: 'HS256' }], /"l"/],
  ])('%s', async (_, source, message) => {
    const { started } = start(source);
    await expect(started).rejects.toThrow(KeysUnavailableError);
    await expect(started).rejects.toThrow(/signingKeys\.source/);
    await expect(started).rejects.toThrow(message);
  });

  test('without showing any key', async () => {
    const secret = 'c2hvcnQtYnV0LXNlY3JldA';
    const { started } = start(() => [{ kty: 'oct', k: secret, kid: 'k', alg: 'HS256' }]);
    const error = await started.then(
      () => expect.unreachable(),
      (each: unknown) => each as Error,
    );
    expect(`${error.message} ${error.stack} ${String(error.cause)}`).not.toContain(secret);
  });
});

/** A source of keys that works until a test sets `isDown`. */
async function startWithSource() {
  const mine = await key('mine');
  const state = { calls: 0, isDown: false };
  const { tokens, started } = start(() => {
    state.calls++;
    if (state.isDown) throw new Error('no route to the vault');
    return [mine];
  });
  await started;
  return { state, tokens };
}

/** A token that is signed with a foreign key. */
async function junk(): Promise<string> {
  const { tokens, started } = start(async () => [await key(`junk-${Math.random()}`)]);
  await started;
  return (await tokens.sign(subject, NOW)).token;
}

describe('a source that fails later', () => {
  test('is not called once per junk token, and says nothing about such a token', async () => {
    const { state, tokens } = await startWithSource();
    const token = await junk();
    state.isDown = true;
    state.calls = 0;
    const outcomes = new Set<unknown>();
    for (let second = 0; second < 60; second++) {
      const now = NOW + MINUTE + second * 1_000;
      const results = await Promise.allSettled(
        Array.from({ length: 50 }, async () => tokens.verify(token, now)),
      );
      for (const each of results) {
        outcomes.add(each.status === 'rejected' ? (each.reason as { code?: unknown }).code : each.value);
      }
    }
    expect(outcomes).toEqual(new Set(['keys_unavailable']));
    expect(state.calls).toBe(6);
  });

  test('costs nothing while tokens have known keys', async () => {
    const { state, tokens } = await startWithSource();
    const { token } = await tokens.sign(subject, NOW);
    state.isDown = true;
    state.calls = 0;
    for (let minute = 0; minute < 5; minute++) {
      expect(await tokens.verify(token, NOW + minute * MINUTE)).toMatchObject({ status: 'valid' });
    }
    expect(state.calls).toBe(0);
  });

  test('stops signing with an error, and signing goes on when it is back', async () => {
    const { state, tokens } = await startWithSource();
    state.isDown = true;
    const later = NOW + 5 * MINUTE + 1;
    await expect(tokens.sign(subject, later)).rejects.toThrow(KeysUnavailableError);
    state.isDown = false;
    await expect(tokens.sign(subject, later)).resolves.toBeDefined();
  });
});
