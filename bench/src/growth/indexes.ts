import type { Row } from '../questions/question.js';
import type { ServerProcess } from '../run/server-process.js';
import { spread } from '../run/statistics.js';
import { dropIndex, secondaryIndexes, tidy } from './fill.js';
import { times as timesText } from './operations.js';
import { type Found, type Growth, NAMES, say, type Station } from './station.js';
import type { Sql } from './sql.js';

const OWN = 500;
const SLIDING = 250;
const WARM_UPS = 2;

const AS_IT_IS = 'as it is';
const WITHOUT = 'no index on expires_at';
const FULL = 'all rows in the index on revoked_at';

/** Variants of the table's indexes. */
export const VARIANTS = { postgres: [AS_IT_IS, WITHOUT, FULL], mysql: [AS_IT_IS, WITHOUT] } as const;

const STEPS = [
  { name: 'create', call: 'create', count: OWN, argument: OWN },
  { name: 'refresh', call: 'refresh', count: OWN, argument: undefined },
  { name: 'prove', call: 'prove', count: OWN, argument: undefined },
  { name: 'refresh that moves the expiry', call: 'refreshHeld', count: SLIDING, argument: SLIDING },
  { name: 'revoke', call: 'revoke', count: OWN, argument: undefined },
] as const;

const roundsOf = ({ isQuick }: Growth) => (isQuick ? 3 : 15);

/** What the indexes cost those who write, and what the one on `expires_at` saves the clean-up. */
export async function indexes(growth: Growth, stations: readonly Station[]): Promise<Found> {
  const variants: readonly string[] = VARIANTS[growth.kind];
  const processes: ServerProcess[] = [];
  for (const [n, { sql, start }] of stations.entries()) {
    await arrange(sql, variants[n]!);
    const process = await start();
    await process.call('hold', growth.samples.sessions.slice(0, (roundsOf(growth) + WARM_UPS) * SLIDING));
    processes.push(process);
  }
  const rates = variants.map(() => STEPS.map(() => [] as number[]));
  const logs = variants.map(() => STEPS.map(() => [] as number[]));
  for (let round = -WARM_UPS; round < roundsOf(growth); round++) {
    growth.progress(`indexes, round ${round + 1}`);
    for (let turn = 0; turn < variants.length; turn++) {
      const variant = (turn + round + WARM_UPS) % variants.length;
      for (const [n, { call, count, argument }] of STEPS.entries()) {
        const before = await writtenLog(stations[variant]!.sql);
        const { seconds } = await processes[variant]!.call<{ seconds: number }>(call, argument);
        const after = await writtenLog(stations[variant]!.sql);
        if (round < 0) continue;
        rates[variant]![n]!.push(count / seconds);
        logs[variant]![n]!.push((after - before) / count);
      }
    }
  }
  const rows: Row[] = [];
  const summary: Record<string, string | number> = {};
  for (const [n, { name }] of STEPS.entries()) {
    for (const [variant, label] of variants.entries()) {
      const ratio = spread(rates[variant]![n]!.map((rate, round) => rate / rates[0]![n]![round]!));
      rows.push({
        name: `${name}: ${label}`,
        values: { rate: spread(rates[variant]![n]!), ratio, log: spread(logs[variant]![n]!) },
      });
      if (variant > 0) summary[`${name}, ${label}: rate / rate as it is`] = timesText(ratio);
    }
  }
  for (const [n, label] of variants.entries()) {
    // The first call removes what has expired meanwhile; those after it find nothing.
    await processes[n]!.call('removeExpired');
    const times: number[] = [];
    for (let round = 0; round < 5; round++) {
      const { seconds } = await processes[n]!.call<{ seconds: number }>('removeExpired');
      times.push(seconds * 1e3);
    }
    const { median } = spread(times);
    rows.push({ name: `clean-up that finds nothing: ${label}`, values: { clean: median } });
    summary[`clean-up that finds nothing, ${label}, ms`] = median;
    await processes[n]!.stop();
  }
  return {
    tables: [
      {
        name: `growth-indexes-${growth.kind}`,
        title: `What indexes cost, ${NAMES[growth.kind]}`,
        text: `Tables of ${say(stations[0]!.rows)} sessions, in turn. A refresh moves the expiry only by 1 % of the idle time or more: here, of sessions last seen days ago. “Log” is what the database writes to its log (WAL, redo) per operation; other activity of the server counts, too.`,
        columns: [
          { key: 'rate', label: 'operations/s' },
          { key: 'ratio', label: 'of the rate as it is', format: 'percent' },
          { key: 'log', label: 'log', format: 'bytes' },
          { key: 'clean', label: 'ms' },
        ],
        rows,
      },
    ],
    summary,
  };
}

async function arrange(sql: Sql, variant: string): Promise<void> {
  const known = await secondaryIndexes(sql);
  const on = (name: string) => known.find(({ column }) => column === name)!;
  if (variant === WITHOUT) await dropIndex(sql, on('expires_at'));
  if (variant === FULL) {
    await dropIndex(sql, on('revoked_at'));
    await sql.run('CREATE INDEX growth_full ON user_session (revoked_at)');
  }
  await tidy(sql);
}

/** Bytes that the server has written to its log. */
async function writtenLog(sql: Sql): Promise<number> {
  const [row] = await sql.run(
    sql.kind === 'postgres'
      ? "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS bytes"
      : "SELECT variable_value AS bytes FROM information_schema.global_status WHERE variable_name = 'INNODB_OS_LOG_WRITTEN'",
  );
  return Number(row!['bytes']);
}
