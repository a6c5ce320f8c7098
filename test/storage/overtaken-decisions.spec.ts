import { SessionEntity } from 'nestjs-session-tokens';
import { decodeJwt } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import type { SessionCore } from '../../lib/module/session.core.js';
import type { SessionRow, SessionStore } from '../../lib/storage/session.store.js';
import { databases } from '../support/databases.js';
import { startCore } from '../support/core.js';
import { MINUTE, pass, START } from '../support/time.js';
import { useWorld } from '../support/world.js';
import { storeOn } from './accesses.js';

const LATER = START + MINUTE;

/** A rotation decision is written only if the row is still as it was when the decision was made. */
describe.each(databases)('a rotation decision on $name', (kind) => {
  const world = useWorld(kind);
  let core: SessionCore;
  let store: SessionStore;
  let row: SessionRow;

  beforeEach(async () => {
    core = await startCore(world.dataSource, { accessToken: { ttl: '15m' }, reuseWindow: '10s' });
    store = storeOn(world.dataSource);
    const { session } = await core.service.tokens.issue({ userId: 'ann' });
    row = (await store.find(session.id))!;
  });

  test('is written while the row is as it was read', async () => {
    expect(await store.advance(row, { ...row, redeemedBy: 'a' }, LATER)).toBeDefined();
    expect(await store.find(row.id)).toMatchObject({ generation: 0, redeemedBy: 'a', lastSeenAt: LATER });
  });

  test('is not written once the next generation has been proven by use, which leaves no redeemer', async () => {
    const proven = { ...row, generation: 1 };
    expect(await store.advance(row, proven, LATER)).toBeDefined();
    expect(await store.advance(row, { ...row, redeemedBy: 'a' }, LATER)).toBeUndefined();
    expect(await store.revokeStolen(row)).toBe(false);
    expect(await store.find(row.id)).toMatchObject({ generation: 1, redeemedBy: null, revokedAt: null });
  });

  test('is not written once a sibling has been exchanged', async () => {
    expect(await store.advance(row, { ...row, redeemedBy: 'a' }, LATER)).toBeDefined();
    expect(await store.advance(row, { ...row, redeemedBy: 'b' }, LATER)).toBeUndefined();
    expect(await store.find(row.id)).toMatchObject({ redeemedBy: 'a' });
  });

  test('is not written once the session has been revoked', async () => {
    const ended = { id: row.id, userId: row.userId, actor: null };
    expect(await store.revoke(row.id, Date.now(), 'revoked')).toEqual(ended);
    expect(await store.advance(row, { ...row, redeemedBy: 'a' }, LATER)).toBeUndefined();
    expect(await store.revokeStolen(row)).toBe(false);
    const tombstone = {
      secretHash: '',
      revokedAt: expect.any(Number),
      revokedReason: 'revoked',
    };
    expect(await store.find(row.id)).toMatchObject(tombstone);
  });

  // The module itself also writes a mark into the row, which no decision expects.
  test('is not written once the session has been revoked by hand, in the table', async () => {
    const rows = world.dataSource.getRepository(SessionEntity);
    await rows.update(row.id, { revokedAt: Date.now() });
    expect(await store.advance(row, { ...row, redeemedBy: 'a' }, LATER)).toBeUndefined();
    expect(await store.revokeStolen(row)).toBe(false);
    expect(await store.find(row.id)).toMatchObject({ redeemedBy: null, revokedReason: null });
  });

  test.each([
    ['just issued', 0, 15 * MINUTE],
    ['half-way', 7 * MINUTE, 15 * MINUTE],
    ['at its end', 15 * MINUTE - 1, 15 * MINUTE + 10_000],
  ])(
    'to keep a token gives access tokens of the moment at which it was issued, which end with its first: %s',
    async (_, age, expiresAfter) => {
      const issuedAt = Date.now();
      const { session, refreshToken } = await core.service.tokens.issue({ userId: 'ann' });
      const before = await store.find(session.id);
      pass(age);
      const { accessToken, refreshToken: kept } = await core.service.tokens.refresh(refreshToken.token);
      expect(kept).toBeUndefined();
      expect(decodeJwt(accessToken.token)).toMatchObject({
        gen: [0, issuedAt, expect.any(String)],
        exp: (issuedAt + expiresAfter) / 1_000,
      });
      expect(await store.find(session.id)).toEqual(before);
    },
  );
});
