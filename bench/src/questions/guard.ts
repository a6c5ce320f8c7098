import type { FixedRequest } from '../load/load.js';
import { makeSessions, type Sessions } from '../load/sessions.js';
import type { Algorithm } from '../load/signing-key.js';
import { profileTable } from '../profile/table.js';
import { entryOf, raceTable } from '../report/race-table.js';
import { titleOf } from '../report/titles.js';
import { spread } from '../run/statistics.js';
import type { Adapter } from '../servers/support/environment.js';
import { measureVerification, verificationTable } from '../verification/measure.js';
import type { Bench, Contender, Load, Question, Ratio, Table } from './question.js';

/** Requests of a slice that are all first-seen; more take longer to prepare than to answer. */
const FIRST_SEEN = { HS256: 3_000, EdDSA: 1_000 } as const;

const BARE = 'bare route';

/** What Nest takes for any guard and any parameter decorator. */
const EMPTY = 'a guard that does nothing';

const EDDSA = 'SessionGuard, 100 sessions, EdDSA';

/** Sessions that are used in turn. */
const DISTINCT = [1, 10, 100, 1_000] as const;

export const question: Question = {
  name: 'guard',
  order: 1,
  title: 'What does the guard cost?',

  async answer(bench) {
    const tables: Table[] = [await verificationTable(bench)];
    // The warm-up takes two slices' worth.
    const slices = bench.pace.rounds + 2;
    const hmac = await makeSessions(bench, 'HS256', FIRST_SEEN.HS256 * slices);
    const edwards = await makeSessions(bench, 'EdDSA', FIRST_SEEN.EdDSA * slices);
    for (const adapter of bench.adapters) {
      tables.push(await provenTable(bench, adapter, hmac, edwards));
      tables.push(await firstSeenTable(bench, adapter, 'HS256', hmac));
      tables.push(await firstSeenTable(bench, adapter, 'EdDSA', edwards));
    }
    tables.push(await whereItGoes(bench, hmac));
    return tables;
  },

  async quick(bench) {
    const ratios: Ratio[] = [];
    const sessions = await makeSessions(bench, 'HS256', 100);
    for (const adapter of bench.adapters) {
      const result = await bench.race({
        title: `proven tokens on ${adapter}`,
        floor: BARE,
        contenders: [bare(adapter, sessions), ours(adapter, sessions, 100)],
      });
      const { throughputRatio, cpuRatio } = entryOf(result, sessionsName(100));
      ratios.push(
        { name: `guard.${adapter}.proven.throughput`, value: throughputRatio },
        { name: `guard.${adapter}.proven.cpu`, value: cpuRatio },
      );
    }
    const costs = await measureVerification(bench, 'HS256');
    const overJose = costs.verify.map(({ cpu }, round) => cpu / costs.jose[round]!.cpu);
    ratios.push({ name: 'guard.first-seen.cpu', value: spread(overJose) });
    return ratios;
  },
};

async function provenTable(
  bench: Bench,
  adapter: Adapter,
  hmac: Sessions,
  edwards: Sessions,
): Promise<Table> {
  const result = await bench.race({
    title: `proven tokens on ${adapter}`,
    floor: BARE,
    contenders: [
      bare(adapter, hmac),
      empty(adapter, hmac),
      ...DISTINCT.map((count) => ours(adapter, hmac, count)),
      { ...ours(adapter, edwards, 100), name: EDDSA, servedBy: undefined },
      jose('jose guard, HS256', adapter, hmac),
      jose('jose guard, EdDSA', adapter, edwards),
    ],
  });
  return raceTable(result, {
    name: `guard-${adapter}`,
    title: `Authenticated GET on ${titleOf(adapter)}`,
    text: 'All contenders get requests with the same cookies, of so many sessions in turn. The first six are routes of one process, so that nothing but the guard differs. “A guard that does nothing” is what Nest itself takes for any guard with a parameter decorator, and so the most that a guard can reach. “SessionGuard” is the library’s guard; “jose guard” calls `jwtVerify` with an imported `CryptoKey` each time.',
    chart: {
      column: 'throughputRatio',
      title: `Authenticated GET on Nest with ${titleOf(adapter)}: share of the bare route’s throughput`,
      highlight: [...DISTINCT.map((count) => sessionsName(count)), EDDSA],
    },
  });
}

async function whereItGoes(bench: Bench, sessions: Sessions): Promise<Table> {
  const subject = {
    name: 'guard-profile',
    title: 'Where the time of an authenticated GET goes',
    text: 'Self time in V8’s CPU profile of the server’s main thread, by whose code it is; of the library, the functions that take most. 100 sessions in turn, HS256, each token seen before. Native code is mostly the sending of the response. What inlining has merged counts for the function that it was merged into.',
  };
  const load: Load = { kind: 'requests', requests: requestsOf(sessions, 100), primed: true };
  return profileTable(bench, subject, sessions.ours, load);
}

async function firstSeenTable(
  bench: Bench,
  adapter: Adapter,
  algorithm: Algorithm,
  sessions: Sessions,
): Promise<Table> {
  const count = FIRST_SEEN[algorithm];
  const load: Load = { kind: 'requests', requests: requestsOf(sessions, sessions.clients.length), count };
  const result = await bench.race({
    title: `first-seen ${algorithm} tokens on ${adapter}`,
    floor: BARE,
    contenders: [
      bare(adapter, sessions),
      { ...sessions.jose(adapter), name: 'jose guard', load },
      { ...sessions.ours(adapter), name: 'SessionGuard', servedBy: BARE, load },
    ],
  });
  return raceTable(result, {
    name: `first-seen-${algorithm.toLowerCase()}-${adapter}`,
    title: `First use of each token, ${algorithm}, on ${titleOf(adapter)}`,
    text: `Each request has a valid token that the server has never seen, ${count} in a slice; the bare route gets as many requests as fit into its slice.`,
    more: [{ key: 'verification', label: 'CPU µs above bare', of: ({ cpuAboveFloor }) => cpuAboveFloor }],
  });
}

function requestsOf({ clients }: Sessions, count: number): FixedRequest[] {
  return clients.slice(0, count).map((client) => client.fixedMe());
}

/** The floor: a route without a guard, in the process whose other routes have the library's. */
function bare(adapter: Adapter, sessions: Sessions): Contender {
  return { ...sessions.ours(adapter), name: BARE, load: unguarded(sessions, '/bare') };
}

function empty(adapter: Adapter, sessions: Sessions): Contender {
  return { ...sessions.ours(adapter), name: EMPTY, servedBy: BARE, load: unguarded(sessions, '/empty') };
}

function ours(adapter: Adapter, sessions: Sessions, count: number): Contender {
  return {
    ...sessions.ours(adapter),
    name: sessionsName(count),
    servedBy: BARE,
    load: { kind: 'requests', requests: requestsOf(sessions, count), primed: true },
  };
}

/** With the same headers as the others: reading them is no work of the guard. */
function unguarded(sessions: Sessions, path: string): Load {
  const requests = requestsOf(sessions, 100).map(({ headers }) => ({ path, headers, body: '{"ok":true}' }));
  return { kind: 'requests', requests };
}

function jose(name: string, adapter: Adapter, sessions: Sessions): Contender {
  return {
    ...sessions.jose(adapter),
    name,
    load: { kind: 'requests', requests: requestsOf(sessions, 100) },
  };
}

function sessionsName(count: number): string {
  return `SessionGuard, ${count.toLocaleString('en-GB')} ${count === 1 ? 'session' : 'sessions'}`;
}
