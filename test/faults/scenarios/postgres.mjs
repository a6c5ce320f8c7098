import { execFile, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { hasPgBouncer, startPgBouncer } from '../servers/pgbouncer.mjs';
import { hasPostgres, startPostgres } from '../servers/postgres.mjs';
import { isRoot, runAs, temporaryDisk } from '../servers/temporary.mjs';
import { TcpProxy } from '../tcp-proxy.mjs';

const SECOND = 1_000;

/** What the README recommends, in a tenth of the time: connections whose statement is never answered must come back. */
const TIMEOUTS = { connectTimeoutMS: 1_200, extra: { query_timeout: 2_000, keepAlive: true } };

/** Keys are rotated in each scenario, and processes tell each other of revocations over a connection of its own. */
const OPTIONS = { signingKeys: { rotation: 20 }, revocationPush: true };

/** A pooler that pools transactions passes no notifications on. */
const POOLED = { ...OPTIONS, revocationPush: false };

/** What is said once of a pooler that gives each transaction another connection. */
const isUnprepared = ({ level, message }) =>
  level === 'warn' && message.includes('did not keep a prepared statement');

async function proxyBefore(stage, server, driver = {}) {
  const proxy = await TcpProxy.before(server.port);
  stage.onEnd(() => proxy.close());
  const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres`;
  const extra = { ...TIMEOUTS.extra, ...driver.extra };
  return { proxy, databases: { type: 'postgres', url, ...TIMEOUTS, ...driver, extra } };
}

/** The newest generation of each session. */
async function generations(server) {
  const rows = await server.query('SELECT id, generation FROM user_session');
  return new Map(rows.map(({ id, generation }) => [id, generation]));
}

/** While this holds, nobody can sign in, so that a failover loses no session of somebody who could not know. */
const REFUSE_SIGN_INS = `
  CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'no sign-ins now'; END $$ LANGUAGE plpgsql;
  CREATE TRIGGER refuse BEFORE INSERT ON user_session EXECUTE FUNCTION refuse()`;

/** Fills what is free in the table. @returns which sign-in was the first that was refused */
async function signInUntilRefused({ applications }) {
  for (let n = 1; n <= 5_000; n++) {
    const { status } = await fetch(`http://127.0.0.1:${applications[0].port}/login`, { method: 'POST' });
    if (status === 503) return n;
  }
  throw new Error('The disk is not full.');
}

/** A server of its own, behind a proxy. The fault gets all that there is. */
const scenario = (name, fault, { server, driver, prepare, allowed, quick } = {}) => ({
  name: `postgres: ${name}`,
  quick,
  setUp: async (stage) => {
    const primary = await startPostgres(server);
    stage.onEnd(() => primary.remove());
    const { proxy, databases } = await proxyBefore(stage, primary, driver);
    const parts = { stage, primary, proxy, databases };
    const more = await prepare?.(parts);
    return {
      databases,
      options: OPTIONS,
      allowed,
      ...more?.setting,
      fault: () => fault({ ...parts, ...more }),
    };
  },
});

/** The same with a pooler between the proxy and the server. */
const pooled = (name, fault, { pooler, prepare, allowed } = {}) => ({
  name: `pgbouncer: ${name}`,
  setUp: async (stage) => {
    const primary = await startPostgres();
    stage.onEnd(() => primary.remove());
    const bouncer = await startPgBouncer({ port: primary.port, ...pooler });
    stage.onEnd(() => bouncer.remove());
    const { proxy, databases } = await proxyBefore(stage, bouncer);
    const parts = { stage, primary, bouncer, proxy };
    const more = await prepare?.(parts);
    return {
      databases,
      migrateAt: { type: 'postgres', url: primary.url() },
      options: POOLED,
      allowed: { ...allowed, lines: isUnprepared },
      fault: () => fault({ ...parts, ...more }),
    };
  },
});

const withStandby =
  (options) =>
  async ({ primary }) => ({ standby: await primary.addStandby(options) });

/** Nothing works meanwhile. */
const BITES = { leastErrors: 1 };

const far =
  (milliseconds) =>
  async ({ proxy, stage }) => {
    proxy.delay(milliseconds / 2);
    await stage.pause(15 * SECOND);
    proxy.delay(0);
  };

