// A real browser that fires 20 parallel requests every second at the sample application, over access tokens of five
// seconds, and must never be signed out. Usage:
//   npm run build && node test/soak/browser.mjs [--seconds 120] [--databases sqlite,postgres,mysql] [--processes 1,3]
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { createDatabase, startProcesses, startProxy } from './processes.mjs';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    databases: { type: 'string', default: 'sqlite,postgres,mysql' },
    processes: { type: 'string', default: '1,3' },
    parallel: { type: 'string', default: '20' },
    adapter: { type: 'string', default: 'express' },
  },
});
const seconds = Number(values.seconds);
const parallel = Number(values.parallel);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
let failed = false;
const rows = [];
try {
  for (const database of values.databases.split(',')) {
    for (const processes of values.processes.split(',').map(Number)) {
      const row = await soak(database, processes);
      rows.push(row);
      failed ||= row.bad > 0 || row.rounds < seconds * 0.9;
    }
  }
} finally {
  await browser.close();
}
console.table(rows);
console.log(failed ? 'FAILED' : 'No request was refused.');
process.exitCode = failed ? 1 : 0;

async function soak(kind, count) {
  const database = await createDatabase(kind);
  const environment = {
    DATABASE_URL: database.url,
    ACCESS_TOKEN_TTL: '5s',
    REUSE_WINDOW: '2s',
    HTTP_ADAPTER: values.adapter,
  };
  const { ports, stop } = await startProcesses(count, environment);
  let refreshes = 0;
  const statuses = {};
  const proxy = await startProxy(ports, {
    answered(answer) {
      statuses[answer.statusCode] = (statuses[answer.statusCode] ?? 0) + 1;
      if (answer.headers['set-cookie']?.some((line) => line.includes('session_refresh='))) refreshes++;
    },
  });
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(proxy.url);
    const login = await page.evaluate(async () => {
      const body = JSON.stringify({ username: 'alice', password: 'wonderland' });
      return (
        await fetch('/login', { method: 'POST', headers: { 'content-type': 'application/json' }, body })
      ).status;
    });
    if (login !== 200) throw new Error(`Sign-in answered ${login}`);
    let rounds = 0;
    let bad = 0;
    const end = Date.now() + seconds * 1_000;
    while (Date.now() < end) {
      const started = Date.now();
      const answers = await page.evaluate(
        (n) =>
          Promise.all(
            Array.from({ length: n }, () =>
              fetch('/me').then(
                ({ status }) => status,
                () => 0,
              ),
            ),
          ),
        parallel,
      );
      rounds++;
      bad += answers.filter((status) => status !== 200).length;
      if (rounds % 20 === 0)
        console.log(`${kind} × ${count}: ${rounds} rounds, ${bad} refused, ${refreshes} refreshes`);
      await new Promise((resolve) => {
        setTimeout(resolve, Math.max(0, started + 1_000 - Date.now()));
      });
    }
    return {
      database: kind,
      processes: count,
      rounds,
      requests: rounds * parallel,
      bad,
      refreshes,
      statuses: JSON.stringify(statuses),
    };
  } finally {
    await context.close();
    await proxy.stop();
    await stop();
    await database.remove();
  }
}
