import type { Column, RaceEntry, RaceResult, Row, Table } from '../questions/question.js';

const COLUMNS = [
  { key: 'throughput', label: 'requests/s' },
  { key: 'throughputRatio', label: 'of the floor’s', format: 'percent' },
  { key: 'cpu', label: 'CPU µs/request' },
  { key: 'cpuRatio', label: 'floor’s CPU / own', format: 'percent' },
  { key: 'eventLoopDelay', label: 'loop delay p99, ms' },
] as const satisfies readonly Column[];

/** Above this the load generator is what was measured. */
const SATURATED = 0.97;

export interface RaceTableOptions extends Omit<Table, 'columns' | 'rows' | 'text'> {
  readonly text: string;
  /** Further columns, and what they show of an entry. */
  readonly more?: readonly (Column & { readonly of: (entry: RaceEntry) => Row['values'][string] })[];
}

/** The usual table of a race. */
export function raceTable(
  { floor, entries }: RaceResult,
  { more = [], text, ...table }: RaceTableOptions,
): Table {
  const hasRemarks = entries.some(({ remark, description }) => remark ?? description);
  const limited = entries.filter(({ generatorBusy }) => generatorBusy.median > SATURATED);
  const warning =
    limited.length === 0
      ? ''
      : ` The load generator was busy all the time for ${limited.map(({ name }) => `“${name}”`).join(', ')}: there only the CPU time counts.`;
  return {
    ...table,
    text: `${text} The floor is “${floor}”.${warning}`,
    columns: [
      ...COLUMNS,
      ...more.map(({ of: _of, ...column }) => column),
      ...(hasRemarks ? [{ key: 'remark', label: 'remark' }] : []),
    ],
    rows: entries.map((entry) => ({
      name: entry.name,
      values: {
        ...Object.fromEntries(COLUMNS.map(({ key }) => [key, entry[key]])),
        ...Object.fromEntries(more.map(({ key, of }) => [key, of(entry)])),
        ...(hasRemarks && {
          remark: [entry.remark, entry.description].filter(Boolean).join(' ') || undefined,
        }),
      },
    })),
  };
}

/** The entry of a name. */
export function entryOf({ entries }: RaceResult, name: string): RaceEntry {
  const entry = entries.find((each) => each.name === name);
  if (!entry) throw new Error(`The race has no contender "${name}".`);
  return entry;
}