const all = [
  scenario(
    'restarted, fast and immediate',
    async ({ primary, stage }) => {
      for (const mode of ['fast', 'immediate']) {
        await primary.stop(mode);
        await stage.pause(2 * SECOND);
        await primary.start();
        await stage.pause(3 * SECOND);
      }
    },
    { quick: true, allowed: { ...BITES, times: 2 } },
  ),
  scenario(
    'kill -9, away for 5 s',
    async ({ primary, stage }) => {
      await primary.kill();
      await stage.pause(5 * SECOND);
      await primary.start();
    },
    { allowed: BITES },
  ),
  scenario(
    'all connections ended, once a second for 10 s',
    async ({ primary, stage }) => {
      let ended = 0;
      for (let n = 0; n < 10; n++) {
        ended += await primary.killBackends();
        await stage.pause(SECOND);
      }
      return { ended };
    },
    { allowed: { times: 10 } },
  ),
  scenario(
    'failover to a synchronous standby',
    async ({ primary, standby, proxy }) => {
      await primary.kill();
      await standby.promote();
      proxy.retarget(standby.port);
    },
    { quick: true, prepare: withStandby({ synchronous: true }) },
  ),
  scenario(
    'failover that loses the last 4 s',
    async ({ primary, standby, proxy, stage }) => {
      // Most sessions are of a generation that can go back.
      await stage.pause(10 * SECOND);
      await primary.query(REFUSE_SIGN_INS);
      // Those that are under way.
      await stage.pause(SECOND);
      await standby.pauseReceive();
      await stage.pause(4 * SECOND);
      proxy.refuse();
      proxy.cut();
      const before = await generations(primary);
      await primary.kill();
      await standby.promote();
      const after = await generations(standby);
      const lost = [...before].filter(([id, generation]) => generation > (after.get(id) ?? -1));
      const gone = lost.filter(([id]) => !after.has(id)).length;
      if (lost.length === 0 || gone > 0)
        throw new Error(`${lost.length} sessions went back, ${gone} are gone.`);
      await standby.query('DROP FUNCTION refuse CASCADE');
      proxy.retarget(standby.port);
      proxy.refuse(false);
      return { 'went back': lost.length };
    },
    // Who has signed out in the last seconds is signed in again.
    { quick: true, prepare: withStandby(), allowed: { times: 2, cameBack: true } },
  ),
  scenario(
    'failover, and connections from before are silent',
    async ({ primary, standby, proxy }) => {
      proxy.move(standby.port);
      await primary.kill();
      await standby.promote();
    },
    // Each connection is given up when a statement over it has had its time.
    { prepare: withStandby({ synchronous: true }), allowed: { timeBack: 5, times: 2 } },
  ),
  scenario(
    'read-only for 10 s',
    async ({ primary, stage }) => {
      await primary.configure({ default_transaction_read_only: 'on' });
      await stage.pause(10 * SECOND);
      await primary.configure({ default_transaction_read_only: null });
    },
    { allowed: BITES },
  ),
  scenario(
    'does not answer for 10 s',
    async ({ proxy, stage }) => {
      proxy.hang();
      await stage.pause(10 * SECOND);
      proxy.resume();
    },
    { quick: true, allowed: BITES },
  ),
  scenario(
    'table locked for 8 s',
    async ({ primary }) => {
      await primary.query('BEGIN; LOCK TABLE user_session; SELECT pg_sleep(8); COMMIT');
    },
    { allowed: BITES },
  ),
  scenario(
    'one answer in twenty is lost, for 15 s',
    async ({ proxy, stage }) => {
      proxy.cutAnswers(0.05);
      await stage.pause(15 * SECOND);
      proxy.cutAnswers(0);
    },
    { allowed: { times: Number.POSITIVE_INFINITY } },
  ),
  scenario('100 ms away, for 15 s', far(100), { allowed: { errors: 0 } }),
  scenario('a pool of two connections, 20 ms away', far(20), {
    driver: { poolSize: 2 },
    allowed: { errors: 0 },
  }),
  scenario('serializable, 20 ms away', far(20), {
    server: { settings: { default_transaction_isolation: 'serializable' } },
    allowed: { errors: 0 },
  }),
  scenario(
    'no connection free for 8 s',
    async ({ primary, stage }) => {
      const others = await takeAllConnections(primary);
      await stage.pause(8 * SECOND);
      await Promise.all(others.map((each) => each.end()));
      return { taken: others.length };
    },
    {
      server: { settings: { max_connections: 50, superuser_reserved_connections: 0 } },
      allowed: BITES,
    },
  ),
];

