import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { DataSource } from 'typeorm';
import { SESSION_ENTITIES, SESSION_MIGRATIONS } from '../../dist/lib/index.js';
import { Crowd } from '../crowd/crowd.mjs';
import { startBalancer } from './balancer.mjs';
import { Application } from './processes.mjs';

/** The life of access tokens, and the reuse window. A ninth of the window is what a message may be on its way. */
const TTL = 12_000;
const WINDOW = 6_000;
/** What a statement may take. A killed client's requests arrive within two ninths of the window, or never. */
const DATABASE_TIMEOUT = 1_200;
const NEWS_TIMEOUT = 1_000;
/** What a busy machine may add to a wait. */
const SLACK = 750;

/**
 * What is tried.
 *
 * @typedef {object} Scenario
 * @property {string} name
 * @property {boolean} [quick] whether CI tries it
 * @property {(stage: Stage) => Promise<Setting>} setUp starts servers, and tells the stage how to remove them
 */
/**
 * @typedef {object} Setting
 * @property {object | object[]} databases TypeORM's options without entities: of all processes, or of each
 * @property {object} [migrateAt] those of the connection that makes the tables, if it is another one
 * @property {number} [processes] 3 if there is one database for all
 * @property {object} [options] of the module
 * @property {number} [clients] 40
 * @property {(stage: Stage) => Promise<object | void>} fault ends when everything works again; what it returns is told in the table
 * @property {Partial<Allowed>} [allowed]
 */
/**
 * What a scenario may show. Nobody honest may ever be signed out, and no thief may be missed.
 *
 * @typedef {object} Allowed
 * @property {number} timeBack how long requests may fail after the fault is over, in seconds: 2
 * @property {number} times how often the same trouble may begin in the log of one process: 1
 * @property {boolean} provenRefused whether requests with proven tokens may fail: no
 * @property {boolean} cameBack whether sessions that have been signed out may come back to life: no
 * @property {number} cut how many requests may break off: any number
 * @property {number} errors how many answers may be 5xx: any number
 * @property {number} leastErrors how many must be, so that the fault is one: 0
 * @property {(line: { level: string, message: string }) => boolean} lines other warnings and errors that the log may have: none
 */

/** One scenario, played once. */
export class Stage {
  applications = [];
  /** What the crowd has seen so far. */
  counts;
  #scenario;
  #times;
  #ends = [];
  #began = performance.now();

  /**
   * @param {Scenario} scenario
   * @param {{ calm: number, after: number }} times how long the crowd lives before and after the fault, in milliseconds
   */
  constructor(scenario, times) {
    this.#scenario = scenario;
    this.#times = times;
  }

  /** Registers what has to be removed, whatever happens. The newest is removed first. */
  onEnd(remove) {
    this.#ends.push(remove);
  }

  async pause(milliseconds) {
    await pause(milliseconds);
  }

