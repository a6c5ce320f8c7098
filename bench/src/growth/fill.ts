import { createHash } from 'node:crypto';
import type { Samples } from './samples.js';
import type { Sql, SqlRow } from './sql.js';

const DAY = 86_400_000;
const MINUTE = 60_000;

/** Sessions are made over so many days, and end so many days after they were last seen. */
const DAYS = 29;
const IDLE_DAYS = 30;

/** The row of a revoked session stays for the life of an access token (15 min), clocks (2 min), and 10 min more. */
const TOMBSTONE = 27 * MINUTE;

/** Rows that one statement inserts. */
const CHUNK = 100_000;

/** Every so many rows are of {@link HOT_USER}. */
const HOT_SHARE = 100;
const SESSIONS_PER_USER = 5;

/** The user with one session in a hundred. */
export const HOT_USER = 'growth-hot';

/** The id of one of the other users; the databases make it in the same way. */
export const userIdOf = (n: number): string => createHash('md5').update(`u${n}`).digest('hex');

const COLUMNS = [
  'id',
  'user_id',
  'secret_hash',
  'claims',
  'data',
  'version',
  'generation',
  'redeemed_by',
  'created_at',
  'last_seen_at',
  'expires_at',
  'remember',
  'revoked_at',
  'revoked_reason',
  'user_agent',
  'ip',
] as const;

type Expressions = Readonly<Record<(typeof COLUMNS)[number], string>>;

export interface Filling {
  readonly rows: number;
  /** `live` sessions; `expired` ones; or those `revoked` within so many milliseconds. */
  readonly state: 'live' | 'expired' | { readonly revokedWithin: number };
  /** Rows with tokens, put among the others by their time. */
  readonly samples?: Samples;
  /** Whether the indexes are written row by row, as in an application, and not made at the end. @default false */
  readonly keepIndexes?: boolean;
  readonly progress: (message: string) => void;
}

/** Where the two databases differ. */
interface Dialect {
  /** A whole number divided by another. */
  readonly divide: string;
  /** 12 hexadecimal digits of a time. */
  readonly hex: (time: string) => string;
  /** 43 characters, as a SHA-256 in base64url has them. */
  readonly hash: (text: string) => string;
}

const DIALECTS: Readonly<Record<Sql['kind'], Dialect>> = {
  postgres: {
    divide: '/',
    hex: (time) => `lpad(to_hex(${time}), 12, '0')`,
    hash: (text) => `substr(encode(sha256(convert_to(${text}, 'UTF8')), 'base64'), 1, 43)`,
  },
  mysql: {
    divide: 'DIV',
    hex: (time) => `lpad(lower(hex(${time})), 12, '0')`,
    hash: (text) => `substr(to_base64(unhex(sha2(${text}, 256))), 1, 43)`,
  },
};

/** Puts the keys of the samples in the place of those that the library has made in an empty database. */
export async function replaceKeys(sql: Sql, { keys }: Samples): Promise<void> {
  await sql.run('DELETE FROM user_session_key');
  await insertRows(sql, 'user_session_key', keys);
}

