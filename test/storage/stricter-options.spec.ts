import { describe, expect, test } from 'vitest';
import type { IssuedSession, SessionError, SessionService } from 'nestjs-session-tokens';
import { databases } from '../support/databases.js';
import { DAY, HOUR, MINUTE, pass, TTL } from '../support/time.js';
import { insist, useWorld } from '../support/world.js';

/** When the session is used under the first options, after the sign-in. */
const USED = HOUR;

/** Options under which a row is written, stricter ones after a restart, and how long after its use the session ends by these. */
const cases: [string, object, object, number][] = [
  ['refreshToken.ttl', { ttl: '30d' }, { ttl: '1d' }, DAY],
  ['absoluteTtl', { ttl: '30d', absoluteTtl: '90d' }, { ttl: '2h', absoluteTtl: '2h' }, 2 * HOUR - USED],
];

describe.each(databases)('a session on $name from before', (kind) => {
  const world = useWorld(kind);

  const setUp = async (before: object, after: object) => {
    const old = await world.process({ refreshToken: before });
    const { refreshToken } = await old.tokens.issue({ userId: 1, data: { cart: 1 } });
    // The absolute limit counts from the sign-in, the other one from here.
    pass(USED);
    const used = await old.tokens.refresh(refreshToken.token);
    return {
      issued: { ...used, refreshToken: used.refreshToken! },
      now: await world.process({ refreshToken: after }),
    };
  };

  test.each(cases)('%s was lowered goes on within the new limit', async (_, before, after, end) => {
    const { issued, now } = await setUp(before, after);
    pass(end - 1);
    expect(await now.find(issued.session.id)).not.toBeNull();
    expect((await now.findAllForUser(1)).sessions).toHaveLength(1);
    await now.updateData(issued.session.id, { cart: 2 });
    const refreshed = await now.tokens.refresh(issued.refreshToken.token);
    // No token outlives the session.
    const { expiresAt } = (await now.find(issued.session.id))!;
    expect(refreshed.accessToken.expiresAt.getTime()).toBeLessThanOrEqual(expiresAt.getTime() + 999);
  });

  /** What is tried with the session, and the result. */
  const outcomes: [string, (now: SessionService, issued: IssuedSession) => Promise<unknown>, unknown][] = [
    ['not found', async (now, { session }) => now.find(session.id), null],
    ['not listed', async (now) => now.findAllForUser(1), { sessions: [], next: null }],
    [
      'not refreshed',
      async (now, { refreshToken }) => codeOf(now.tokens.refresh(refreshToken.token)),
      'look_again',
    ],
    [
      'over for who insists',
      async (now, { refreshToken }) => codeOf(insist(now, refreshToken.token)),
      'session_over',
    ],
    [
      'not updated',
      async (now, { session }) => [
        await codeOf(now.updateData(session.id, {})),
        await codeOf(now.updateData(session.id, () => ({}))),
        await codeOf(now.updateClaims(session.id, {})),
      ],
      Array(3).fill('session_not_found'),
    ],
    // Its access token may still be accepted.
    ['revoked, as long as its row is there', async (now, { session }) => now.revoke(session.id), true],
    ['revoked with all of its user', async (now) => now.revokeAllForUser(1), 1],
  ];
  const table = cases.flatMap((each) =>
    outcomes.map(([what, attempt, result]) => ({ option: each[0], what, each, attempt, result })),
  );

  test.each(table)(
    '$option was lowered is $what after the new limit',
    async ({ each: [, before, after, end], attempt, result }) => {
      const { issued, now } = await setUp(before, after);
      pass(end);
      expect(await attempt(now, issued)).toEqual(result);
    },
  );

  test('absoluteTtl was lowered is not proven after the new limit', async () => {
    const old = await world.process();
    const { refreshToken } = await old.tokens.issue({ userId: 1 });
    pass(2 * HOUR - 5 * MINUTE);
    const { accessToken } = await old.tokens.refresh(refreshToken.token);
    const now = await world.process({ refreshToken: { ttl: '2h', absoluteTtl: '2h' } });
    pass(4 * MINUTE);
    const { newAccessToken } = await now.tokens.verify(accessToken.token);
    expect(newAccessToken!.expiresAt.getTime()).toBe(Date.now() + MINUTE);
    pass(MINUTE);
    await expect(now.tokens.verify(accessToken.token)).rejects.toMatchObject({ code: 'session_over' });
  });

  test('refreshToken.ttl was lowered, and in use, lives by the new one', async () => {
    const { issued, now } = await setUp({ ttl: '30d' }, { ttl: '1d' });
    let token = issued.refreshToken;
    for (let day = 0; day < 3; day++) {
      pass(DAY - TTL);
      const next = await now.tokens.refresh(token.token);
      token = next.refreshToken!;
      expect(token.expiresAt.getTime()).toBeLessThanOrEqual(Date.now() + DAY);
    }
    pass(DAY);
    expect(await now.find(issued.session.id)).toBeNull();
  });
});

async function codeOf(attempt: Promise<unknown>): Promise<unknown> {
  return attempt.catch(({ code }: SessionError) => code);
}
