// Honest clients and thieves against real processes of the sample application, on a database of each kind at the same time,
// through a proxy that delays messages and loses responses. Clients queue requests, send some of them late, and are killed.
// Usage:
//   npm run build && npm run soak [-- --minutes 5 --databases postgres,mysql --clients 200 --processes 3]
// The databases are those of TEST_POSTGRES_URL and TEST_MYSQL_URL; sqlite needs none.
import { Agent } from 'node:http';
import { parseArgs } from 'node:util';
import { Client } from './client.mjs';
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
/** How often a client is killed, and how much of its cookies' history it then forgets. */
const KILLED = 0.03;
const FORGOTTEN = (WINDOW * 4) / 9;
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
  let isOver = false;
  const proxy = await startProxy(ports, {
    delay: () => Math.random() * MAX_DELAY,
    // Sign-in is not what is tried here: a client whose sign-in got lost would just sign in again.
    drop: (_answer, incoming) => incoming.url !== '/login' && Math.random() < LOST,
  });
  const counts = {
    requests: 0,
    lost: 0,
    refreshes: 0,
    errors: 0,
    honestLogouts: 0,
    late: 0,
    killed: 0,
    looksAgain: 0,
    copied: 0,
    caught: 0,
    lockedOut: 0,
    missed: 0,
  };
  const detection = [];
  const world = {
    url: new URL(proxy.url),
    agent: new Agent({ keepAlive: true, maxSockets: 512 }),
    counts,
    detection,
    late: LATE,
    lateness: LATENESS,
    remembers: FORGOTTEN,
    isOver: () => isOver,
  };

  const end = Date.now() + Number(values.minutes) * 60_000;
  const progress = setInterval(() => {
    const left = Math.round((end - Date.now()) / 1_000);
    console.log(
      `${kind}: ${left} s left, ${counts.requests} requests, ${counts.refreshes} refreshes, ${counts.honestLogouts} honest logouts, ${counts.caught} of ${counts.copied} thieves caught, ${counts.lockedOut} locked out`,
    );
  }, 15_000);
  const timer = setTimeout(() => {
    isOver = true;
  }, end - Date.now());
  try {
    await Promise.all(Array.from({ length: Number(values.clients) }, () => live(world)));
  } finally {
    clearInterval(progress);
    clearTimeout(timer);
    world.agent.destroy();
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

/** Clients one after the other in one place: each lives until it is caught up in a theft, or the soak is over. */
async function live(world) {
  while (!world.isOver()) {
    const owner = new Client(world);
    if (!(await owner.signIn())) {
      await pause(1_000);
      continue;
    }
    await (Math.random() < COPIED ? livePossiblyStolen(world, owner) : liveHonestly(world, owner));
  }
}

async function liveHonestly(world, client) {
  while (!world.isOver()) {
    const burst = client.burst();
    if (Math.random() < KILLED) {
      await pause(Math.random() * MAX_DELAY * 4);
      client.kill(FORGOTTEN);
    }
    if (isOut(await burst)) {
      world.counts.honestLogouts++;
      console.log('AN HONEST CLIENT WAS SIGNED OUT');
      return;
    }
    await pause(Math.random() * 2 * TTL);
  }
}

async function livePossiblyStolen(world, owner) {
  const { counts, detection } = world;
  // The owner lives alone for a while, then a thief copies the cookies at a random moment, also in the middle of a burst.
  const alone = Date.now() + Math.random() * 4 * TTL;
  while (Date.now() < alone && !world.isOver()) {
    if (isOut(await owner.burst())) {
      counts.honestLogouts++;
      console.log('AN HONEST CLIENT WAS SIGNED OUT');
      return;
    }
    await pause(Math.random() * TTL);
  }
  const lastBurst = owner.burst();
  await pause(Math.random() * MAX_DELAY);
  const thief = owner.copy();
  thief.looksAgain = Math.random() >= STUBBORN;
  counts.copied++;
  owner.refreshes = 0;
  let isCaught = false;
  let isLockedOut = false;
  let bothTwiceAt;
  const act = async (party) => {
    while (!isCaught && !world.isOver()) {
      const answers = await party.burst();
      if (isOut(answers)) {
        isCaught = true;
        if (bothTwiceAt !== undefined) detection.push(Date.now() - bothTwiceAt);
        return;
      }
      // A thief who does not look again gets nothing; the owner goes on.
      if (!party.looksAgain && answers.every(({ status }) => status === 307 || status === 0)) {
        isLockedOut ||= answers.some(({ status }) => status === 307);
        if (isLockedOut) return;
      }
      if (owner.refreshes >= 2 && thief.refreshes >= 2) bothTwiceAt ??= Date.now();
      await pause(Math.random() * 1.5 * TTL);
    }
  };
  await lastBurst;
  await Promise.all([act(owner), act(thief)]);
  if (isCaught) counts.caught++;
  else if (isLockedOut) counts.lockedOut++;
  else if (bothTwiceAt !== undefined && Date.now() - bothTwiceAt > 3 * TTL) counts.missed++;
}

/** Whether an answer says that the session is over. */
function isOut(answers) {
  return answers.some(({ status }) => status === 401);
}

function pause(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
