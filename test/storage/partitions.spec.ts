import { readFileSync } from 'node:fs';
import type { DataSource } from 'typeorm';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { startCore } from '../support/core.js';

const PARTITIONS = 8;

/** Distributes an empty table of sessions over partitions, as docs/scale.md says. SQLite has no partitions. */
const partition: Readonly<Record<string, (dataSource: DataSource) => Promise<unknown>>> = {
  mysql: async (dataSource) =>
    dataSource.query(`ALTER TABLE user_session PARTITION BY KEY (id) PARTITIONS ${PARTITIONS}`),

  async postgres(dataSource) {
    const indexes = await dataSource.query<{ indexdef: string }[]>(
      "SELECT indexdef FROM pg_indexes WHERE tablename = 'user_session'",
    );
    await dataSource.query('ALTER TABLE user_session RENAME TO unpartitioned');
    await dataSource.query(
      'CREATE TABLE user_session (LIKE unpartitioned, PRIMARY KEY (id)) PARTITION BY HASH (id)',
    );
    await dataSource.query('DROP TABLE unpartitioned');
    for (const { indexdef } of indexes.filter(({ indexdef: text }) => !text.includes(' UNIQUE '))) {
      await dataSource.query(indexdef);
    }
    for (let n = 0; n < PARTITIONS; n++) {
      const values = `WITH (MODULUS ${PARTITIONS}, REMAINDER ${n})`;
      await dataSource.query(
        `CREATE TABLE user_session_part_${n} PARTITION OF user_session FOR VALUES ${values}`,
      );
    }
  },
};

// Where no database server is tested, this is all that can be said.
test.each(['PARTITION BY HASH (id)', 'PARTITION BY KEY (id)'])('docs/scale.md says how: %s', (statement) => {
  expect(readFileSync('docs/scale.md', 'utf8')).toContain(statement);
});

describe.each(databases.filter(({ name }) => name in partition))('partitions by id on $name', (kind) => {
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await kind.create();
    dataSource = await connect(database);
    await partition[kind.name]!(dataSource);
  });
  afterEach(async () => {
    await dataSource.destroy();
    await database.remove();
  });

  test('hold sessions as one table does, and the schema builder changes nothing', async () => {
    const { service } = await startCore(dataSource, { reuseWindow: 0 });
    const ids: string[] = [];
    for (let n = 0; n < 4 * PARTITIONS; n++) {
      const { session, refreshToken } = await service.tokens.issue({ userId: 'ann' });
      const { accessToken } = await service.tokens.refresh(refreshToken.token);
      expect((await service.tokens.verify(accessToken.token)).newAccessToken).toBeDefined();
      ids.push(session.id);
    }
    const listed = await service.findAllForUser('ann');
    expect(listed.sessions.map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
    expect(await service.revoke(ids[0]!)).toBe(true);
    expect(await service.revokeAllForUser('ann')).toBe(ids.length - 1);
    await dataSource.query('UPDATE user_session SET expires_at = 1');
    expect(await service.removeExpired()).toBe(ids.length);
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
    expect(upQueries.map(({ query }) => query)).toEqual([]);
  });
});
