import { cleanUp } from '../growth/clean-up.js';
import { feed } from '../growth/feed.js';
import { indexes, VARIANTS } from '../growth/indexes.js';
import { KeptParts } from '../growth/kept-parts.js';
import { heldBy, operations } from '../growth/operations.js';
import { makeSamples, type Samples } from '../growth/samples.js';
import { size } from '../growth/size.js';
import { type Found, type Growth, NAMES, say, SMALL, withStations } from '../growth/station.js';
import { tombstones } from '../growth/tombstones.js';
import { user } from '../growth/user.js';
import { makeKey } from '../load/signing-key.js';
import type { Bench, Question, Row, Table } from './question.js';

/** Rows whose bytes are counted, with indexes as an application writes them. */
const SIZED = 100_000;

export const question: Question = {
  name: 'growth',
  order: 6,
  title: 'Does it stay as fast when the table grows?',
  onlyByName: true,

  async answer(bench) {
    const { rows, databases } = bench.growth;
    const kept = await KeptParts.read();
    const signingJwk = JSON.stringify(await makeKey('HS256'));
    const isQuick = rows < 1_000_000;
    const found = new Map<keyof typeof NAMES, Found[]>();
    let samples: Samples | undefined;
    for (const kind of databases) {
      const probe = await bench.database(kind);
      if (!probe) {
        bench.progress(`there is no ${NAMES[kind]}`);
        continue;
      }
      await bench.cleanUp();
      const progress = (message: string) => bench.progress(`${kind}: ${message}`);
      const common = { bench, kind, signingJwk, rows, isQuick, progress };
      samples ??= await makeSamples(bench, signingJwk, heldBy({ ...common, samples: NONE }));
      found.set(kind, await parts({ ...common, samples }, kept));
    }
    await kept.complete();
    return [summaryTable(bench, found), ...[...found.values()].flat().flatMap(({ tables }) => tables)];
  },
};

const NONE: Samples = { sessions: [], rows: [], keys: [] };

/** The parts, in an order in which each leaves the table as the next one needs it. */
async function parts(growth: Growth, kept: KeptParts): Promise<Found[]> {
  const { kind, rows, samples } = growth;
  const key = (name: string) => `${kind} ${rows} ${name}`;
  const onLarge = ['operations', 'user', 'feed', 'size', 'tombstones'].map(key);
  const found: Found[] = [];
  const part = async (name: string, run: () => Promise<Found>) => {
    found.push(await kept.part(key(name), run));
  };
  if (onLarge.every((name) => kept.has(name))) {
    for (const name of onLarge) found.push(await kept.part(name, neverRuns));
  } else {
    await withStations(growth, async (open) => {
      const sized = await open({ rows: Math.min(SIZED, rows), state: 'live', keepIndexes: true });
      const small = await open({ rows: SMALL, state: 'live', samples });
      const large = await open({ rows, state: 'live', samples });
      await part('size', () => size(growth, sized.rows === rows ? [sized] : [sized, large]));
      await part('operations', () => operations(growth, small, large));
      // Before the user with many signs out, of which the feed would tell.
      await part('feed', () => feed(growth, large));
      await part('user', () => user(growth, small, large));
      await part('tombstones', () => tombstones(growth, large));
    });
  }
  await part('clean-up', () =>
    withStations(growth, async (open) => cleanUp(growth, await open({ rows, state: 'expired' }))),
  );
  await part('indexes', () =>
    withStations(growth, async (open) => {
      const stations = [];
      for (const _ of VARIANTS[kind]) {
        stations.push(await open({ rows: Math.max(2 * SMALL, rows / 10), state: 'live', samples }));
      }
      return indexes(growth, stations);
    }),
  );
  return found;
}

function neverRuns(): never {
  throw new Error('This part has run.');
}

/** One line for each finding, one column for each database: for docs/scale.md. */
function summaryTable(bench: Bench, found: ReadonlyMap<keyof typeof NAMES, readonly Found[]>): Table {
  const lines = new Map<string, Record<string, Row['values'][string]>>();
  for (const [kind, all] of found) {
    for (const { summary } of all) {
      for (const [name, value] of Object.entries(summary)) {
        lines.set(name, { ...lines.get(name), [kind]: value });
      }
    }
  }
  return {
    name: 'growth',
    title: 'Growth, in short',
    text: `With ${say(bench.growth.rows)} sessions. Ratios of rates are medians over rounds, with quartiles in parentheses: 1 is flat, and 0.5 is half as fast.`,
    columns: [...found.keys()].map((kind) => ({ key: kind, label: NAMES[kind] })),
    rows: [...lines].map(([name, values]) => ({ name, values })),
  };
}
