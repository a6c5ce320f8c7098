// npm run charts [-- --output folder]: draws a chart of each table of results.json that has one.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { drawChart } from './report/chart.js';
import { readResults } from './report/results.js';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const { values } = parseArgs({
  options: {
    results: { type: 'string', default: at('..') },
    output: { type: 'string', default: at('../../docs/charts') },
  },
});

await mkdir(values.output, { recursive: true });
for (const { tables } of Object.values(await readResults(values.results))) {
  for (const table of tables) {
    if (!table.chart) continue;
    const file = join(values.output, `${table.name}.svg`);
    await writeFile(file, drawChart(table, table.chart));
    process.stdout.write(`${file}\n`);
  }
}
