import type { Row, Table } from '../questions/question.js';
import type { ServerProcess } from '../run/server-process.js';
import { type Spread, spread } from '../run/statistics.js';
import { type Found, type Growth, NAMES, say, SMALL, type Station } from './station.js';

/** Sessions that each slice makes, refreshes, proves and revokes. */
const OWN = 500;
/** Rows that nobody has used yet, of each slice that uses such. */
const COLD = 250;
const WARM_UPS = 2;

const roundsOf = ({ isQuick }: Growth) => (isQuick ? 3 : 15);

/** Rows with tokens that the part uses up in each table. */
export const heldBy = (growth: Growth): number => (roundsOf(growth) + WARM_UPS) * COLD * 2;

const STEPS = [
  { name: 'create', call: 'create', count: OWN, argument: OWN },
  { name: 'refresh', call: 'refresh', count: OWN, argument: undefined },
  { name: 'prove', call: 'prove', count: OWN, argument: undefined },
  { name: 'revoke', call: 'revoke', count: OWN, argument: undefined },
  { name: 'refresh, row not used before', call: 'refreshHeld', count: COLD, argument: COLD },
  { name: 'revoke, row not used before', call: 'revokeHeld', count: COLD, argument: COLD },
] as const;

/** Operations per second of two tables in turn. */
export async function operations(growth: Growth, small: Station, large: Station): Promise<Found> {
  const stations = [small, large] as const;
  const processes: ServerProcess[] = [];
  for (const station of stations) {
    const process = await station.start();
    await process.call('hold', growth.samples.sessions.slice(0, heldBy(growth)));
    processes.push(process);
  }
  const rates = STEPS.map(() => ({ small: [] as number[], large: [] as number[] }));
  for (let round = -WARM_UPS; round < roundsOf(growth); round++) {
    growth.progress(`operations, round ${round + 1}`);
    for (const size of round % 2 === 0 ? (['small', 'large'] as const) : (['large', 'small'] as const)) {
      const process = processes[size === 'small' ? 0 : 1]!;
      for (const [n, { call, count, argument }] of STEPS.entries()) {
        const { seconds } = await process.call<{ seconds: number }>(call, argument);
        if (round >= 0) rates[n]![size].push(count / seconds);
      }
    }
  }
  for (const process of processes) await process.stop();
  const rows: Row[] = STEPS.map(({ name }, n) => {
    const { small: few, large: many } = rates[n]!;
    const ratio = spread(many.map((rate, round) => rate / few[round]!));
    return { name, values: { small: spread(few), large: spread(many), ratio } };
  });
  const table: Table = {
    name: `growth-operations-${growth.kind}`,
    title: `Operations per second by the size of the table, ${NAMES[growth.kind]}`,
    text: `${OWN} operations in a slice, 16 at a time, through \`sessions.tokens\` and \`revoke()\`, without HTTP; the tables take turns. The sessions are those that the slice has just made. “Not used before” are ${COLD} sessions scattered over the table, which nobody has read or written since it was filled: they are not in the database’s own cache where the table is larger than that (see the sizes below), but may be in the operating system’s. The small table grows to about ${say(SMALL + (roundsOf(growth) + WARM_UPS) * OWN)} rows meanwhile.`,
    columns: [
      { key: 'small', label: `${say(small.rows)} sessions, /s` },
      { key: 'large', label: `${say(large.rows)} sessions, /s` },
      { key: 'ratio', label: 'large / small', format: 'percent' },
    ],
    rows,
  };
  const summary = Object.fromEntries(
    rows.map(({ name, values }) => [
      `${name}: rate of ${say(large.rows)} sessions / rate of ${say(small.rows)}`,
      times(values['ratio'] as Spread),
    ]),
  );
  return { tables: [table], summary };
}

/** A ratio as the summary has it. */
export function times({ median, low, high }: Spread): string {
  return `${median.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;
}
