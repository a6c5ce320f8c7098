import type { DataSource } from 'typeorm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decideRefresh, isKept, type RotationState } from '../../lib/rotation/rotation.js';
import { newSessionId } from '../../lib/session/session-id.js';
import { SessionStore, type SessionRow } from '../../lib/storage/session.store.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';

const NOW = Date.UTC(2030, 0, 1);
const HOUR = 3_600_000;
const HASH = 'h'.repeat(43);
const OURS = 'aaaaaaaaaaaaaaaa';
const OTHER = 'bbbbbbbbbbbbbbbb';
const GENERATION = 5;

const states: RotationState[] = [3, 4, 5, 6, 7].flatMap((generation) =>
  [-21, -11, -10, -1, 0, 1, 10, 11].flatMap((apart) =>
    [null, OURS, OTHER].flatMap((redeemedBy) =>
      [null, OURS].map((previousRedeemedBy) => ({
        generation,
        generationIssuedAt: NOW - HOUR + apart,
        redeemedBy,
        previousRedeemedBy,
      })),
    ),
  ),
);

/** An exchange in one statement has rules of its own in SQL: they have to be those of the pure function, for every row. */
describe.each(databases.filter(({ name }) => name !== 'mysql'))(
  'a refresh in one statement on $name',
  (kind) => {
    let database: TestDatabase;
    let dataSource: DataSource;
    let store: SessionStore;

    beforeAll(async () => {
      database = await kind.create();
      dataSource = await connect(database);
      store = new SessionStore(dataSource, 60_000);
    });
    afterAll(async () => {
      await dataSource.destroy();
      await database.remove();
    });

    async function insert(state: RotationState, more: Partial<SessionRow> = {}): Promise<SessionRow> {
      const row: SessionRow = {
        id: newSessionId(NOW),
        userId: 'ann',
        secretHash: HASH,
        claims: {},
        data: {},
        version: 1,
        createdAt: NOW - HOUR,
        lastSeenAt: NOW - HOUR,
        expiresAt: NOW + HOUR,
        revokedAt: null,
        userAgent: null,
        ip: null,
        ...state,
        ...more,
      };
      await store.insert(row);
      return row;
    }

    const token = { generation: GENERATION, issuedAt: NOW - HOUR, tokenId: OURS };
    const slide = { target: NOW + 2 * HOUR, gain: HOUR };

    test.each([0, 10])('writes what the rules say, or nothing: reuse window %i', async (reuseWindow) => {
      expect(store.hasReturning).toBe(true);
      expect(isKept(token, NOW, reuseWindow)).toBe(false);
      let written = 0;
      for (const state of states) {
        const row = await insert(state);
        const decision = decideRefresh(state, token, NOW, reuseWindow);
        const result = await store.redeem({ ...token, sessionId: row.id }, HASH, reuseWindow, slide, NOW);
        const isWritten = decision.verdict === 'rotate' && decision.next !== undefined;
        const after = isWritten
          ? { ...row, ...decision.next, lastSeenAt: NOW, expiresAt: NOW + 2 * HOUR }
          : row;
        expect(result).toEqual(isWritten ? after : undefined);
        expect(await store.find(row.id)).toEqual(after);
        // What is issued then is of the generation after the token's, whichever of the two rules it was.
        if (isWritten && decision.generation === GENERATION + 1) written++;
      }
      expect(written).toBe(reuseWindow === 0 ? 50 : 58);
    });

    const redeemable: RotationState = {
      generation: GENERATION,
      generationIssuedAt: token.issuedAt,
      redeemedBy: null,
      previousRedeemedBy: null,
    };

    test.each<[string, Partial<SessionRow>, string]>([
      ['has another secret', {}, 'x'.repeat(43)],
      ['was revoked', { revokedAt: NOW - 1 }, HASH],
      ['has expired', { expiresAt: NOW }, HASH],
    ])('writes nothing where the session %s', async (_, more, secretHash) => {
      const row = await insert(redeemable, more);
      const sessionToken = { ...token, sessionId: row.id };
      expect(await store.redeem(sessionToken, secretHash, 10, slide, NOW)).toBeUndefined();
      expect(await store.find(row.id)).toEqual(row);
    });

    test('moves the expiry only when that gains enough', async () => {
      const row = await insert(redeemable);
      const near = { target: NOW + HOUR + 9, gain: 10 };
      const after = await store.redeem({ ...token, sessionId: row.id }, HASH, 10, near, NOW);
      expect(after).toMatchObject({ expiresAt: NOW + HOUR, redeemedBy: OURS });
    });
  },
);
