import { describe, expect, test } from 'vitest';
import { databases } from '../support/databases.js';
import { pass, TTL } from '../support/time.js';
import { type Instance, useWorld } from '../support/world.js';

/** Where the layout of a refresh token has the secret of its session, in bytes. */
const SECRET = [39, 55] as const;
const SESSIONS = 200;

const secretOf = (token: string) => Buffer.from(token, 'base64url').subarray(...SECRET);

async function issue({ service }: Instance) {
  return Promise.all(Array.from({ length: SESSIONS }, async () => service.tokens.issue({ userId: 'ann' })));
}

describe('the tokens of 200 sessions of one user that begin at the same moment', () => {
  const world = useWorld(databases[0]!);

  test('are all different, and so are those of their refreshes', async () => {
    const [one] = (await world.start(1)) as [Instance];
    const issued = await issue(one);
    pass(TTL);
    const refreshed = await Promise.all(
      issued.map(async ({ refreshToken }) => one.service.tokens.refresh(refreshToken.token)),
    );
    const all = [...issued, ...refreshed].flatMap(({ accessToken, refreshToken }) => [
      accessToken.token,
      refreshToken!.token,
    ]);
    expect(new Set(all).size).toBe(4 * SESSIONS);
  });

  test('have a secret of 128 bits, each of them random, which no access token tells', async () => {
    const [one] = (await world.start(1)) as [Instance];
    const issued = await issue(one);
    const secrets = issued.map(({ refreshToken }) => secretOf(refreshToken.token));
    const numbers = secrets.map((secret) => BigInt(`0x${secret.toString('hex')}`));
    expect(new Set(numbers).size).toBe(SESSIONS);
    const varying = numbers.reduce((a, b) => a | b) ^ numbers.reduce((a, b) => a & b);
    expect(varying.toString(2).replaceAll('0', '')).toHaveLength(128);
    // Bits that did not depend on chance would be set more often than in half of the sessions, or less often.
    const ones = Array.from(
      { length: 128 },
      (_, bit) => numbers.filter((number) => (number >> BigInt(bit)) & 1n).length,
    );
    expect(Math.min(...ones)).toBeGreaterThan(SESSIONS * 0.2);
    expect(Math.max(...ones)).toBeLessThan(SESSIONS * 0.8);

    for (const [n, { accessToken }] of issued.entries()) {
      const payload = Buffer.from(accessToken.token.split('.')[1]!, 'base64url').toString();
      for (const encoding of ['hex', 'base64url'] as const) {
        expect(payload).not.toContain(secrets[n]!.toString(encoding));
      }
    }
  });
});
