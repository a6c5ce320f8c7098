import type { DataSource } from 'typeorm';
import { NotBeforeEntity, SessionEntity, SessionKeyEntity } from 'nestjs-session-tokens';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isUniqueViolation } from '../../lib/storage/database-error.js';
import { KEY_SQL } from '../../lib/storage/key.sql.js';
import { NOT_BEFORE_SQL } from '../../lib/storage/not-before.sql.js';
import { type EntityClass, statementsOn } from '../../lib/storage/row-keeper.js';
import { revocationSql, SESSION_SQL } from '../../lib/storage/session.sql.js';
import { UNSETTLED } from '../../lib/storage/session.store.js';
import { parseStatement } from '../../lib/testing/memory-statement.js';
import type { StatementResult } from '../../lib/storage/statements.js';
import { MemoryRows } from '../../lib/testing/memory-rows.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { seededRandom } from '../support/random.js';

/** Each table with its statements: what SQLite does with random values, the rows in memory do, too. */
const TABLES: readonly {
  readonly entity: EntityClass<object>;
  readonly statements: Readonly<Record<string, string>>;
}[] = [
  { entity: SessionEntity, statements: { ...SESSION_SQL, ...revocationSql(true) } },
  { entity: NotBeforeEntity, statements: NOT_BEFORE_SQL },
  { entity: SessionKeyEntity, statements: KEY_SQL },
];

/** Few values, so that conditions are often met. */
const POOLS: readonly [name: RegExp, values: readonly unknown[]][] = [
  [/^(id|kid|before|after|exceptId)$/, ['a', 'b', 'c', 'z']],
  [/^(userId|user)$/, ['"ann"', '"bob"', '*']],
  [/^(revokedReason|reason)$/, ['theft', 'logout']],
  [/^(redeemedBy|mark|tokenId|secretHash)$/, ['s', 't']],
  [/^wasRedeemedBy$/, ['s', 't', '']],
  [/^(generation|wasGeneration|sequence|version|remember)$/, [1, 2, 3]],
  [/^(count)$/, [1, 2, 5]],
  [/^(ttl|absoluteTtl|idleTtl)$/, [100, 1_000, 5_000]],
  [/^unsettled$/, [UNSETTLED]],
  [/^(purpose)$/, ['access', 'refresh']],
  // Most sessions are live.
  [/^now$/, [950, 1_050]],
  [/^(createdAt|lastSeenAt)$/, [100, 900, 950]],
  [/^expiresAt$/, [100, 2_000, UNSETTLED]],
  [/(At|Time|time|now|notBefore|removableAt)$/, [0, 100, 950, 1_050, 2_000, UNSETTLED]],
];
const NULLABLE =
  /^(redeemedBy|idleTtl|endsAt|authTime|amr|actor|revokedAt|revokedReason|label|userAgent|ip|exceptId)$/;
const NULLABLE_VALUE = /^(version|endsAt)$/;

describe.each(TABLES)('rows in memory, as $entity.name', ({ entity, statements }) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  beforeAll(async () => {
    database = await databases[0]!.create();
    dataSource = await connect(database);
  });
  afterAll(async () => {
    await dataSource.destroy();
    await database.remove();
  });

  it('are changed and read as in SQLite, by every statement', async () => {
    const random = seededRandom(20_261_127);
    const pick = <T>(values: readonly T[]) => values[Math.floor(random() * values.length)]!;
    const valueOf = (name: string, nullable: RegExp): unknown => {
      const [, pool] = POOLS.find(([of]) => of.test(name)) ?? [undefined, ['one', 'two']];
      return nullable.test(name) && random() < 0.6 ? null : pick(pool);
    };
    const [sqlite, memory] = [dataSource, new MemoryRows()].map((rows) => {
      const made = statementsOn<object>(rows, entity);
      const all: Record<string, string> = {
        ...statements,
        insert: made.insertion,
        all: 'SELECT {*} FROM {} WHERE 1 = 1',
        clear: 'DELETE FROM {}',
      };
      return { texts: all, run: made.prepare(all) };
    });
    const properties = [...sqlite!.texts['insert']!.matchAll(/:(\w+)/g)].map(([, name]) => name!);
    expect(sorted([memory!.texts['insert']!.split(/\W+/)])).toEqual(
      sorted([sqlite!.texts['insert']!.split(/\W+/)]),
    );
    const effects: Record<string, number> = {};
    for (let round = 0; round < 25; round++) {
      await Promise.all([sqlite!.run['clear']!({}), memory!.run['clear']!({})]);
      for (const [name, text] of Object.entries(statements)) {
        for (let rows = 0; rows < 3; rows++) {
          const row = Object.fromEntries(properties.map((each) => [each, valueOf(each, NULLABLE)]));
          const outcomes = await Promise.all(
            [sqlite!, memory!].map(({ run }) => outcomeOf(run['insert']!(row))),
          );
          expect(outcomes[1]).toEqual(outcomes[0]);
        }
        const names = [...text.matchAll(/:(\w+)(\.\.\.)?/g)];
        const values = Object.fromEntries(
          names.map(([, value, list]) => [
            value!,
            list
              ? [valueOf(value!.slice(0, -1), /^$/), valueOf(value!.slice(0, -1), /^$/)]
              : valueOf(value!, NULLABLE_VALUE),
          ]),
        );
        const [expected, actual] = await Promise.all([sqlite!, memory!].map(({ run }) => run[name]!(values)));
        const about = `${name} with ${JSON.stringify(values)}`;
        expect({ about, seen: seen(text, actual!) }).toEqual({ about, seen: seen(text, expected!) });
        const tables = await Promise.all([sqlite!, memory!].map(({ run }) => run['all']!({})));
        const [after, inMemory] = tables.map(({ rows }) => sorted(rows));
        expect({ about, rows: inMemory }).toEqual({ about, rows: after });
        effects[name] = (effects[name] ?? 0) + expected!.rows.length + expected!.affected;
      }
    }
    // Each of them has met its condition.
    expect(Object.keys(statements).filter((name) => !effects[name])).toEqual([]);
  }, 120_000);
});

