import type { SigningAlgorithm } from 'nestjs-session-tokens';
import { beforeEach, describe, expect, test } from 'vitest';
import { accountApps, REFRESH } from '../http/account-app.js';
import { databases } from '../support/databases.js';
import { MINUTE, pass } from '../support/time.js';
import {
  accessTokensByHmac,
  accessTokenSignedWith,
  accessTokensWithOwnKey,
  accessTokensWithoutSignature,
  childrenOf,
  csrfTokens,
  guessesOf,
  likelyMacKeysOf,
  likelySecretsOf,
  macKeyOf,
  macKeysOf,
  newest,
  openKeys,
  openKeysByGuessing,
  type OpenedKey,
  outdated,
  payloadFor,
  positionsOf,
  preimageOf,
  redeemedOf,
  refreshTokens,
  replaysOf,
  secretsOf,
  siblingsOf,
} from './stolen-database.js';
import {
  answerTo,
  countAnswers,
  dumpOf,
  expectAccepted,
  expectRefused,
  expectUnharmed,
  expectUntouched,
  rob,
  type Robbed,
  SECRET,
  type Victim,
} from './victims.js';

// Every attack is followed by its control: the same function, given what the thief lacks, succeeds. Where a token has two
// halves, a key and a secret, each is attacked with the other one given, which is more than the thief has.

const byAccess = (tokens: readonly string[]) => tokens.map((access) => ({ access }));
const byRefresh = (tokens: readonly string[]) => tokens.map((refresh) => ({ refresh }));

function keyFor(purpose: 'access' | 'refresh', keys: readonly OpenedKey[]): OpenedKey {
  return keys.find((key) => key.purpose === purpose)!;
}

