import type { DataSource } from 'typeorm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SessionEntity } from 'nestjs-session-tokens';
import { newSessionId } from '../../lib/protocol/session-id.js';
import type { SessionStore } from '../../lib/storage/session.store.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { QueryLog } from '../support/query-log.js';
import { HOUR } from '../support/time.js';
import { NOW, row, storeOn } from './accesses.js';

const USERS = 2_000;
const SESSIONS_OF_EACH = 3;
const REVOKED = 40;

/** A statement as the driver gets it. */
interface Sent {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** Keeps the statements with their values, so that they can be explained. */
class SentLog extends QueryLog {
  readonly sent: Sent[] = [];

  override logQuery(text: string, values: readonly unknown[] = []): void {
    super.logQuery(text, values);
    this.sent.push({ text, values });
  }
}

/** Nodes of a plan of PostgreSQL. */
interface PlanNode {
  readonly 'Index Name'?: string;
  readonly Plans?: readonly PlanNode[];
}

/** What the library does; the index that its statement (the first one with this text) may read, and no other. */
const cases: readonly (readonly [
  string,
  keyof SessionEntity,
  string,
  (store: SessionStore) => Promise<unknown>,
])[] = [
  ['the list of a user', 'userId', '', async (store) => store.findPageForUser('user-7', NOW, 20)],
  ['the ids of a user', 'userId', '', async (store) => store.findIdsForUser('user-7', NOW)],
  ['a read of the feed', 'revokedAt', '', async (store) => store.revokedSince(NOW - 6_000)],
  ['a read of the feed for events', 'revokedAt', '', async (store) => store.heardSince(NOW - 6_000)],
  ['settling what a process has left', 'revokedAt', '', async (store) => store.removeExpired(0, 1)],
  ['finding what has expired', 'expiresAt', 'LIMIT', async (store) => store.removeExpired(0, 10)],
];

describe.each(databases)('plans on $name', (kind) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  const log = new SentLog();

  beforeAll(async () => {
    database = await kind.create();
    const options = { ...database.options, poolSize: 1, logging: true, logger: log };
    dataSource = await connect({ ...database, options: options as TestDatabase['options'] });
    await prepare[kind.name](dataSource);
    await fill(dataSource);
  });
  afterAll(async () => {
    await dataSource.destroy();
    await database.remove();
  });

  const indexOn = (property: string) =>
    dataSource
      .getMetadata(SessionEntity)
      .indices.find(({ columns }) => columns[0]!.propertyName === property)!.name;

  describe.each([
    ['without statistics, as after a restore', async () => undefined],
    ['with statistics', async () => analyse[kind.name](dataSource)],
  ])('%s', (_, arrange) => {
    beforeAll(arrange);

    // Prepared statements have plans for their values at first, and later one plan for all.
    describe.each(MODES[kind.name])('%s', (mode) => {
      test.each(cases)('%s reads the index on %s, and no other', async (_name, property, part, run) => {
        await dataSource.query(mode);
        log.sent.length = 0;
        await run(storeOn(dataSource));
        const sent = log.sent.find(({ text }) => text.includes(part))!;
        expect(await indexesOf[kind.name](dataSource, sent)).toEqual([indexOn(property)]);
      });
    });
  });

  test('only revoked sessions are in the index of revocations, where the database can do that', async () => {
    expect(await definitionOf[kind.name](dataSource, indexOn('revokedAt'))).toMatch(DEFINITIONS[kind.name]);
  });
});

type Kind = (typeof databases)[number]['name'];

const MODES: Readonly<Record<Kind, readonly (readonly [string])[]>> = {
  sqlite: [['SELECT 1']],
  mysql: [['SELECT 1']],
  postgres: [['SET plan_cache_mode = force_custom_plan'], ['SET plan_cache_mode = force_generic_plan']],
};

const nothing = async () => undefined;

const prepare: Readonly<Record<Kind, (dataSource: DataSource) => Promise<unknown>>> = {
  sqlite: nothing,
  mysql: nothing,
  // Otherwise the server may make statistics at any time.
  postgres: async (dataSource) =>
    dataSource.query('ALTER TABLE user_session SET (autovacuum_enabled = false)'),
};

