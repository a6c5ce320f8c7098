// Honest clients and thieves against real processes of the sample application, on a database of each kind at the same time,
// through a proxy that delays messages and loses responses. Usage:
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
    ttl: { type: 'string', default: '3' },
    window: { type: 'string', default: '1' },
    adapter: { type: 'string', default: 'express' },
  },
});

const TTL = Number(values.ttl) * 1_000;
const WINDOW = Number(values.window) * 1_000;
/** A message is on its way for less than half the window; the servers' own time counts, too. */
const MAX_DELAY = 150;
const LOST = 0.02;
/** One client in ten is copied by a thief. */
const COPIED = 0.1;

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
    copied: 0,
    caught: 0,
    missed: 0,
    idle: 0,
  };
  const detection = [];
  const world = {
    url: new URL(proxy.url),
    agent: new Agent({ keepAlive: true, maxSockets: 512 }),
    counts,
    detection,
    isOver: () => isOver,
  };

  const end = Date.now() + Number(values.minutes) * 60_000;
  const progress = setInterval(() => {
    const left = Math.round((end - Date.now()) / 1_000);
    console.log(
      `${kind}: ${left} s left, ${counts.requests} requests, ${counts.refreshes} refreshes, ${counts.honestLogouts} honest logouts, ${counts.caught} of ${counts.copied} thieves caught`,
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
    refreshes: counts.refreshes,
    'answers 5xx': counts.errors,
    'honest logouts': counts.honestLogouts,
    thieves: counts.copied,
    caught: counts.caught,
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
    const statuses = await client.burst();
    if (statuses.includes(401)) {
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
    if ((await owner.burst()).includes(401)) {
      counts.honestLogouts++;
      return;
    }
    await pause(Math.random() * TTL);
  }
  const lastBurst = owner.burst();
  await pause(Math.random() * MAX_DELAY);
  const thief = owner.copy();
  counts.copied++;
  owner.refreshes = 0;
  let isCaught = false;
  let bothTwiceAt;
  const act = async (party) => {
    while (!isCaught && !world.isOver()) {
      if ((await party.burst()).includes(401)) {
        isCaught = true;
        if (bothTwiceAt !== undefined) detection.push(Date.now() - bothTwiceAt);
        return;
      }
      if (owner.refreshes >= 2 && thief.refreshes >= 2) bothTwiceAt ??= Date.now();
      await pause(Math.random() * 1.5 * TTL);
    }
  };
  await lastBurst;
  await Promise.all([act(owner), act(thief)]);
  if (isCaught) counts.caught++;
  else if (bothTwiceAt !== undefined && Date.now() - bothTwiceAt > 3 * TTL) counts.missed++;
}

function pause(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
