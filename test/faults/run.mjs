// What becomes of honest clients, thieves and the log while databases, networks and processes break. Each scenario starts its
// own servers: PostgreSQL, PgBouncer, MariaDB and Galera from Debian's packages. Usage:
//   npm run build && npm run faults [-- --only postgres,sqlite] [--quick] [--at-once 2] [--log] [--markdown FILE]
// --only: scenarios whose names contain one of these. --quick: those that CI tries, with less time. --at-once: how many play at
// the same time. --log: prints the log of a scenario that fails.
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { Stage } from './stage.mjs';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    quick: { type: 'boolean', default: false },
    'at-once': { type: 'string', default: '2' },
    log: { type: 'boolean', default: false },
    markdown: { type: 'string' },
  },
});

/** In milliseconds. Clients begin one after the other over the life of an access token. */
const TIMES = values.quick ? { calm: 14_000, after: 14_000 } : { calm: 15_000, after: 25_000 };

const files = ['postgres', 'mariadb', 'galera', 'sqlite', 'deployment'];
const all = [];
for (const file of files) {
  const { scenarios } = await import(`./scenarios/${file}.mjs`);
  if (scenarios.length === 0) console.log(`${file}: its servers are not installed, so it is left out.`);
  all.push(...scenarios);
}
const wanted = values.only.split(',');
const chosen = all.filter(
  ({ name, quick }) => wanted.some((part) => name.includes(part)) && (quick || !values.quick),
);

/** What matters of it, for the page about operations. */
const COLUMNS = {
  scenario: 'scenario',
  requests: 'requests',
  refreshes: 'refreshes',
  'honest 401': 'honest 401',
  '5xx': '5xx',
  'time back, s': 'time back, s',
  'good tokens refused': 'of these refused',
  'longest wait of a good token, s': 'longest wait, s',
  thieves: 'thieves',
  'caught, locked out': (row) => `${row.caught}, ${row['locked out']}`,
  missed: 'missed',
  'troubles in the log, and their ends': (row) => `${row['troubles began']}, ${row.ended}`,
};

const rows = [];
let failures = 0;
const waiting = [...chosen];
await Promise.all(Array.from({ length: Number(values['at-once']) }, playAll));
rows.sort((a, b) => placeOf(a) - placeOf(b));
console.table(rows);
if (values.markdown !== undefined) await writeFile(values.markdown, toMarkdown(rows));
console.log(failures === 0 ? `${chosen.length} scenarios, and nothing went wrong.` : `FAILED: ${failures}`);
process.exit(failures === 0 ? 0 : 1);

function placeOf({ scenario }) {
  return chosen.findIndex(({ name }) => name === scenario);
}

async function playAll() {
  for (let next = waiting.shift(); next; next = waiting.shift()) await play(next);
}

async function play(scenario) {
  const stage = new Stage(scenario, TIMES);
  const problems = [];
  try {
    const played = await stage.play();
    rows.push(played.row);
    console.log(played.row);
    problems.push(...played.problems);
  } catch (error) {
    problems.push(`the scenario itself failed: ${error.stack}`);
  }
  for (const problem of problems) console.log(`  PROBLEM ${scenario.name}: ${problem}`);
  if (problems.length === 0) return;
  failures++;
  if (values.log) showLogs(stage.applications);
}

function showLogs(applications) {
  for (const [place, { log }] of applications.entries()) {
    for (const { level, context, message, cause } of log) {
      if (level === 'log' && context !== 'nestjs-session-tokens') continue;
      console.log(`    ${place + 1} ${level} ${message}${cause ? ` | ${String(cause).split('\n')[0]}` : ''}`);
    }
  }
}

function toMarkdown(table) {
  const names = Object.keys(COLUMNS);
  const cellsOf = (row) => Object.values(COLUMNS).map((of) => (typeof of === 'string' ? row[of] : of(row)));
  return line(names) + line(names.map(() => '---')) + table.map((row) => line(cellsOf(row))).join('');
}

function line(cells) {
  return `| ${cells.join(' | ')} |\n`;
}