/** What a caller may rely on. */
function seen(text: string, { rows, affected }: StatementResult<object>): unknown {
  if (!text.startsWith('SELECT')) return { affected, rows: sorted(rows) };
  // Rows that are equal in what orders them come in any order: of a part of them, nobody knows which.
  if (/ORDER BY \{expiresAt\} LIMIT/.test(text)) return rows.length;
  return text.includes('ORDER BY') ? rows : sorted(rows);
}

/** Whether a row was inserted. */
async function outcomeOf(run: Promise<unknown>): Promise<string> {
  return run.then(
    () => 'done',
    (error: unknown) => (isUniqueViolation(error) ? 'taken' : String(error)),
  );
}

function sorted(rows: readonly object[]): string[] {
  return rows.map((row) => JSON.stringify(row, Object.keys(row).toSorted())).toSorted();
}

describe('a query of rows in memory', () => {
  const ROWS = [
    { id: 'b', time: null, count: 2 },
    { id: 'a', time: 5, count: 1 },
    { id: 'c', time: 0, count: 3 },
  ];

  it.each<[condition: string, ids: string]>([
    ['{time} >= 0', 'ac'],
    ['{time} <= 9', 'ac'],
    ['{time} = NULL', ''],
    ['{time} IS NULL', 'b'],
    ['{time} + 1 > 0', 'ac'],
    ['{time} * 0 = 0', 'ac'],
    ['LEAST({time}, 1) <= 1', 'ac'],
    ['COALESCE({time}, 7) > 4', 'ba'],
    ['ABS({count} - 2) = 1', 'ac'],
    ['{count} = 1 OR {count} = 2 AND {id} = :no', 'a'],
    ['({count} = 1 OR {count} = 2) AND {time} IS NULL', 'b'],
    ['1 + {count} * 2 > 4', 'bc'],
    ['CASE WHEN {count} = 1 THEN 0 WHEN {count} = 2 THEN 1 ELSE 2 END > 0', 'bc'],
    ['{id} IN (:some...)', 'bc'],
    ["{id} > 'a'", 'bc'],
    ['1 = 1 ORDER BY {id}', 'abc'],
    ['1 = 1 ORDER BY {count} DESC LIMIT :two', 'cb'],
  ])('WHERE %s', (condition, ids) => {
    const statement = parseStatement(`SELECT {* of id} FROM {} WHERE ${condition}`, ['id', 'time', 'count']);
    const { rows } = statement.run([...ROWS], { no: 'x', some: ['c', 'b'], two: 2 });
    expect(rows.map(({ id }) => id).join('')).toBe(ids);
  });
});

describe('a statement that the rows in memory do not understand', () => {
  it.each([
    'SELECT {*} FROM {} JOIN other',
    'SELECT {*} FROM {} WHERE {id} <> :id',
    'SELECT {*} FROM {} WHERE NOW() > {now}',
    'SELECT {*} FROM {} WHERE {unknown} = :id',
    'SELECT {* of id, unknown} FROM {}',
    'SELECT id FROM {}',
    'UPDATE {} SET {id} = :id || :id',
    'UPDATE {} SET {id} :id',
    'DELETE FROM {} WHERE ({id} = :id',
    'TRUNCATE {}',
    'SELECT {*} FROM {} WHERE !{now}',
    'SELECT {*} FROM {} WHERE {now} IS NOT NULL',
    '',
  ])('is refused when it is prepared: %s', (text) => {
    expect(() => parseStatement(text, ['id', 'now'])).toThrow(/do not understand a statement/);
  });

  it('is one that lacks a value', () => {
    const statement = parseStatement('SELECT {*} FROM {} WHERE {id} = :id', ['id']);
    expect(() => statement.run([{ id: 1 }], {})).toThrow('lacks a value for ":id"');
  });
});