  say(text) {
    const seconds = ((performance.now() - this.#began) / 1_000).toFixed(1);
    console.log(`${this.#scenario.name}, ${seconds} s: ${text}`);
  }

  async play() {
    try {
      return await this.#play();
    } finally {
      for (const remove of this.#ends.toReversed()) await remove();
    }
  }

  async #play() {
    const { name, setUp } = this.#scenario;
    const { calm, after } = this.#times;
    const { databases, migrateAt, processes = 3, options, clients = 40, fault, allowed } = await setUp(this);
    const ofEach = Array.isArray(databases) ? databases : Array.from({ length: processes }, () => databases);
    await migrate(migrateAt ?? ofEach[0]);
    this.applications = ofEach.map(
      (database) => new Application({ database, options: { ...OPTIONS, ...options } }),
    );
    this.onEnd(() => Promise.all(this.applications.map((each) => each.kill())));
    await Promise.all(this.applications.map((each) => each.start()));
    const balancer = await startBalancer(() =>
      this.applications.map(({ port }) => port).filter((port) => port !== undefined),
    );
    this.onEnd(() => balancer.close());

    const seen = { lastFailure: 0, proven: 0, provenRefused: 0, longest: 0 };
    const crowd = new Crowd({
      ...HABITS,
      url: balancer.url,
      answered: ({ status, isProven, took }) => {
        const isFailure = status === 0 || status >= 500;
        if (isFailure) seen.lastFailure = performance.now();
        if (!isProven) return;
        seen.proven++;
        seen.longest = Math.max(seen.longest, took);
        // What breaks off with its process is counted by itself.
        if (status >= 500) seen.provenRefused++;
      },
    });
    this.counts = crowd.counts;
    this.onEnd(() => crowd.close());
    // Where this process itself has to wait, the machine is too busy for what is measured here.
    const pauses = monitorEventLoopDelay({ resolution: 20 });
    pauses.enable();
    const life = crowd.live(clients);
    await pause(calm);
    this.say('the fault begins');
    const notes = await fault(this);
    const over = performance.now();
    this.say('the fault is over');
    crowd.stopCopying();
    await pause(after);
    await crowd.decided(HABITS.patience);
    crowd.stop();
    await life;
    // Other processes hear of a sign-out within `revocationInterval`.
    await pause(2_000);
    await crowd.tryLeavers();
    await Promise.all(this.applications.map((each) => each.terminate()));

    const { counts } = crowd;
    const row = {
      scenario: name,
      requests: counts.requests,
      refreshes: counts.refreshes,
      'honest 401': counts.honestLogouts,
      '5xx': counts.errors,
      'broken off': counts.lost,
      'time back, s': Math.max(0, (seen.lastFailure - over) / 1_000).toFixed(1),
      'good tokens': seen.proven,
      'of these refused': seen.provenRefused,
      'longest wait, s': (seen.longest / 1_000).toFixed(1),
      thieves: counts.copied,
      caught: counts.caught,
      'locked out': counts.lockedOut,
      missed: counts.missed,
      'signed out': counts.left,
      'came back': counts.cameBack,
      ...linesOf(this.applications),
      'longest pause here, s': (pauses.max / 1e9).toFixed(1),
      notes: Object.entries(notes ?? {})
        .map(([what, value]) => `${what}: ${value}`)
        .join(', '),
    };
    return { row, problems: [...problemsOf(row, this.applications, { ...ALLOWED, ...allowed })] };
  }
}

const OPTIONS = {
  secret: 'a secret for the fault tests, long enough',
  accessToken: { ttl: TTL / 1_000 },
  reuseWindow: WINDOW / 1_000,
  newsTimeout: NEWS_TIMEOUT / 1_000,
  databaseTimeout: DATABASE_TIMEOUT / 1_000,
  cookies: { secure: false },
};

const HABITS = {
  ttl: TTL,
  window: WINDOW,
  maxDelay: 100,
  late: 0.1,
  lateness: TTL / 6,
  killed: 0.02,
  copied: 0.2,
  stubborn: 0.25,
  alone: TTL,
  patience: 3 * TTL,
  leaves: 0.02,
};

/** @type {Allowed} */
const ALLOWED = {
  timeBack: 2,
  times: 1,
  provenRefused: false,
  cameBack: false,
  cut: Number.POSITIVE_INFINITY,
  errors: Number.POSITIVE_INFINITY,
  leastErrors: 0,
  lines: () => false,
};

async function migrate(options) {
  const driver = options.type === 'better-sqlite3' ? { driver: (await import('libsql')).default } : {};
  const dataSource = new DataSource({
    ...options,
    ...driver,
    entities: [...SESSION_ENTITIES],
    migrations: [...SESSION_MIGRATIONS],
    migrationsRun: true,
  });
  await dataSource.initialize();
  await dataSource.destroy();
}

const LIBRARY = 'nestjs-session-tokens';
const begins = ({ level, context }) => level === 'error' && context === LIBRARY;
const COMES_AND_GOES = ' This comes and goes; its end is told after a minute without it.';
const isTheft = ({ message }) => message.startsWith('Token theft: ');
const ends = ({ message }) => message.includes('The trouble lasted');

function linesOf(applications) {
  const lines = applications.flatMap(({ log }) => log);
  return { 'troubles began': lines.filter(begins).length, ended: lines.filter(ends).length };
}

/** What is not as it must be, in words. */
function* problemsOf(row, applications, allowed) {
  if (row['honest 401'] > 0) yield `${row['honest 401']} honest clients were signed out`;
  if (row.missed > 0) yield `${row.missed} thieves were missed`;
  if (row['came back'] > 0 && !allowed.cameBack) yield `${row['came back']} ended sessions came back to life`;
  if (row['time back, s'] > allowed.timeBack) yield `requests failed for ${row['time back, s']} s afterwards`;
  if (row['of these refused'] > 0 && !allowed.provenRefused) {
    yield `${row['of these refused']} requests with good tokens were refused`;
  }
  if (row['longest wait, s'] * 1_000 > NEWS_TIMEOUT + SLACK) {
    yield `a request with a good token waited for ${row['longest wait, s']} s`;
  }
  if (row['broken off'] > allowed.cut) yield `${row['broken off']} requests broke off`;
  if (row['5xx'] > allowed.errors) yield `${row['5xx']} answers were 5xx`;
  if (row['5xx'] < allowed.leastErrors) yield 'the fault made no difference';
  for (const [place, { log }] of applications.entries()) {
    yield* problemsOfLog(log, allowed).map((problem) => `process ${place + 1}: ${problem}`);
  }
}

/** Each trouble must be there twice: when it began, with its cause, and when it was over. */
function problemsOfLog(log, allowed) {
  const problems = [];
  const times = new Map();
  for (const { message } of log.filter(begins)) {
    const trouble = message.replace(COMES_AND_GOES, '');
    times.set(trouble, (times.get(trouble) ?? 0) + 1);
  }
  for (const [message, count] of times) {
    if (count > allowed.times) problems.push(`${count} times in the log: ${message}`);
  }
  for (const { message, cause } of log.filter(begins)) {
    if (!cause) problems.push(`without a cause: ${message}`);
  }
  const began = log.filter(begins).length;
  const ended = log.filter(ends).length;
  // One that comes and goes ends after a minute without it, which may be after the play.
  const mayStay = log.filter((line) => begins(line) && line.message.endsWith(COMES_AND_GOES)).length;
  if (ended > began || ended < began - mayStay)
    problems.push(`of ${began} troubles in the log, ${ended} ended`);
  for (const line of log) {
    const isNews =
      ['warn', 'error', 'fatal', 'stray'].includes(line.level) && !begins(line) && !isTheft(line);
    if (isNews && !allowed.lines(line)) problems.push(`unexpected line: ${line.message}`);
  }
  return problems;
}