describe.each(databases)('a stolen database on $name', { timeout: 120_000 }, (kind) => {
  const start = accountApps('fastify', kind);

  describe('with nothing else', () => {
    let robbed: Robbed;
    let kids: string[];
    /** For controls only. */
    let trueKeys: OpenedKey[];

    beforeEach(async () => {
      robbed = await rob(start, { secret: SECRET });
      kids = robbed.dump.user_session_key.map(({ kid }) => String(kid));
      trueKeys = await openKeys(robbed.dump, SECRET);
    });

    test('no stored key can be opened with anything that the tables have', async () => {
      await expect(openKeys(robbed.dump)).resolves.toEqual([]);
      await expect(openKeysByGuessing(robbed.dump, guessesOf(robbed.dump))).resolves.toEqual([]);

      await expect(openKeysByGuessing(robbed.dump, [Buffer.from(SECRET)])).resolves.toHaveLength(2);
    });

    test('nothing in the tables signs access tokens', async () => {
      const guesses = guessesOf(robbed.dump);
      const { row } = robbed.victims[1]!;
      for (const kid of kids) {
        const forgeries = accessTokensByHmac(payloadFor(row, Date.now()), { kid }, guesses);
        await expectRefused(robbed, byAccess(forgeries));
      }

      const { kid, jwk } = keyFor('access', trueKeys);
      const trueKey = Buffer.from(jwk.k!, 'base64url');
      for (const { row: each } of robbed.victims) {
        const [access] = accessTokensByHmac(payloadFor(each, Date.now()), { kid }, [trueKey]);
        await expect(answerTo(robbed.app, { access })).resolves.toBe('accepted');
      }
      await expectUnharmed(robbed);
    });

    test('access tokens need a signature, whatever their header says', async () => {
      const payload = payloadFor(robbed.victims[1]!.row, Date.now());
      await expectRefused(robbed, byAccess(accessTokensWithoutSignature(payload, kids)));

      const { kid, jwk } = keyFor('access', trueKeys);
      const [access] = accessTokensWithoutSignature(payload, [kid], {
        algs: ['HS256'],
        hmacKey: Buffer.from(jwk.k!, 'base64url'),
      });
      await expect(answerTo(robbed.app, { access })).resolves.toBe('accepted');
      await expectUnharmed(robbed);
    });

    test('a key that an access token brings along signs nothing', async () => {
      const payload = payloadFor(robbed.victims[1]!.row, Date.now());
      await expectRefused(robbed, byAccess(await accessTokensWithOwnKey(payload, kids)));

      const access = await accessTokenSignedWith(keyFor('access', trueKeys), payload);
      await expect(answerTo(robbed.app, { access })).resolves.toBe('accepted');
      await expectUnharmed(robbed);
    });

    test('nothing in the tables authenticates a refresh token, even for one who knows the session secret', async () => {
      const keys = macKeysOf(robbed.dump, guessesOf(robbed.dump));
      const forge = ({ row, sessionSecret }: Victim, tried: typeof keys) =>
        refreshTokens(row, { positions: [newest(row, Date.now())], secrets: [sessionSecret], keys: tried });
      await expectRefused(robbed, byRefresh(forge(robbed.victims[1]!, keys)));

      for (const victim of robbed.victims) {
        const [refresh] = forge(victim, [macKeyOf(trueKeys)]);
        await expect(answerTo(robbed.app, { refresh })).resolves.toBe('accepted');
      }
      await expectUnharmed(robbed);
    });

    test('no child, sibling or parent of a known session can be made', async () => {
      const forgeries = robbed.victims.flatMap(({ row }) =>
        refreshTokens(row, {
          positions: positionsOf(row, Date.now()),
          secrets: likelySecretsOf(row).slice(0, 3),
          keys: likelyMacKeysOf(robbed.dump),
        }),
      );
      expect(forgeries.length).toBeGreaterThan(500);
      await expectRefused(robbed, byRefresh(forgeries));

      for (const { row, sessionSecret } of robbed.victims) {
        const children = refreshTokens(row, {
          positions: childrenOf(row, Date.now()),
          secrets: [sessionSecret],
          keys: [macKeyOf(trueKeys)],
        });
        await expectAccepted(robbed, byRefresh(children));
      }
      await expectUnharmed(robbed);
    });

    test('no text of the tables is a token', async () => {
      const replays = replaysOf(robbed.dump);
      await expectRefused(
        robbed,
        replays.map((text) => ({ access: text, refresh: text })),
      );
      await expectUnharmed(robbed);

      for (const { browser } of robbed.victims) {
        const refresh = browser.cookie('session_refresh')!.value;
        expect(replays).not.toContain(refresh);
        await expect(answerTo(robbed.app, { access: refresh, refresh })).resolves.toBe('accepted');
      }
    });

    test('no CSRF token can be made', async () => {
      const { row, browser } = robbed.victims[1]!;
      const answer = async (token: string) => {
        const { status, body } = await browser
          .copy()
          .post('/orders', undefined, { headers: { 'anti-csrf': token } });
        return `${status} ${(body as { code?: string }).code}`;
      };
      const id = String(row['id']);
      const forgeries = [...replaysOf(robbed.dump), ...csrfTokens(id, guessesOf(robbed.dump))];
      expect(await countAnswers(forgeries, answer)).toEqual({ '403 csrf_failed': forgeries.length });
      await expectUntouched(robbed);

      const [token] = csrfTokens(id, [macKeyOf(trueKeys).bytes]);
      await expect(answer(token!)).resolves.toBe('200 undefined');
      await expectUnharmed(robbed);
    });
  });

  // Without `secret` the keys are in plain text and the same attacks follow. It is enough to test them once.
  const openly = kind.name === 'sqlite' ? [['of an application without a secret', false] as const] : [];
  describe.each([['with the secret of the application', SECRET] as const, ...openly])('%s', (_, secret) => {
    let robbed: Robbed;
    let keys: OpenedKey[];

    beforeEach(async () => {
      robbed = await rob(start, { secret });
      keys = await openKeys(robbed.dump, secret);
    });

    /** Refresh tokens with a right mac. */
    const forge = (
      { row }: Victim,
      secrets: readonly Buffer[],
      positions = [newest(row, Date.now())],
    ): string[] => refreshTokens(row, { positions, secrets, keys: [macKeyOf(keys)] });

    test('all keys can be opened, and access tokens forged: the documented limit', async () => {
      expect(keys.map(({ purpose }) => purpose).toSorted()).toEqual(['access', 'refresh']);
      for (const { row } of robbed.victims) {
        const access = await accessTokenSignedWith(keyFor('access', keys), payloadFor(row, Date.now()));
        await expect(answerTo(robbed.app, { access })).resolves.toBe('accepted');
      }
      await expectUntouched(robbed);
      await expectUnharmed(robbed);
    });

    test('nothing in the tables is the secret of a session', async () => {
      for (const victim of robbed.victims) {
        await expectRefused(robbed, byRefresh(forge(victim, secretsOf(guessesOf(victim.row)))));
      }

      for (const victim of robbed.victims) {
        const [refresh] = forge(victim, [victim.sessionSecret]);
        await expect(answerTo(robbed.app, { refresh })).resolves.toBe('accepted');
      }
      await expectUnharmed(robbed);
    });

    test('no child, sibling or parent of a known session can be made, and nobody is taken for a thief', async () => {
      const forgeries = robbed.victims.flatMap((victim) =>
        forge(victim, likelySecretsOf(victim.row), positionsOf(victim.row, Date.now())),
      );
      expect(forgeries.length).toBeGreaterThan(500);
      await expectRefused(robbed, byRefresh(forgeries));

      for (const victim of robbed.victims) {
        const children = forge(victim, [victim.sessionSecret], childrenOf(victim.row, Date.now()));
        await expectAccepted(robbed, byRefresh(children));
      }
      await expectUnharmed(robbed);
    });

    test('the ids of exchanged tokens, and others beside them, are worth nothing without the secret of the session', async () => {
      const [, proven, redeemed] = robbed.victims as [Victim, Victim, Victim];
      const cases = [
        { victim: redeemed, position: redeemedOf(redeemed.row)[0]! },
        { victim: proven, position: siblingsOf(proven.row)[0]! },
      ];
      for (const { victim, position } of cases) {
        await expectRefused(robbed, byRefresh(forge(victim, likelySecretsOf(victim.row), [position])));
      }

      for (const { victim, position } of cases) {
        const [refresh] = forge(victim, [victim.sessionSecret], [position]);
        await expect(answerTo(robbed.app, { refresh })).resolves.toBe('accepted');
      }
      // Not only an access token was issued: the refresh token was exchanged.
      expect(robbed.events).toMatchObject(
        cases.map(({ victim }) => ({ type: 'refreshed', sessionId: victim.row['id'] })),
      );
    });

    test('forged tokens of a generation that is over revoke nothing', async () => {
      const movedOn = robbed.victims.filter(({ row }) => Number(row['generation']) > 0);
      expect(movedOn).toHaveLength(2);
      const forgeries = movedOn.flatMap((victim) =>
        forge(victim, secretsOf(guessesOf(victim.row)).slice(0, 100), [outdated(victim.row)]),
      );
      await expectRefused(robbed, byRefresh(forgeries));
      await expectUnharmed(robbed);

      // With the right secret each of them is a theft.
      for (const victim of movedOn) {
        const [refresh] = forge(victim, [victim.sessionSecret], [outdated(victim.row)]);
        await expect(answerTo(robbed.app, { refresh })).resolves.toBe('401 token_theft');
      }
    });

    test('a revoked session stays so, even for one who knows its secret', async () => {
      const { revoked } = robbed;
      const secrets = [revoked.sessionSecret, ...secretsOf(guessesOf(revoked.row))];
      expect(revoked.row).toMatchObject({ revoked_at: expect.anything(), secret_hash: '' });
      await expectRefused(robbed, byRefresh(forge(revoked, secrets)));
      const forgeries = forge(revoked, [revoked.sessionSecret], positionsOf(revoked.row, Date.now()));
      await expectRefused(robbed, byRefresh(forgeries));
      await expectUnharmed(robbed);
    });

    test('a sign-in with a forged refresh token ends no session of others', async () => {
      const victim = robbed.victims[1]!;
      const [refresh] = forge(victim, likelySecretsOf(victim.row));
      const response = await fetch(`${robbed.app.url}/login`, {
        method: 'POST',
        headers: { cookie: `${REFRESH}=${refresh}`, 'content-type': 'application/json' },
        body: JSON.stringify({ userId: 'mallory' }),
      });
      expect(response.status).toBe(200);
      expect(robbed.events.map(({ type }) => type)).toEqual(['created']);
    });

    test('a forged access token that claims to be unproven makes a thief of nobody', async () => {
      const { row, browser } = robbed.victims[1]!;
      const generation = Number(row['generation']) + 1;
      const hash = String(row['secret_hash']);
      const preimages = [
        undefined,
        '',
        hash,
        hash.slice(0, 22),
        ...likelySecretsOf(row).flatMap((each) => [each.toString('base64url'), preimageOf(each)]),
      ];
      const forgeUnproven = async (age: number, preimage: string | undefined) => {
        const gen = [generation, Date.now() - age, ...(preimage === undefined ? [] : [preimage])];
        const payload = { ...payloadFor(row, Date.now()), gen };
        return accessTokenSignedWith(keyFor('access', keys), payload);
      };
      for (const preimage of preimages) {
        // At this age its use would prove the generation.
        const access = await forgeUnproven(2 * MINUTE, preimage);
        expect(await answerTo(robbed.app, { access })).toBe('refused');
        // A young one has no more effect than any other access token that is forged with the key. It proves nothing.
        const young = await forgeUnproven(0, preimage);
        expect(['accepted', 'refused']).toContain(await answerTo(robbed.app, { access: young }));
      }
      await expectUntouched(robbed);
      pass('16m');
      expect(await browser.get('/me')).toMatchObject({ status: 200 });
    });

    test('the same token is accepted with the preimage that only a refresh token gives (control)', async () => {
      const { row, sessionSecret } = robbed.victims[1]!;
      const generation = Number(row['generation']) + 1;
      const gen = [generation, Date.now() - 2 * MINUTE, preimageOf(sessionSecret)];
      const payload = { ...payloadFor(row, Date.now()), gen };
      const access = await accessTokenSignedWith(keyFor('access', keys), payload);
      expect(await answerTo(robbed.app, { access })).toBe('accepted');
      const { user_session: rows } = await dumpOf(robbed.app.database);
      expect(rows.find(({ id }) => id === row['id'])).toMatchObject({ generation });
    });
  });
});

