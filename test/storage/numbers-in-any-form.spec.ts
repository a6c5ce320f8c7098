import { DataSource } from 'typeorm';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SESSION_ENTITIES, SessionEntity, SessionKeyEntity } from 'nestjs-session-tokens';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { startCore } from '../support/core.js';
import { fill, row, storageOn } from './accesses.js';

/** Settings with which drivers give numbers as other types. */
const settings: Record<string, [string, object][]> = {
  postgres: [
    ['all types as text', { extra: { types: { getTypeParser: () => (text: string) => text } } }],
    ['parseInt8', { parseInt8: true }],
  ],
  mysql: [
    ['big numbers as text', { supportBigNumbers: true, bigNumberStrings: true }],
    ['all types as text', { extra: { typeCast: (field: { string: () => unknown }) => field.string() } }],
  ],
  sqlite: [
    [
      'all integers as bigint',
      {
        prepareDatabase: (connection: { defaultSafeIntegers: (on: boolean) => void }) =>
          connection.defaultSafeIntegers(true),
      },
    ],
  ],
};

describe.each(
  databases.flatMap((kind) => settings[kind.name]!.map(([name, options]) => ({ kind, name, options }))),
)('on $kind.name with $name', ({ kind, options }) => {
  let database: TestDatabase;
  let plain: DataSource;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await kind.create();
    plain = await connect(database);
    const all = { ...database.options, ...options, entities: [...SESSION_ENTITIES] };
    dataSource = await new DataSource(all).initialize();
  });
  afterEach(async () => {
    await plain.destroy();
    await dataSource.destroy();
    await database.remove();
  });

  test('numbers are numbers, of sessions and of keys', async () => {
    const storage = storageOn(dataSource);
    await fill(storage);
    expect(await storage.sessions.find('a')).toEqual(row('a'));
    const [key] = await storage.keys.findAll('access');
    expect(key).toMatchObject({ sequence: 1, activeAt: expect.any(Number), createdAt: expect.any(Number) });
    const [session] = await dataSource.getRepository(SessionEntity).findBy({ id: 'a' });
    expect(session).toMatchObject({ version: 1, generation: 1, createdAt: row('a').createdAt });
    expect(await dataSource.getRepository(SessionKeyEntity).findOneBy({ sequence: 2 })).toMatchObject({
      sequence: 2,
    });
  });

  test('sessions are rotated, kept, changed and revoked', async () => {
    const { service } = await startCore(dataSource, { reuseWindow: 0 });
    const issued = await service.tokens.issue({ userId: 1 });
    // With strict single use, a token that has just been issued is exchanged.
    const first = await service.tokens.refresh(issued.refreshToken.token);
    const { newAccessToken } = await service.tokens.verify(first.accessToken.token);
    expect(await service.tokens.verify(newAccessToken!.token)).toMatchObject({
      id: issued.session.id,
      userId: 1,
    });
    await service.tokens.refresh(first.refreshToken!.token);
    await service.updateData(issued.session.id, () => ({ n: 1 }));
    await service.updateClaims(issued.session.id, { n: 1 });
    expect(await service.revokeAllForUser(1)).toBe(1);
    // Another process reads the keys that this one has made.
    const other = await startCore(dataSource);
    const { accessToken } = await other.service.tokens.issue({ userId: 1 });
    expect(await service.tokens.verify(accessToken.token)).toMatchObject({ userId: 1 });
  });
});