/** Fills the table of sessions. */
export async function fill(sql: Sql, filling: Filling): Promise<void> {
  const { rows, samples, progress } = filling;
  const now = Date.now();
  const start = now - DAYS * DAY;
  const generated = rows - (samples?.rows.length ?? 0);
  await sql.run('DROP TABLE IF EXISTS growth_sample, growth_number');
  await makeNumbers(sql, Math.min(CHUNK, generated));
  await sql.run(
    sql.kind === 'postgres'
      ? 'CREATE TABLE growth_sample (LIKE user_session)'
      : 'CREATE TABLE growth_sample LIKE user_session',
  );
  if (samples) await insertRows(sql, 'growth_sample', samples.rows);
  const restore = filling.keepIndexes === true ? async () => undefined : await dropIndexes(sql);
  const timeOf = (n: number) => start + Math.floor((n * (now - start)) / generated);
  let reported = performance.now();
  for (let base = 0; base < generated; base += CHUNK) {
    const count = Math.min(CHUNK, generated - base);
    const isLast = base + count === generated;
    const [from, until] = [base === 0 ? 0 : timeOf(base), isLast ? now + DAY : timeOf(base + count)];
    const among = `SELECT ${COLUMNS.join(', ')} FROM growth_sample WHERE created_at >= ${from} AND created_at < ${until}`;
    await sql.run(
      `INSERT INTO user_session (${COLUMNS.join(', ')}) SELECT * FROM (
        ${generation(sql.kind, filling, { base, count, start, now, generated })} UNION ALL ${among}
      ) AS both_kinds ORDER BY created_at`,
    );
    if (performance.now() - reported > 15_000 || isLast) {
      reported = performance.now();
      progress(`${(base + count).toLocaleString('en-GB')} of ${rows.toLocaleString('en-GB')} rows`);
    }
  }
  await sql.run('DROP TABLE growth_sample, growth_number');
  progress('indexes and statistics');
  await restore();
  await tidy(sql);
}

/** Does what the database would do by itself some time later. */
export async function tidy(sql: Sql): Promise<void> {
  if (sql.kind === 'mysql') {
    await sql.run('ANALYZE TABLE user_session');
    return;
  }
  await sql.run('VACUUM (ANALYZE) user_session');
  // Only a superuser may; otherwise what was written is flushed while the first rounds run.
  await sql.run('CHECKPOINT').catch(() => undefined);
}

interface Chunk {
  readonly base: number;
  readonly count: number;
  readonly start: number;
  readonly now: number;
  readonly generated: number;
}

/** Numbers from 0 up to this one that do not follow the order of the rows. */
const scattered = (below: number) => `mod(n * 7919, ${below})`;

/** A `SELECT` of generated rows: `n` is the row's number, `t` its time, `h` 32 hexadecimal digits made of the number. */
function generation(kind: Sql['kind'], { state }: Filling, chunk: Chunk): string {
  const { base, count, start, now, generated } = chunk;
  const { divide, hex, hash } = DIALECTS[kind];
  const users = Math.max(1, Math.floor(generated / SESSIONS_PER_USER));
  const user = `CASE WHEN mod(n, ${HOT_SHARE}) = 0 THEN '"${HOT_USER}"' ELSE concat('"', md5(concat('u', mod(n, ${users}))), '"') END`;
  const seen = `t + (${now} - t) * ${scattered(1_000)} ${divide} 1000`;
  const live: Expressions = {
    id: `concat(substr(x, 1, 8), '-', substr(x, 9, 4), '-7', substr(h, 1, 3), '-8', substr(h, 4, 3), '-', substr(h, 7, 12))`,
    user_id: user,
    secret_hash: hash('h'),
    claims: `'{"role":"member","plan":"basic"}'`,
    data: `'{"theme":"dark","language":"en"}'`,
    version: '1',
    generation: 'mod(n, 50)',
    redeemed_by: 'CASE WHEN mod(n, 50) = 0 THEN NULL ELSE substr(h, 1, 16) END',
    created_at: 't',
    last_seen_at: seen,
    expires_at: `${seen} + ${IDLE_DAYS * DAY}`,
    remember: '1',
    revoked_at: 'NULL',
    revoked_reason: 'NULL',
    user_agent: `'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36'`,
    ip: `concat('203.0.', mod(n, 256), '.', ${scattered(256)})`,
  };
  const columns = { ...live, ...changed(state, now) };
  const list = COLUMNS.map((name) => `${columns[name]} AS ${name}`).join(', ');
  const time = `${start} + n * ${now - start} ${divide} ${generated}`;
  const numbers = `SELECT ${base} + n AS n FROM growth_number WHERE n < ${count}`;
  const timed = `SELECT n, ${time} AS t, md5(concat('s', n, '-', ${now})) AS h FROM (${numbers}) AS numbers`;
  return `SELECT ${list} FROM (SELECT n, t, h, ${hex('t')} AS x FROM (${timed}) AS timed) AS known`;
}

