// A real browser that fires 20 parallel requests every second at the sample application, over access tokens of six
// seconds, some of them late, and must never be signed out. Now and then it is killed, and comes back with the cookies of a
// moment before. Usage:
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
const TTL = 6_000;
const WINDOW = 3_000;
/** One request in twenty is late, by up to a sixth of an access token's life, and whatever waits for its connection as well. */
const LATE = 0.05;
/** After how many rounds the browser is killed. */
const ROUNDS_OF_A_LIFE = 15;
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
      failed ||= row.bad > 0 || row.rounds < seconds * 0.4;
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
    ACCESS_TOKEN_TTL: `${TTL}ms`,
    REUSE_WINDOW: `${WINDOW}ms`,
    HTTP_ADAPTER: values.adapter,
  };
  const { ports, stop } = await startProcesses(count, environment);
  let refreshes = 0;
  const statuses = {};
  let looksAgain = 0;
  let kills = 0;
  const proxy = await startProxy(ports, {
    // The browser has attached its cookies; the request is on its way.
    delay: (incoming) => (incoming?.url === '/me' && Math.random() < LATE ? (Math.random() * TTL) / 6 : 0),
    answered(answer) {
      statuses[answer.statusCode] = (statuses[answer.statusCode] ?? 0) + 1;
      if (answer.statusCode === 307) looksAgain++;
      if (answer.headers['set-cookie']?.some((line) => line.includes('session_refresh='))) refreshes++;
    },
  });
  let context = await browser.newContext();
  try {
    let page = await context.newPage();
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
      const cookies = await context.cookies();
      const burst = page.evaluate(sendBurst, parallel);
      if (++rounds % ROUNDS_OF_A_LIFE === 0) {
        // Less than 4/9 of a window later it is gone, in the middle of what it was doing.
        await Promise.race([burst, pause(Math.random() * WINDOW * 0.4)]);
        burst.catch(() => undefined);
        await context.close();
        context = await browser.newContext();
        await context.addCookies(cookies);
        page = await context.newPage();
        await page.goto(proxy.url);
        kills++;
        continue;
      }
      bad += (await burst).filter((status) => status !== 200).length;
      if (rounds % 20 === 0)
        console.log(`${kind} × ${count}: ${rounds} rounds, ${bad} refused, ${refreshes} refreshes`);
      await pause(Math.max(0, started + 1_000 - Date.now()));
    }
    return {
      database: kind,
      processes: count,
      rounds,
      requests: rounds * parallel,
      bad,
      refreshes,
      kills,
      'looks again per 1,000': ((looksAgain / (rounds * parallel)) * 1_000).toFixed(2),
      statuses: JSON.stringify(statuses),
    };
  } finally {
    await context.close();
    await proxy.stop();
    await stop();
    await database.remove();
  }
}

/** In the page: that many requests at once. */
function sendBurst(count) {
  return Promise.all(
    Array.from({ length: count }, () =>
      fetch('/me').then(
        ({ status }) => status,
        () => 0,
      ),
    ),
  );
}

function pause(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