describe.each(databases)('the thief on $name is a good one', { timeout: 120_000 }, (kind) => {
  const start = accountApps('fastify', kind);

  test('keys that are not encrypted are found without knowing where they are', async () => {
    const robbed = await rob(start, {});
    const { row, sessionSecret } = robbed.victims[1]!;
    const guesses = guessesOf(robbed.dump);
    const { kid } = keyFor('access', await openKeys(robbed.dump));
    const accessTokens = accessTokensByHmac(payloadFor(row, Date.now()), { kid }, guesses);
    const byKey = await countAnswers(accessTokens, (access) => answerTo(robbed.app, { access }));
    expect(byKey).toEqual({ accepted: 1, refused: guesses.length - 1 });

    const keys = macKeysOf(robbed.dump, guesses);
    const choices = { positions: [newest(row, Date.now())], secrets: [sessionSecret], keys };
    const byMac = await countAnswers(refreshTokens(row, choices), (refresh) =>
      answerTo(robbed.app, { refresh }),
    );
    expect(byMac).toEqual({ accepted: 1, refused: keys.length - 1 });
  });

  test('a secret is found wherever it is, and in every spelling', async () => {
    const { dump, victims } = await rob(start, { secret: SECRET });
    const { row, sessionSecret } = victims[1]!;
    for (const encoding of ['base64url', 'base64', 'hex'] as const) {
      const text = sessionSecret.toString(encoding);
      const plain = { ...row, secret_hash: text };
      const nested = { ...row, data: JSON.stringify({ deep: [text] }) };
      for (const careless of [plain, nested]) {
        const secrets = secretsOf(guessesOf(careless));
        expect(secrets.some((secret) => secret.equals(sessionSecret))).toBe(true);
      }
    }
    expect(secretsOf(guessesOf(dump)).some((secret) => secret.equals(sessionSecret))).toBe(false);

    const careless = { ...dump, user_session: [{ ...row, data: JSON.stringify({ note: SECRET }) }] };
    await expect(openKeysByGuessing(careless, guessesOf(careless))).resolves.toHaveLength(2);
  });
});