const analyse: Readonly<Record<Kind, (dataSource: DataSource) => Promise<unknown>>> = {
  sqlite: async (dataSource) => dataSource.query('ANALYZE'),
  mysql: async (dataSource) => dataSource.query('ANALYZE TABLE user_session'),
  postgres: async (dataSource) => dataSource.query('ANALYZE user_session'),
};

/** The names of the indexes that a statement reads. */
const indexesOf: Readonly<Record<Kind, (dataSource: DataSource, sent: Sent) => Promise<string[]>>> = {
  async sqlite(dataSource, { text, values }) {
    const sql = `EXPLAIN QUERY PLAN ${text}`;
    const steps = await dataSource.query<{ detail: string }[]>(sql, [...values]);
    return steps.flatMap(({ detail }) => [...detail.matchAll(/INDEX (\S+)/g)].map(([, name]) => name!));
  },
  async mysql(dataSource, { text, values }) {
    const steps = await dataSource.query<{ key: string | null }[]>(`EXPLAIN ${text}`, [...values]);
    return steps.flatMap(({ key }) => key?.split(',') ?? []);
  },
  async postgres(dataSource, { text, values }) {
    const [prepared] = await dataSource.query<{ name: string }[]>(
      'SELECT name FROM pg_prepared_statements WHERE statement = $1',
      [text],
    );
    const literals = values.map((value) => `'${String(value)}'`).join(', ');
    const [explained] = await dataSource.query<{ 'QUERY PLAN': { Plan: PlanNode }[] }[]>(
      `EXPLAIN (FORMAT JSON) EXECUTE ${prepared!.name}(${literals})`,
    );
    return indexesBelow(explained!['QUERY PLAN'][0]!.Plan);
  },
};

function indexesBelow({ 'Index Name': name, Plans = [] }: PlanNode): string[] {
  return [...(name === undefined ? [] : [name]), ...Plans.flatMap(indexesBelow)];
}

const definitionOf: Readonly<Record<Kind, (dataSource: DataSource, index: string) => Promise<string>>> = {
  async sqlite(dataSource, index) {
    const [found] = await dataSource.query<{ sql: string }[]>(
      'SELECT sql FROM sqlite_master WHERE name = ?',
      [index],
    );
    return found!.sql;
  },
  async mysql(dataSource, index) {
    const [found] = await dataSource.query<Record<string, string>[]>('SHOW CREATE TABLE user_session');
    return found!['Create Table']!.split('\n').find((line) => line.includes(index))!;
  },
  async postgres(dataSource, index) {
    const [found] = await dataSource.query<{ indexdef: string }[]>(
      'SELECT indexdef FROM pg_indexes WHERE indexname = $1',
      [index],
    );
    return found!.indexdef;
  },
};

const DEFINITIONS: Readonly<Record<Kind, RegExp>> = {
  sqlite: /\("revoked_at"\) WHERE revoked_at IS NOT NULL$/,
  mysql: /\(`revoked_at`\)$/,
  postgres: /\(revoked_at\) WHERE \(revoked_at IS NOT NULL\)$/,
};

/** Some thousand sessions, of which a few were revoked in the last hour. */
async function fill(dataSource: DataSource): Promise<void> {
  const count = USERS * SESSIONS_OF_EACH;
  const rows = Array.from({ length: count }, (_, n) => ({
    ...row(newSessionId(NOW - HOUR + n)),
    userId: JSON.stringify(`user-${n % USERS}`),
    claims: '{}',
    data: '{}',
    amr: null,
    actor: null,
    userAgent: 'a'.repeat(100),
    // In no order: a database may read a table from its start if it knows that this is the order of the index.
    expiresAt: NOW + ((n * 7_919) % count) * 1_000,
    revokedAt: n % (count / REVOKED) === 0 ? NOW - HOUR + n : null,
  }));
  const sessions = dataSource.getRepository(SessionEntity);
  for (let start = 0; start < count; start += 500) await sessions.insert(rows.slice(start, start + 500));
}