function changed(state: Filling['state'], now: number): Partial<Expressions> {
  if (state === 'live') return {};
  // Those of a week without clean-up.
  if (state === 'expired') return { expires_at: `${now - MINUTE} - ${scattered(7 * DAY)}` };
  const revokedAt = `${now} - ${scattered(state.revokedWithin)}`;
  return {
    secret_hash: "''",
    claims: "'null'",
    data: "'null'",
    redeemed_by: 'substr(h, 1, 16)',
    expires_at: `${revokedAt} + ${TOMBSTONE}`,
    revoked_at: revokedAt,
    revoked_reason: "'logout'",
    user_agent: 'NULL',
    ip: 'NULL',
  };
}

/** Makes a table of the numbers from 0, by doubling it. */
async function makeNumbers(sql: Sql, count: number): Promise<void> {
  await sql.run('CREATE TABLE growth_number (n bigint PRIMARY KEY)');
  await sql.run('INSERT INTO growth_number VALUES (0)');
  for (let known = 1; known < count; known *= 2) {
    await sql.run(
      `INSERT INTO growth_number SELECT n + ${known} FROM growth_number WHERE n + ${known} < ${count}`,
    );
  }
}

async function insertRows(sql: Sql, table: string, rows: readonly SqlRow[]): Promise<void> {
  const names = Object.keys(rows[0] ?? {});
  for (let start = 0; start < rows.length; start += 1_000) {
    const some = rows.slice(start, start + 1_000);
    if (sql.kind === 'postgres') {
      await sql.run(`INSERT INTO ${table} SELECT * FROM json_populate_recordset(NULL::${table}, $1)`, [
        JSON.stringify(some),
      ]);
    } else {
      const values = some.map((row) => names.map((name) => row[name]));
      await sql.run(`INSERT INTO ${table} (${names.join(', ')}) VALUES ?`, [values]);
    }
  }
}

/** An index beside the primary key, and the statement that makes it. */
export interface SecondaryIndex {
  readonly name: string;
  /** The first one. */
  readonly column: string;
  readonly definition: string;
}

export async function secondaryIndexes(sql: Sql): Promise<SecondaryIndex[]> {
  if (sql.kind === 'postgres') {
    const found = await sql.run(
      "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'user_session' AND indexdef NOT LIKE 'CREATE UNIQUE%'",
    );
    return found.map(({ indexname, indexdef }) => ({
      name: String(indexname),
      column: /\((\w+)/.exec(String(indexdef))![1]!,
      definition: String(indexdef),
    }));
  }
  const found = await sql.run("SHOW INDEX FROM user_session WHERE Key_name <> 'PRIMARY'");
  const columns = new Map<string, string[]>();
  for (const { Key_name: name, Column_name: column } of found) {
    columns.set(String(name), [...(columns.get(String(name)) ?? []), String(column)]);
  }
  return Array.from(columns, ([name, [first, ...others]]) => ({
    name,
    column: first!,
    definition: `CREATE INDEX \`${name}\` ON user_session (${[first, ...others].join(', ')})`,
  }));
}

export async function dropIndex(sql: Sql, { name }: SecondaryIndex): Promise<void> {
  await sql.run(sql.kind === 'postgres' ? `DROP INDEX "${name}"` : `DROP INDEX \`${name}\` ON user_session`);
}

/** @returns makes them again: sorted, which takes a fraction of the time that writing them row by row takes */
async function dropIndexes(sql: Sql): Promise<() => Promise<undefined>> {
  const indexes = await secondaryIndexes(sql);
  for (const index of indexes) await dropIndex(sql, index);
  return async () => {
    for (const { definition } of indexes) await sql.run(definition);
    return undefined;
  };
}
