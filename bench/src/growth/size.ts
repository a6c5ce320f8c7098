import type { Row, Table } from '../questions/question.js';
import { type Found, type Growth, NAMES, say, type Station } from './station.js';
import type { Sql } from './sql.js';

interface Sizes {
  readonly parts: ReadonlyMap<string, number>;
  readonly total: number;
  /** The database's own cache, in bytes. */
  readonly cache: number;
  /** What else of the server's settings matters. */
  readonly settings: string;
}

async function measure(sql: Sql): Promise<Sizes> {
  return sql.kind === 'postgres' ? ofPostgres(sql) : ofMysql(sql);
}

async function ofPostgres(sql: Sql): Promise<Sizes> {
  const found = await sql.run(
    `SELECT 'rows' AS part, pg_table_size('user_session') AS bytes UNION ALL
     SELECT CASE WHEN indexdef LIKE 'CREATE UNIQUE%' THEN 'primary key' ELSE 'index on ' || substring(indexdef FROM '\\(([\\w, ]+)\\)') END,
       pg_relation_size(format('%I', indexname)::regclass) FROM pg_indexes WHERE tablename = 'user_session'`,
  );
  const [cache] = await sql.run(
    "SELECT setting::bigint * 8192 AS bytes FROM pg_settings WHERE name = 'shared_buffers'",
  );
  const settings = await sql.run(
    "SELECT name || ' ' || setting AS setting FROM pg_settings WHERE name IN ('autovacuum', 'synchronous_commit', 'fsync', 'full_page_writes', 'max_wal_size') ORDER BY name",
  );
  return sized(
    found.map(({ part, bytes }) => [String(part), Number(bytes)] as const),
    Number(cache!['bytes']),
    settings.map(({ setting }) => String(setting)).join(', '),
  );
}

async function ofMysql(sql: Sql): Promise<Sizes> {
  const found = await sql.run(
    `SELECT s.index_name AS part, s.stat_value * @@innodb_page_size AS bytes,
       (SELECT group_concat(i.column_name ORDER BY i.seq_in_index SEPARATOR ', ') FROM information_schema.statistics i
        WHERE i.table_schema = database() AND i.table_name = 'user_session' AND i.index_name = s.index_name) AS col
     FROM mysql.innodb_index_stats s
     WHERE s.database_name = database() AND s.table_name = 'user_session' AND s.stat_name = 'size'`,
  );
  const [cache] = await sql.run(
    'SELECT @@innodb_buffer_pool_size AS bytes, @@innodb_flush_log_at_trx_commit AS flush, @@sync_binlog AS binlog',
  );
  return sized(
    found.map(({ part, bytes, col }) => [
      part === 'PRIMARY' ? 'rows' : `index on ${String(col)}`,
      Number(bytes),
    ]),
    Number(cache!['bytes']),
    `innodb_flush_log_at_trx_commit ${String(cache!['flush'])}, sync_binlog ${String(cache!['binlog'])}`,
  );
}

function sized(parts: readonly (readonly [string, number])[], cache: number, settings: string): Sizes {
  const total = parts.reduce((sum, [, bytes]) => sum + bytes, 0);
  return { parts: new Map(parts), total, cache, settings };
}

/** How large the tables are, and the indexes. */
export async function size(growth: Growth, stations: readonly Station[]): Promise<Found> {
  const measured: { readonly rows: number; readonly sizes: Sizes }[] = [];
  for (const { sql, rows } of stations) measured.push({ rows, sizes: await measure(sql) });
  const { cache, settings } = measured[0]!.sizes;
  const line = (name: string, of: (sizes: Sizes) => number | undefined): Row => ({
    name,
    values: Object.fromEntries(
      measured.map(({ rows, sizes }) => {
        const bytes = of(sizes);
        return [String(rows), bytes === undefined ? undefined : bytes / rows];
      }),
    ),
  });
  const table: Table = {
    name: `growth-size-${growth.kind}`,
    title: `Bytes per session, ${NAMES[growth.kind]}`,
    text: `Claims and data of 33 characters each, a user agent of 117 characters. In the table of ${say(measured[0]!.rows)}, the indexes were written row by row; in larger ones they were made after the rows. The database’s own cache has ${Math.round(cache / 2 ** 20)} MiB. Of the server’s settings: ${settings}.`,
    columns: measured.map(({ rows }) => ({
      key: String(rows),
      label: `${say(rows)} sessions`,
      format: 'bytes',
    })),
    rows: [
      ...[...measured[0]!.sizes.parts.keys()].map((part) => line(part, ({ parts }) => parts.get(part))),
      line('together', ({ total }) => total),
    ],
  };
  const last = measured.at(-1)!;
  return {
    tables: [table],
    summary: {
      [`bytes per session, of ${say(last.rows)}`]: Math.round(last.sizes.total / last.rows),
      [`size of the table with indexes, of ${say(last.rows)}, in MiB`]: Math.round(
        last.sizes.total / 2 ** 20,
      ),
    },
  };
}
