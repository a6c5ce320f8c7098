import { decodeJwt } from 'jose';
import type { DataSource } from 'typeorm';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { SessionCore } from '../../lib/session.core.js';
import { SessionStore, type SessionRow } from '../../lib/storage/session.store.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { startCore } from '../support/services.js';

/** What a rotation decision writes holds only for the row that it was made on. */
describe.each(databases)('a rotation decision on $name', (kind) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let core: SessionCore;
  let store: SessionStore;
  let row: SessionRow;
  const times = { lastSeenAt: 1, expiresAt: 9_999_999_999_999 };

  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    database = await kind.create();
    dataSource = await connect(database);
    core = await startCore(dataSource, { accessToken: { ttl: '15m' }, reuseWindow: '10s' });
    store = new SessionStore(dataSource, 60_000);
    const { session } = await core.service.issue({ userId: 'ann' });
    row = (await store.find(session.id))!;
  });

  afterEach(async () => {
    vi.useRealTimers();
    await dataSource.destroy();
    await database.remove();
  });

  test('is written while the row is as it was read', async () => {
    expect(await store.advance(row, { ...row, redeemedBy: 'a' }, times)).toBe(true);
    expect(await store.find(row.id)).toMatchObject({ generation: 0, redeemedBy: 'a', lastSeenAt: 1 });
  });

  test('is not written once the next generation has been proven by use, which leaves no redeemer', async () => {
    const proven = { ...row, generation: 1 };
    expect(await store.advance(row, proven, times)).toBe(true);
    expect(await store.advance(row, { ...row, redeemedBy: 'a' }, times)).toBe(false);
    expect(await store.revokeUnchanged(row, Date.now())).toBe(false);
    expect(await store.find(row.id)).toMatchObject({ generation: 1, redeemedBy: null, revokedAt: null });
  });

  test('is not written once a sibling has been exchanged', async () => {
    expect(await store.advance(row, { ...row, redeemedBy: 'a' }, times)).toBe(true);
    expect(await store.advance(row, { ...row, redeemedBy: 'b' }, times)).toBe(false);
    expect(await store.find(row.id)).toMatchObject({ redeemedBy: 'a' });
  });

  test('is not written once the session has been revoked', async () => {
    expect(await store.revoke(row.id, Date.now())).toBe(true);
    expect(await store.advance(row, { ...row, redeemedBy: 'a' }, times)).toBe(false);
    expect(await store.revokeUnchanged(row, Date.now())).toBe(false);
    const tombstone = { redeemedBy: null, secretHash: '', revokedAt: expect.any(Number) };
    expect(await store.find(row.id)).toMatchObject(tombstone);
  });

  test('to keep a token gives access tokens of the moment at which that token was issued', async () => {
    const issuedAt = Date.now();
    const { refreshToken } = await core.service.issue({ userId: 'ann' });
    vi.setSystemTime(issuedAt + 19_999);
    const { accessToken, refreshToken: kept } = await core.service.refresh(refreshToken.token);
    expect(kept).toBeUndefined();
    expect(decodeJwt(accessToken.token)['gen']).toEqual([0, issuedAt, expect.any(String)]);
  });
});
