import { SessionError, type SessionService } from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { accountApps } from '../http/account-app.js';

/** What comes from JSON bodies and URLs where tokens, ids and user ids are expected. */
const JUNK: unknown[] = [
  undefined,
  null,
  '',
  'nope',
  5,
  Number.NaN,
  true,
  {},
  [],
  ['a'],
  { toString: () => 'a' },
  Symbol('a'),
  () => 'a',
  'a.b.c',
  '\u0000',
  'x'.repeat(100_000),
];

type Call = (sessions: SessionService, junk: never) => unknown;

/** What each call answers: the code of an error, or a value. */
const CALLS: Record<string, [call: Call, answer: unknown]> = {
  'tokens.verify': [({ tokens }, junk) => tokens.verify(junk), 'try_refresh'],
  'tokens.refresh': [({ tokens }, junk) => tokens.refresh(junk), 'session_over'],
  'tokens.issue': [({ tokens }, junk) => tokens.issue(junk), 'invalid_user_id'],
  revoke: [(sessions, junk) => sessions.revoke(junk), false],
  revokeMany: [(sessions, junk) => sessions.revokeMany(junk), 0],
  'revokeMany of a list': [(sessions, junk) => sessions.revokeMany([junk, junk]), 0],
  find: [(sessions, junk) => sessions.find(junk), null],
  updateData: [(sessions, junk) => sessions.updateData(junk, {}), 'session_not_found'],
  updateClaims: [(sessions, junk) => sessions.updateClaims(junk, {}), 'session_not_found'],
  'updateClaims by a function': [
    (sessions, junk) => sessions.updateClaims(junk, (present) => present),
    'session_not_found',
  ],
};

const describeJunk = (junk: unknown) => `${typeof junk} ${(JSON.stringify(junk) ?? '').slice(0, 20)}`;

describe('junk', () => {
  const start = accountApps('express');

  it.each(Object.entries(CALLS))(
    'is answered like any other that is unknown: %s',
    async (_, [call, answer]) => {
      const { sessions } = await start();
      const answers = await Promise.all(
        JUNK.map(async (junk) => {
          try {
            return [describeJunk(junk), await call(sessions, junk as never)];
          } catch (error) {
            return [describeJunk(junk), error instanceof SessionError ? error.code : error];
          }
        }),
      );
      expect(answers).toEqual(JUNK.map((junk) => [describeJunk(junk), answer]));
    },
  );

  it('beside a refresh token is none of its business', async () => {
    const { sessions } = await start();
    for (const junk of [null, {}, { lookedAgain: 5 }, { lookedAgain: null }]) {
      const { refreshToken } = await sessions.tokens.issue({ userId: 1 });
      await expect(sessions.tokens.refresh(refreshToken.token, junk as never)).resolves.toBeDefined();
    }
  });

  it('is no user id', async () => {
    const { sessions } = await start();
    for (const id of [undefined, null, '', Number.NaN, 1.5, true, {}, [], Symbol('a')] as never[]) {
      await expect(sessions.findAllForUser(id)).rejects.toMatchObject({ code: 'invalid_user_id' });
      await expect(sessions.revokeAllForUser(id)).rejects.toMatchObject({ code: 'invalid_user_id' });
    }
  });
});
