import type { DataSource } from 'typeorm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  decideRefresh,
  decideUse,
  isKept,
  isYoung,
  type RotationState,
  type RotationTimes,
} from '../../lib/protocol/rotation.js';
import { newSessionId } from '../../lib/protocol/session-id.js';
import {
  type ExpirySlide,
  type SessionStore,
  type SessionDetails,
  type SessionFacts,
  type SessionRow,
} from '../../lib/storage/session.store.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { HOUR, SECOND } from '../support/time.js';
import { HASH, NOW, row as newRow, storeOn } from './accesses.js';

const OURS = 'aaaaaaaaaaaaaaaa';
const OTHER = 'bbbbbbbbbbbbbbbb';
const GENERATION = 5;

/** Every state of a row relative to a token of {@link GENERATION}: far behind it, equal, far ahead. */
const states: RotationState[] = [0, 1, 3, 4, 5, 6, 7, 500].flatMap((generation) =>
  [null, OURS, OTHER].map((redeemedBy) => ({ generation, redeemedBy })),
);

const window: RotationTimes = { reuseWindow: 90 * SECOND, ttl: 900 * SECOND, jitter: 0, delay: 10 * SECOND };
const strict: RotationTimes = { ...window, reuseWindow: 0 };

/** Tokens that are neither kept nor young. Only for these the database is asked. */
const cases: [string, RotationTimes, number][] = [
  ['a reuse window, and a token that has just become due', window, NOW - window.ttl],
  ['a reuse window, and an old token', window, NOW - 500 * HOUR],
  ['a reuse window, and a token of a clock that was wrong', window, NOW + HOUR],
  ['strict single use, and a token just issued', strict, NOW],
  ['strict single use, and an old token', strict, NOW - 500 * HOUR],
];

/**
 * The SQL of `redeem` and `prove` contains the rotation rules again. For every row it must decide like the pure functions.
 */
