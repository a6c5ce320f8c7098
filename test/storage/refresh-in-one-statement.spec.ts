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
import { SessionEntity } from 'nestjs-session-tokens';
import { newSessionId } from '../../lib/protocol/session-id.js';
import {
  type SessionStore,
  type SessionDetails,
  type SessionFacts,
  type SessionRow,
} from '../../lib/storage/session.store.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { DAY, HOUR, MINUTE, SECOND } from '../support/time.js';
import { HASH, NOW, row as newRow, storeOn } from './accesses.js';

const OURS = 'aaaaaaaaaaaaaaaa';
const OTHER = 'bbbbbbbbbbbbbbbb';
const GENERATION = 5;
/** The longest time between two refreshes, by the options of the store. */
const TTL = 30 * DAY;

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

  const seen = { lastSeenAt: NOW, expiresAt: NOW + TTL };

  const redeem = async (row: SessionRow, issuedAt: number, secretHash = HASH) =>
    store.redeem({ sessionId: row.id, generation: GENERATION, issuedAt, tokenId: OURS }, secretHash, NOW);
  const prove = async ({ id }: SessionRow, secretHash = HASH) =>
    store.prove({ id, secretHash }, GENERATION, NOW);

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

  const percent = TTL / 100;

  test.each<[string, Partial<SessionRow>, number]>([
    ['by more than one per cent', { expiresAt: NOW + TTL - percent - 1 }, NOW + TTL],
    ['by one per cent', { expiresAt: NOW + TTL - percent }, NOW + TTL],
    ['not by less', { expiresAt: NOW + TTL - percent + 1 }, NOW + TTL - percent + 1],
    ['not by nothing', { expiresAt: NOW + TTL }, NOW + TTL],
    ['not to a little less', { expiresAt: NOW + TTL + percent - 1 }, NOW + TTL + percent - 1],
    ['to less, where the options allow less now', { expiresAt: NOW + 2 * TTL }, NOW + TTL],
    ['by its own idle time', { idleTtl: HOUR, expiresAt: NOW + 1 }, NOW + HOUR],
    ['by one per cent of its own', { idleTtl: HOUR, expiresAt: NOW + HOUR - 36_000 }, NOW + HOUR],
    ['not by less of its own', { idleTtl: HOUR, expiresAt: NOW + HOUR - 35_999 }, NOW + HOUR - 35_999],
    ['by its own that is longer', { idleTtl: 100 * DAY }, NOW + 100 * DAY],
    ['up to its end', { endsAt: NOW + 20 * DAY }, NOW + 20 * DAY],
    ['up to its end, though idle for less', { idleTtl: HOUR, endsAt: NOW + 10 * MINUTE }, NOW + 10 * MINUTE],
    ['up to the end by the options', { idleTtl: 365 * DAY, endsAt: NOW + 999 * DAY }, NOW + 365 * DAY],
  ])('moves the expiry %s', async (_, more, expiresAt) => {
    const times = { createdAt: NOW, lastSeenAt: NOW - MINUTE, ...more };
    const refreshed = await insert(redeemable, times);
    const proven = await insert(provable, times);
    const advanced = await insert(redeemable, times);
    expect(await redeem(refreshed, NOW)).toMatchObject({ expiresAt });
    expect(await prove(proven)).toMatchObject({ expiresAt });
    // The same without the one statement, as on MySQL.
    expect(await store.advance(advanced, { generation: GENERATION, redeemedBy: OURS }, NOW)).toMatchObject({
      expiresAt,
    });
    const rows = dataSource.getRepository(SessionEntity);
    for (const { id } of [refreshed, proven, advanced]) {
      expect(await rows.findOneBy({ id })).toMatchObject({
        generation: GENERATION,
        lastSeenAt: NOW,
        expiresAt,
      });
    }
  });
});

function detailsOf({
  data,
  createdAt,
  lastSeenAt,
  label,
  userAgent,
  ip,
  ...row
}: SessionRow): SessionDetails {
  return { ...factsOf(row as SessionRow), data, createdAt, lastSeenAt, label, userAgent, ip };
}

function factsOf({ id, userId, claims, expiresAt, remember, authTime, amr }: SessionRow): SessionFacts {
  return { id, userId, claims, expiresAt, remember, authTime, amr };
}

/** How often each verdict was given. */
function count(verdicts: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const verdict of verdicts) counts[verdict] = (counts[verdict] ?? 0) + 1;
  return counts;
}
