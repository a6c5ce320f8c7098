import type { Bench, Load, ServerSpec, Table } from '../questions/question.js';
import { titleOf } from '../report/titles.js';
import type { Adapter } from '../servers/support/environment.js';
import { functionUsage, groupUsage, LIBRARY, type Usage } from './groups.js';

/** Seconds of load: one sample in 200 µs shows what takes 0.1 %. */
const SECONDS = 5;

/** Functions of the library that have a row of their own. */
const SHOWN = 8;

/** Where the CPU time of requests goes, by package; of the library, by function. */
export async function profileTable(
  bench: Bench,
  subject: Pick<Table, 'name' | 'title' | 'text'>,
  specOf: (adapter: Adapter) => ServerSpec,
  load: Load,
): Promise<Table> {
  const groups = new Map<string, Record<string, number>>();
  const functions = new Map<string, Record<string, number>>();
  for (const adapter of bench.adapters) {
    bench.progress(`profile on ${adapter}`);
    const usage = functionUsage(await bench.profile(specOf(adapter), load, SECONDS));
    const add = (to: typeof groups, { name, share, each }: Usage) =>
      to.set(name, { ...to.get(name), [shareOf(adapter)]: share, [eachOf(adapter)]: each });
    for (const group of groupUsage(usage)) add(groups, group);
    for (const entry of usage.filter(({ group }) => group === LIBRARY)) add(functions, entry);
  }
  const first = shareOf(bench.adapters[0]!);
  const byTime = (rows: typeof groups) =>
    [...rows]
      .map(([name, values]) => ({ name, values }))
      .toSorted((a, b) => (b.values[first] ?? 0) - (a.values[first] ?? 0));
  const ofLibrary = byTime(functions).slice(0, SHOWN).map(asPart);
  const columns: Table['columns'] = bench.adapters.flatMap((adapter) => [
    { key: shareOf(adapter), label: titleOf(adapter), format: 'percent' as const },
    { key: eachOf(adapter), label: 'µs/request' },
  ]);
  return { ...subject, columns, rows: [...byTime(groups), ...ofLibrary] };
}

const shareOf = (adapter: Adapter) => `${adapter}-share`;
const eachOf = (adapter: Adapter) => `${adapter}-each`;

function asPart({ name, values }: Table['rows'][number]): Table['rows'][number] {
  return { name: `of the library: ${name.replace(`${LIBRARY}/dist/lib/`, '')}`, values };
}