describe.each(databases.filter(({ name }) => name !== 'mysql'))('in one statement on $name', (kind) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let store: SessionStore;

  beforeAll(async () => {
    database = await kind.create();
    dataSource = await connect(database);
    store = storeOn(dataSource);
    expect(store.hasReturning).toBe(true);
  });
  afterAll(async () => {
    await dataSource.destroy();
    await database.remove();
  });

  async function insert(state: RotationState, more: Partial<SessionRow> = {}): Promise<SessionRow> {
    const inserted = newRow(newSessionId(NOW), { claims: { role: 'admin' }, ...state, ...more });
    await store.insert(inserted);
    return inserted;
  }

  const slide: ExpirySlide = { target: NOW + 2 * HOUR, gain: HOUR };
  const seen = { lastSeenAt: NOW, expiresAt: NOW + 2 * HOUR };

  const redeem = async (row: SessionRow, issuedAt: number, secretHash = HASH, by = slide) =>
    store.redeem({ sessionId: row.id, generation: GENERATION, issuedAt, tokenId: OURS }, secretHash, by, NOW);
  const prove = async ({ id }: SessionRow, secretHash = HASH, by = slide) =>
    store.prove({ id, secretHash }, GENERATION, by, NOW);

  describe.each(cases)('with %s', (_, times, issuedAt) => {
    test('a refresh writes what the rules say of every row, or nothing', async () => {
      const token = { generation: GENERATION, issuedAt, tokenId: OURS };
      expect(isKept(token, NOW, times)).toBe(false);
      for (const state of states) {
        const row = await insert(state);
        const decision = decideRefresh(state, token, NOW, times);
        const after = decision.verdict === 'rotate' ? { ...row, ...decision.next, ...seen } : undefined;
        expect(await redeem(row, issuedAt), `row ${JSON.stringify(state)}`).toEqual(
          after && detailsOf(after),
        );
        expect(await store.find(row.id), `row ${JSON.stringify(state)}`).toEqual(after ?? row);
      }
    });

    test('a proof writes what the rules say of every row, or nothing', async () => {
      const unproven = { generation: GENERATION, issuedAt };
      expect(isYoung(unproven, NOW, times)).toBe(false);
      for (const state of states) {
        const row = await insert(state);
        const decision = decideUse(state, unproven);
        const next = decision.verdict === 'prove' ? decision.next : state;
        const after = decision.verdict === 'stale' ? undefined : { ...row, ...next, ...seen };
        expect(await prove(row), `row ${JSON.stringify(state)}`).toEqual(after && factsOf(after));
        expect(await store.find(row.id), `row ${JSON.stringify(state)}`).toEqual(after ?? row);
      }
    });
  });

  test('the states are of every kind, and what is issued is always of the generation after the token’s', () => {
    const token = { generation: GENERATION, issuedAt: NOW, tokenId: OURS };
    const issued = states.flatMap((state) => {
      const decision = decideRefresh(state, token, NOW, strict);
      return decision.verdict === 'rotate' ? [decision.generation] : [];
    });
    expect(issued).toEqual(Array(14).fill(GENERATION + 1));
    expect(count(states.map((state) => decideRefresh(state, token, NOW, strict).verdict))).toEqual({
      old: 10,
      rotate: 14,
    });
    expect(count(states.map((state) => decideUse(state, token).verdict))).toEqual({
      accept: 3,
      prove: 12,
      stale: 9,
    });
  });

  const redeemable: RotationState = { generation: GENERATION, redeemedBy: null };
  const provable: RotationState = { generation: GENERATION - 1, redeemedBy: OTHER };

  test.each<[string, Partial<SessionRow>, string]>([
    ['has another secret', {}, 'x'.repeat(43)],
    ['was revoked', { revokedAt: NOW - 1 }, HASH],
    ['was revoked, and says nothing of its secret', { revokedAt: NOW - 1, secretHash: '' }, ''],
    ['has just expired', { expiresAt: NOW }, HASH],
    ['has expired long ago', { expiresAt: NOW - HOUR }, HASH],
  ])('writes nothing where the session %s', async (_, more, secretHash) => {
    for (const state of [redeemable, provable]) {
      const row = await insert(state, more);
      expect(await redeem(row, NOW, secretHash)).toBeUndefined();
      expect(await prove(row, secretHash)).toBeUndefined();
      expect(await store.find(row.id)).toEqual(row);
    }
  });

  test('writes nothing where there is no such session, and nothing of another one', async () => {
    const row = await insert(redeemable);
    const gone = { ...row, id: newSessionId(NOW) };
    expect(await redeem(gone, NOW)).toBeUndefined();
    expect(await prove(gone)).toBeUndefined();
    expect(await store.find(row.id)).toEqual(row);
  });

  test.each<[string, ExpirySlide, number]>([
    ['more than that', { target: NOW + HOUR + 11, gain: 10 }, NOW + HOUR + 11],
    ['just that', { target: NOW + HOUR + 10, gain: 10 }, NOW + HOUR + 10],
    ['less than that', { target: NOW + HOUR + 9, gain: 10 }, NOW + HOUR],
    ['nothing', { target: NOW + HOUR, gain: 10 }, NOW + HOUR],
    ['a little less than nothing', { target: NOW + HOUR - 9, gain: 10 }, NOW + HOUR],
    ['to less, as the options allow less now', { target: NOW + 1, gain: 10 }, NOW + 1],
  ])('moves the expiry only when that changes enough: %s', async (_, near, expiresAt) => {
    const refreshed = await insert(redeemable);
    expect(await redeem(refreshed, NOW, HASH, near)).toMatchObject({ expiresAt });
    const proven = await insert(provable);
    expect(await prove(proven, HASH, near)).toMatchObject({ expiresAt });
    for (const { id } of [refreshed, proven]) {
      expect(await store.find(id)).toMatchObject({ generation: GENERATION, lastSeenAt: NOW, expiresAt });
    }
  });
});

function detailsOf({ data, createdAt, lastSeenAt, userAgent, ip, ...row }: SessionRow): SessionDetails {
  return { ...factsOf(row as SessionRow), data, createdAt, lastSeenAt, userAgent, ip };
}

function factsOf({ id, userId, claims, expiresAt }: SessionRow): SessionFacts {
  return { id, userId, claims, expiresAt };
}

/** How often each verdict was given. */
function count(verdicts: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const verdict of verdicts) counts[verdict] = (counts[verdict] ?? 0) + 1;
  return counts;
}
