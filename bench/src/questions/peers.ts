import { Browser } from '../bytes/browser.js';
import { CLAIMS } from '../load/client.js';
import type { FixedRequest, Step } from '../load/load.js';
import { raceTable } from '../report/race-table.js';
import type { ServerProcess } from '../run/server-process.js';
import { CONTENDERS, OURS, specOf } from '../servers/peers/comparison/contenders.js';
import { findLimits, QUICK_OPTIONS } from '../servers/peers/comparison/limits.js';
import type { Bench, Contender, Load, Question, Table } from './question.js';

interface Row {
  readonly step: Step;
  readonly title: string;
  readonly text: string;
  readonly load: Contender['load'];
  /** Of our module. */
  readonly options?: object;
}

/** Sessions of which GETs come in turn. */
const SESSIONS = 16;

/** Logins of a user come in such numbers, so that they find few other sessions of that user. */
const LOGINS_PER_USER = 10;

const DEVICES = 4;

const ROWS: readonly Row[] = [
  {
    step: 'login',
    title: 'Login',
    text: 'Makes a session; who the user is has been established before. Only better-auth looks up user and account, because its sign-in does; a cheap hash stands in for its password hash. supertokens asks its core for the user.',
    load: { kind: 'flow', step: 'login', devicesPerUser: LOGINS_PER_USER },
  },
  {
    step: 'me',
    title: 'Authenticated GET',
    text: `The routes answer the user’s id, to ${SESSIONS} sessions in turn. Beside them, Nest alone.`,
    load: async ([server]) => ({ kind: 'requests', requests: await meOfSessions(server!) }),
  },
  {
    step: 'renew',
    title: 'Renewal',
    text: 'Each client renews again and again. Here alone nestjs-session-tokens has `reuseWindow: 0`: with its default, a refresh token whose access token lives is kept, and most of these renewals would be cheaper. What renewal is differs: a new refresh token in a database (nestjs-session-tokens, passport-jwt by hand, supertokens), the session read again into a signed cookie (better-auth), the same content sealed again (iron-session).',
    load: { kind: 'flow', step: 'renew' },
    options: { reuseWindow: 0 },
  },
  {
    step: 'logout',
    title: 'Logout',
    text: 'Each client signs in, which is not measured, and out.',
    load: { kind: 'flow', step: 'logout', clients: 2_000, devicesPerUser: DEVICES },
  },
  {
    step: 'devices',
    title: 'List of devices',
    text: `Lists the ${DEVICES} sessions of the user who asks.`,
    load: { kind: 'flow', step: 'devices', devicesPerUser: DEVICES },
  },
];

export const question: Question = {
  name: 'peers',
  order: 3,
  title: 'How does it compare to what one would use instead?',

  async answer(bench) {
    const tables: Table[] = [];
    for (const row of ROWS) {
      tables.push(await rowTable(bench, row));
      await bench.cleanUp();
    }
    return [...tables, await limitsTable(bench)];
  },
};

async function rowTable(bench: Bench, row: Row): Promise<Table> {
  const able = CONTENDERS.filter(({ cannot }) => cannot[row.step] === undefined);
  const contenders: Contender[] = [];
  for (const contender of able) {
    const spec = await specOf(bench, contender, row.options);
    contenders.push({ ...spec, name: contender.name, load: row.load });
  }
  if (row.step === 'me') contenders.push(...bench.adapters.map(nestAlone));
  // They are far apart: one heat tells them.
  const factors = { heats: 1 / bench.pace.heats, rounds: 5 / 3 };
  const result = await bench.race({ title: row.title.toLowerCase(), floor: OURS, contenders, factors });
  const table = raceTable(result, {
    name: `peers-${row.step}`,
    title: row.title,
    text: row.text,
    chart: {
      column: 'cpu',
      title: `${row.title}: CPU µs per request of the server`,
      highlight: CONTENDERS.map(({ name }) => name).filter((name) => name.startsWith(OURS)),
    },
  });
  return { ...table, rows: [...table.rows, ...unable(row.step)] };
}

/** Those that have no such thing, with the reason. */
function unable(step: Step): Table['rows'] {
  return CONTENDERS.flatMap(({ name, cannot }) =>
    cannot[step] === undefined ? [] : [{ name, values: { remark: cannot[step] } }],
  );
}

function nestAlone(adapter: Bench['adapters'][number]): Contender {
  const name = adapter === 'express' ? 'Nest alone, Express' : 'Nest alone, Fastify';
  const load: Load = { kind: 'requests', requests: [{ path: '/bare', body: '{"ok":true}' }] };
  return { name, server: 'guard/bare', adapter, load };
}

/** The same request of several sessions, with what a browser would send along. */
async function meOfSessions(server: ServerProcess): Promise<FixedRequest[]> {
  const requests: FixedRequest[] = [];
  for (let user = 0; user < SESSIONS; user++) {
    const browser = new Browser(server.port, `user-${user}`);
    await browser.login(CLAIMS);
    const body = JSON.stringify({ userId: browser.userId });
    requests.push({ path: '/me', headers: browser.headersFor('/me'), body });
  }
  return requests;
}

async function limitsTable(bench: Bench): Promise<Table> {
  const rows: Table['rows'][number][] = [];
  for (const contender of CONTENDERS) {
    const { name, cannot, database } = contender;
    bench.progress(`limits of ${name}`);
    const spec = await specOf(bench, contender, QUICK_OPTIONS);
    const counting = { ...spec, env: { ...spec.env, COUNT_QUERIES: '1' } };
    const server = await bench.start(counting);
    const limits = await findLimits({
      server,
      // Of those without a database, one has nothing to share, and one a stub that is not shared.
      other: database ? await bench.start(counting) : undefined,
      renews: cannot.renew === undefined,
    });
    rows.push({ name, values: { ...limits, devices: cannot.devices ?? 'yes' } });
    await bench.cleanUp();
  }
  return {
    name: 'peers-limits',
    title: 'What each does not do',
    text: 'Found out by doing it. “After logout”: a copy of the credentials is used after the user has signed out, at the same process and at another one. “Stolen”: somebody copies the credentials, renews and uses them; then the user renews; then the thief again. “Lost answer”: the answer to a renewal does not arrive, and the client tries again.',
    columns: [
      { key: 'queries', label: 'queries per GET' },
      { key: 'afterLogout', label: 'copy after logout' },
      { key: 'elsewhere', label: 'the same elsewhere' },
      { key: 'theft', label: 'stolen copy' },
      { key: 'lostAnswer', label: 'lost answer to a renewal' },
      { key: 'devices', label: 'list of devices' },
    ],
    rows,
  };
}
