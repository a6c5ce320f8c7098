// What becomes of honest clients, thieves and the log while databases, networks and processes break. Each scenario starts its
// own servers: PostgreSQL, PgBouncer, MariaDB and Galera from Debian's packages. Usage:
//   npm run build && npm run faults [-- --only postgres,sqlite] [--quick] [--log] [--markdown FILE]
// --only: scenarios whose names contain one of these. --quick: those that CI tries, with less time. --log: prints the log of a
// scenario that fails.
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { Stage } from './stage.mjs';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    quick: { type: 'boolean', default: false },
    log: { type: 'boolean', default: false },
    markdown: { type: 'string' },
  },
});

/** In milliseconds. Clients begin one after the other over the life of an access token. */
const TIMES = values.quick ? { calm: 14_000, after: 14_000 } : { calm: 15_000, after: 25_000 };

const files = ['postgres', 'mariadb', 'galera', 'sqlite', 'deployment'];
const all = (await Promise.all(files.map((file) => import(`./scenarios/${file}.mjs`)))).flatMap(
  ({ scenarios }) => scenarios,
);
const wanted = values.only.split(',');
const chosen = all.filter(
  ({ name, quick }) => wanted.some((part) => name.includes(part)) && (quick || !values.quick),
);

const rows = [];
let failures = 0;
for (const scenario of chosen) {
  console.log(scenario.name);
  const stage = new Stage();
  try {
    const { row, problems } = await stage.play(scenario, TIMES);
    rows.push(row);
    console.log(row);
    if (problems.length === 0) continue;
    failures++;
    for (const problem of problems) console.log(`  PROBLEM ${problem}`);
  } catch (error) {
    failures++;
    console.log(`  PROBLEM the scenario itself failed: ${error.stack}`);
  }
  if (values.log) showLogs(stage.applications);
}
console.table(rows);
if (values.markdown !== undefined) await writeFile(values.markdown, toMarkdown(rows));
console.log(failures === 0 ? `${chosen.length} scenarios, and nothing went wrong.` : `FAILED: ${failures}`);
process.exit(failures === 0 ? 0 : 1);

function showLogs(applications) {
  for (const [place, { log }] of applications.entries()) {
    for (const { level, context, message, cause } of log) {
      if (level === 'log' && context !== 'nestjs-session-tokens') continue;
      console.log(`    ${place + 1} ${level} ${message}${cause ? ` | ${String(cause).split('\n')[0]}` : ''}`);
    }
  }
}

const line = (cells) => `| ${cells.join(' | ')} |\n`;

function toMarkdown(table) {
  const names = Object.keys(table[0] ?? {});
  const body = table.map((row) => line(names.map((name) => row[name]))).join('');
  return line(names) + line(names.map(() => '---')) + body;
}
