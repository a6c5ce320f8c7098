import type { DataSource } from 'typeorm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  NotBeforeEntity,
  SessionEntity,
  SessionKeyEntity,
  StorageUnavailableError,
} from 'nestjs-session-tokens';
import { NOT_BEFORE_SQL } from '../../lib/storage/not-before.sql.js';
import { KEY_SQL } from '../../lib/storage/key.sql.js';
import { revocationSql, SESSION_SQL } from '../../lib/storage/session.sql.js';
import { Statements } from '../../lib/storage/statements.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { QueryLog } from '../support/query-log.js';
import { clear, NOW, row, type Storage, storageOn } from './accesses.js';

/** The names of a text's placeholders. */
const placeholders = (text: string) => [...new Set(text.match(/:\w+/g))].map((name) => name.slice(1));

describe.each(databases)('statements on $name', (kind) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let statements: Statements<SessionEntity>;
  let storage: Storage;
  const log = new QueryLog();

  beforeAll(async () => {
    database = await kind.create();
    const options = { ...database.options, poolSize: 1, logging: true, logger: log };
    dataSource = await connect({ ...database, options: options as TestDatabase['options'] });
    statements = new Statements(dataSource, SessionEntity);
    storage = storageOn(dataSource);
  });
  afterEach(async () => clear(dataSource));
  afterAll(async () => {
    await dataSource.destroy();
    await database.remove();
  });

  const insert = async (count: number) => {
    const ids = Array.from({ length: count }, (_, n) => `s-${n}`);
    for (const id of ids) await storage.sessions.insert(row(id));
    return ids;
  };

  test.each([
    'SELECT {idd} FROM {}',
    'SELECT {* of id, idd} FROM {}',
    'DELETE FROM {} WHERE {idd} = :id',
    'DELETE FROM {} WHERE {idd} IN (:ids...)',
  ])('do not come to be with a property that there is not: %s', (text) => {
    expect(() => statements.prepare({ text })).toThrow('The entity SessionEntity has no property "idd".');
  });

  const lacks = [
    { entity: SessionEntity, texts: { ...SESSION_SQL, ...revocationSql(kind.name !== 'mysql') } },
    { entity: SessionKeyEntity, texts: KEY_SQL },
    { entity: NotBeforeEntity, texts: NOT_BEFORE_SQL },
  ].flatMap(({ entity, texts }) =>
    Object.entries(texts).flatMap(([name, text]) =>
      placeholders(text).map((missing) => ({ entity, name, text, missing })),
    ),
  );

  test.each(lacks)('"$name" does not run without ":$missing"', async ({ name, text, entity, missing }) => {
    const { [name]: run } = new Statements<object>(dataSource, entity).prepare({ [name]: text });
    const given = placeholders(text).filter((each) => each !== missing);
    const values = Object.fromEntries(given.map((each) => [each, each === 'ids' ? ['a'] : 1]));
    log.take();
    for (const wrong of [values, { ...values, [missing]: undefined }]) {
      const lack = new RegExp(`^The statement "${name}" lacks a value for ":${missing}(_0)?"`);
      await expect(run!(wrong)).rejects.toMatchObject({
        cause: { message: expect.stringMatching(lack) as string },
      });
    }
    expect(log.take()).toEqual([]);
  });

  test('do not run with an empty list', async () => {
    const { gone } = statements.prepare({ gone: SESSION_SQL.removeExpired });
    await expect(gone({ ids: [], now: 1 })).rejects.toMatchObject({
      cause: { message: 'The statement "gone" lacks a value for ":ids_0".' },
    });
  });

  test('write NULL where that is the value', async () => {
    await storage.sessions.insert(row('a', { redeemedBy: 't' }));
    const { forget } = statements.prepare({ forget: 'UPDATE {} SET {redeemedBy} = :by WHERE {id} = :id' });
    expect(await forget({ by: null, id: 'a' })).toMatchObject({ affected: 1 });
    expect(await storage.sessions.find('a')).toMatchObject({ redeemedBy: null });
  });

  test('that lack a value say so to whoever asks for a session, and no row is written', async () => {
    const incomplete = { ...row('a'), userAgent: undefined as unknown as null };
    const error: unknown = await storage.sessions.insert(incomplete).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect((error as Error).cause).toMatchObject({
      message: 'The statement "insert" lacks a value for ":userAgent".',
    });
    expect(await storage.sessions.find('a')).toBeNull();
  });

  test.each([1, 2, 3, 4, 5, 7, 8, 9])('name a list of %i, and nothing else', async (length) => {
    const ids = await insert(10);
    const { some } = statements.prepare({ some: 'SELECT {* of id} FROM {} WHERE {id} IN (:ids...)' });
    const asked = ids.slice(1, 1 + length);
    const { rows } = await some({ ids: asked });
    expect(rows.map(({ id }) => id).toSorted()).toEqual(asked);
  });

  test('of many lengths are few texts', async () => {
    const { some } = statements.prepare({ some: 'SELECT {* of id} FROM {} WHERE {id} IN (:ids...)' });
    log.take();
    for (let length = 1; length <= 40; length++) await some({ ids: Array(length).fill('a') });
    // 1, 2, 4, 8, 16, 32, 64
    expect(new Set(log.take('SELECT')).size).toBe(7);
  });

  test.each([0, 1, 513, 1_100])('revoke %i sessions, and no other', async (count) => {
    const ids = await insert(count + 3);
    await storage.sessions.revoke(ids[0]!, NOW, 'revoked');
    const asked = ids.slice(0, count);
    const ended = await storage.sessions.revokeMany(asked, NOW, 'revoked');
    expect(ended.map(({ id }) => id).toSorted()).toEqual(asked.slice(1).toSorted());
    expect((await storage.sessions.findPageForUser('ann', NOW, 10)).rows).toHaveLength(count === 0 ? 2 : 3);
  });

  test.each([1, 7, 10_000])('remove what has expired in batches of %i', async (batch) => {
    const ids = await insert(20);
    await storage.sessions.insert(row('live', { expiresAt: NOW + 7_200_000 }));
    expect(await storage.sessions.removeExpired(NOW + 3_600_001, batch)).toBe(ids.length);
    expect(await storage.sessions.find('live')).not.toBeNull();
  });

  test('leave nothing of a revoked session but that it was, and whose', async () => {
    for (const id of ['a', 'b', 'c', 'd']) {
      await storage.sessions.insert(
        row(id, {
          claims: { role: 'admin' },
          data: [1],
          label: 'l',
          userAgent: 'x',
          ip: '::1',
          redeemedBy: 't',
        }),
      );
    }
    const { sessions } = storage;
    await sessions.revoke('a', NOW, 'revoked');
    await sessions.revoke('b', NOW, 'replaced', row('b').secretHash);
    await sessions.revokeStolen((await sessions.find('c'))!);
    await sessions.revokeMany(['d'], NOW, 'revoked');
    for (const [id, revokedReason] of [
      ['a', 'revoked'],
      ['b', 'replaced'],
      ['c', 'theft'],
      ['d', 'revoked'],
    ] as const) {
      expect(await sessions.find(id)).toEqual({
        ...row(id, {
          secretHash: '',
          claims: null,
          data: null,
          redeemedBy: expect.stringMatching(/^[0-9a-z]{16}$/),
        }),
        revokedAt: NOW,
        revokedReason,
        expiresAt: NOW + 3_600_000,
      });
    }
  });
});
