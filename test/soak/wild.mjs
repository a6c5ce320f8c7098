// Honest clients and thieves against real processes of the sample application, on a database of each kind at the same time,
// through a proxy that delays messages and loses responses. Clients queue requests, send some of them late, and are killed.
// Usage:
//   npm run build && npm run soak [-- --minutes 5 --databases postgres,mysql --clients 200 --processes 3]
// The databases are those of TEST_POSTGRES_URL and TEST_MYSQL_URL; sqlite needs none.
import { parseArgs } from 'node:util';
import { Crowd } from '../crowd/crowd.mjs';
import { createDatabase, startProcesses, startProxy } from './processes.mjs';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    databases: { type: 'string', default: 'postgres,mysql' },
    clients: { type: 'string', default: '200' },
    processes: { type: 'string', default: '3' },
    // Seconds. On a busy machine the servers' own time may be long: give them a wider window.
    ttl: { type: 'string', default: '6' },
    window: { type: 'string', default: '3' },
    adapter: { type: 'string', default: 'express' },
  },
});

const TTL = Number(values.ttl) * 1_000;
const WINDOW = Number(values.window) * 1_000;
/** A response is on its way for less than a ninth of the window; the time of proxy and client counts, too. */
const MAX_DELAY = Math.min(150, WINDOW / 20);
const LOST = 0.02;
/** One request in ten is late, by up to a third of an access token's life, the proxy's delay included. */
const LATE = 0.1;
const LATENESS = TTL / 3 - MAX_DELAY;
/** How often a client is killed. */
const KILLED = 0.03;
/** One client in ten is copied by a thief. */
const COPIED = 0.1;
/** One thief in four does not look again when told to. */
const STUBBORN = 0.25;

const rows = await Promise.all(values.databases.split(',').map(soak));
console.table(rows);
const failed = rows.some(
  (row) => row['honest logouts'] > 0 || row['thefts missed'] > 0 || row['answers 5xx'] > 0,
);
console.log(
  failed ? 'FAILED' : 'No honest client was signed out, and every thief who refreshed twice was caught.',
);
process.exitCode = failed ? 1 : 0;

async function soak(kind) {
  const database = await createDatabase(kind);
  const environment = {
    DATABASE_URL: database.url,
    ACCESS_TOKEN_TTL: `${TTL}ms`,
    REUSE_WINDOW: `${WINDOW}ms`,
    HTTP_ADAPTER: values.adapter,
  };
  const { ports, stop } = await startProcesses(Number(values.processes), environment);
  const proxy = await startProxy(ports, {
    delay: () => Math.random() * MAX_DELAY,
    // Sign-in is not what is tried here: a client whose sign-in got lost would just sign in again.
    drop: (_answer, incoming) => incoming.url !== '/login' && Math.random() < LOST,
  });
  const crowd = new Crowd({
    url: proxy.url,
    ttl: TTL,
    window: WINDOW,
    maxDelay: MAX_DELAY,
    late: LATE,
    lateness: LATENESS,
    killed: KILLED,
    copied: COPIED,
    stubborn: STUBBORN,
    alone: 4 * TTL,
    patience: 3 * TTL,
    answered: ({ status, text }) => {
      if (status >= 500) console.log(`ANSWER ${status} ${text.slice(0, 200)}`);
    },
  });
  const { counts, detection } = crowd;

  const end = Date.now() + Number(values.minutes) * 60_000;
  const progress = setInterval(() => {
    const left = Math.round((end - Date.now()) / 1_000);
    console.log(
      `${kind}: ${left} s left, ${counts.requests} requests, ${counts.refreshes} refreshes, ${counts.honestLogouts} honest logouts, ${counts.caught} of ${counts.copied} thieves caught, ${counts.lockedOut} locked out`,
    );
  }, 15_000);
  const timer = setTimeout(() => crowd.stop(), end - Date.now());
  try {
    await crowd.live(Number(values.clients));
  } finally {
    clearInterval(progress);
    clearTimeout(timer);
    crowd.close();
    await proxy.stop();
    await stop();
    await database.remove();
  }
  detection.sort((a, b) => a - b);
  return {
    database: kind,
    processes: ports.length,
    requests: counts.requests,
    'responses lost': counts.lost,
    late: counts.late,
    killed: counts.killed,
    refreshes: counts.refreshes,
    'looks again per 1,000': ((counts.looksAgain / counts.requests) * 1_000).toFixed(2),
    'answers 5xx': counts.errors,
    'honest logouts': counts.honestLogouts,
    thieves: counts.copied,
    caught: counts.caught,
    'locked out': counts.lockedOut,
    'thefts missed': counts.missed,
    'median s from second refresh to detection':
      detection.length === 0 ? '-' : (detection[detection.length >> 1] / 1_000).toFixed(1),
    'longest s': detection.length === 0 ? '-' : (detection.at(-1) / 1_000).toFixed(1),
  };
}