describe.each<SigningAlgorithm>(['ES256', 'EdDSA', 'RS256'])(
  'a stolen database with %s keys',
  { timeout: 120_000 },
  (algorithm) => {
    const start = accountApps('express');

    test('signs no access tokens, with the secret it does', async () => {
      const robbed = await rob(start, { secret: SECRET, accessToken: { algorithm } });
      const { dump } = robbed;
      const payload = payloadFor(robbed.victims[1]!.row, Date.now());
      const kids = dump.user_session_key.map(({ kid }) => String(kid));
      const guesses = guessesOf(dump);
      await expect(openKeysByGuessing(dump, guesses)).resolves.toEqual([]);
      for (const kid of kids) {
        for (const alg of ['HS256', algorithm]) {
          await expectRefused(robbed, byAccess(accessTokensByHmac(payload, { kid, alg }, guesses)));
        }
      }
      await expectRefused(robbed, byAccess(accessTokensWithoutSignature(payload, kids)));
      await expectRefused(robbed, byAccess(await accessTokensWithOwnKey(payload, kids)));

      const key = keyFor('access', await openKeys(dump, SECRET));
      const access = await accessTokenSignedWith(key, payload);
      await expect(answerTo(robbed.app, { access })).resolves.toBe('accepted');
      await expectUnharmed(robbed);
    });
  },
);