const withFalseClock = [-0.5, 0.5].map((offset) =>
  scenario(
    `failover to a clock that is ${Math.abs(offset)} s ${offset < 0 ? 'behind' : 'ahead'}`,
    async ({ primary, standby, proxy }) => {
      const [{ now }] = await standby.query('SELECT extract(epoch FROM clock_timestamp()) AS now');
      const seen = Number(now) - Date.now() / SECOND;
      if (Math.abs(seen - offset) > 0.2) throw new Error(`The clock is ${seen} s ahead.`);
      await primary.kill();
      await standby.promote();
      proxy.retarget(standby.port);
    },
    {
      prepare: async (parts) =>
        withStandby({ synchronous: true, environment: await falseClock(offset) })(parts),
    },
  ),
);

const onSmallDisk = [
  scenario(
    'disk full for 10 s',
    async ({ disk, stage }) => {
      const filling = join(disk.path, 'filling');
      await writeFile(filling, Buffer.alloc(64 * 2 ** 20)).catch(() => undefined);
      // What is written over does not need the disk; what is new does.
      const refused = await signInUntilRefused(stage);
      await stage.pause(10 * SECOND);
      await writeFile(filling, '');
      return { 'first sign-in refused': refused };
    },
    {
      prepare: async ({ stage, primary, databases }) => {
        const disk = temporaryDisk('disk', 32, runAs('postgres'));
        stage.onEnd(() => disk.remove());
        await primary.query(`CREATE TABLESPACE small LOCATION '${disk.path}'`);
        // The server's own databases are elsewhere.
        await primary.query('CREATE DATABASE sessions TABLESPACE small');
        const url = databases.url.replace(/postgres$/, 'sessions');
        return { disk, setting: { databases: { ...databases, url } } };
      },
      allowed: BITES,
    },
  ),
];

const behindPooler = [
  pooled(
    'restarted, and the server behind it',
    async ({ bouncer, primary, stage }) => {
      for (const each of [bouncer, primary]) {
        await each.stop();
        await stage.pause(3 * SECOND);
        await each.start();
        await stage.pause(3 * SECOND);
      }
    },
    { allowed: { ...BITES, times: 2 } },
  ),
  pooled(
    'paused for 8 s',
    async ({ bouncer, stage }) => {
      await bouncer.pause();
      await stage.pause(8 * SECOND);
      await bouncer.resume();
    },
    { allowed: BITES },
  ),
  pooled('two connections for all, in transaction mode', ({ stage }) => stage.pause(15 * SECOND), {
    pooler: { poolSize: 2 },
    allowed: { errors: 0 },
  }),
  pooled('failover, and connections from before are silent', ({ proxy, other }) => proxy.move(other.port), {
    prepare: async ({ primary, stage }) => {
      const other = await startPgBouncer({ port: primary.port });
      stage.onEnd(() => other.remove());
      return { other };
    },
    allowed: { timeBack: 5, times: 2 },
  }),
];

/** @type {import('../stage.mjs').Scenario[]} */
export const scenarios = hasPostgres()
  ? [
      ...all,
      ...(spawnSync('which', ['faketime']).status === 0 ? withFalseClock : []),
      ...(isRoot() ? onSmallDisk : []),
      ...(hasPgBouncer() ? behindPooler : []),
    ]
  : [];

/** The environment in which a program's clock is some seconds ahead (Debian: apt-get install faketime). */
async function falseClock(offset) {
  const { stdout } = await promisify(execFile)('faketime', ['-f', '+0s', 'printenv', 'LD_PRELOAD']);
  return {
    LD_PRELOAD: stdout.trim(),
    FAKETIME: `${offset < 0 ? '' : '+'}${offset}s`,
    // Waits must end.
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  };
}

/** Opens connections until there are no more, and takes those that the application has. */
async function takeAllConnections(server) {
  const taken = [];
  const killer = new Client({ connectionString: server.url() });
  killer.on('error', () => undefined);
  await killer.connect();
  taken.push(killer);
  for (;;) {
    const client = new Client({ connectionString: server.url() });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query(`SET application_name = 'taker'`);
      taken.push(client);
    } catch (error) {
      if (error.code !== '53300') throw error;
      const { rows } = await killer.query(
        `SELECT count(pg_terminate_backend(pid)) AS ended FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND application_name <> 'taker' AND pid <> pg_backend_pid()`,
      );
      if (Number(rows[0].ended) === 0) return taken;
    }
  }
}
