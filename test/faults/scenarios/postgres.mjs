import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { startPgBouncer } from '../servers/pgbouncer.mjs';
import { startPostgres } from '../servers/postgres.mjs';
import { runAs, temporaryFolder } from '../servers/server-process.mjs';
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

/**
 * A server of one's own, behind a proxy.
 *
 * @param {import('../stage.mjs').Stage} stage
 * @param {object} [options] of the server
 * @param {object} [driver] other options of the application's `DataSource`
 */
async function behindProxy(stage, options, driver) {
  const primary = await startPostgres(options);
  stage.onEnd(() => primary.remove());
  return { primary, ...(await proxyBefore(stage, primary, driver)) };
}

async function proxyBefore(stage, server, driver = {}) {
  const proxy = await TcpProxy.before(server.port);
  stage.onEnd(() => proxy.close());
  const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres`;
  const extra = { ...TIMEOUTS.extra, ...driver.extra };
  return { proxy, databases: { type: 'postgres', url, ...TIMEOUTS, ...driver, extra } };
}

/** A server whose connections a pooler shares. */
async function behindPooler(stage, pooler) {
  const primary = await startPostgres();
  stage.onEnd(() => primary.remove());
  const bouncer = await startPgBouncer({ port: primary.port, ...pooler });
  stage.onEnd(() => bouncer.remove());
  return { primary, bouncer, ...(await proxyBefore(stage, bouncer)), migrateAt: at(primary) };
}

function at(server) {
  return { type: 'postgres', url: server.url() };
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

/** @type {import('../stage.mjs').Scenario[]} */
export const scenarios = [
  {
    name: 'postgres: restarted, fast and immediate',
    quick: true,
    setUp: async (stage) => {
      const { primary, databases } = await behindProxy(stage);
      return {
        databases,
        options: OPTIONS,
        allowed: { leastErrors: 1, times: 2 },
        async fault() {
          for (const mode of ['fast', 'immediate']) {
            await primary.stop(mode);
            await stage.pause(2 * SECOND);
            await primary.start();
            await stage.pause(3 * SECOND);
          }
        },
      };
    },
  },
  {
    name: 'postgres: kill -9, away for 5 s',
    setUp: async (stage) => {
      const { primary, databases } = await behindProxy(stage);
      return {
        databases,
        options: OPTIONS,
        allowed: { leastErrors: 1 },
        async fault() {
          await primary.kill();
          await stage.pause(5 * SECOND);
          await primary.start();
        },
      };
    },
  },
  {
    name: 'postgres: all connections ended, once a second for 10 s',
    setUp: async (stage) => {
      const { primary, databases } = await behindProxy(stage);
      return {
        databases,
        options: OPTIONS,
        allowed: { times: 10 },
        async fault() {
          let ended = 0;
          for (let n = 0; n < 10; n++) {
            ended += await primary.killBackends();
            await stage.pause(SECOND);
          }
          return { ended };
        },
      };
    },
  },
  {
    name: 'postgres: failover to a synchronous standby',
    quick: true,
    setUp: async (stage) => {
      const { primary, proxy, databases } = await behindProxy(stage);
      const standby = await primary.addStandby({ synchronous: true });
      return {
        databases,
        options: OPTIONS,
        async fault() {
          await primary.kill();
          await standby.promote();
          proxy.retarget(standby.port);
        },
      };
    },
  },
  {
    name: 'postgres: failover that loses the last 4 s',
    quick: true,
    setUp: async (stage) => {
      const { primary, proxy, databases } = await behindProxy(stage);
      const standby = await primary.addStandby();
      return {
        databases,
        options: OPTIONS,
        // Who has signed out in the last seconds is signed in again.
        allowed: { times: 2, cameBack: true },
        async fault() {
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
      };
    },
  },
  {
    name: 'postgres: failover, and connections from before are silent',
    setUp: async (stage) => {
      const { primary, proxy, databases } = await behindProxy(stage);
      const standby = await primary.addStandby({ synchronous: true });
      return {
        databases,
        options: OPTIONS,
        // Each connection is given up when a statement over it has had its time.
        allowed: { timeBack: 5, times: 2 },
        async fault() {
          proxy.move(standby.port);
          await primary.kill();
          await standby.promote();
        },
      };
    },
  },
  ...[-0.5, 0.5].map((offset) => ({
    name: `postgres: failover to a clock that is ${Math.abs(offset)} s ${offset < 0 ? 'behind' : 'ahead'}`,
    setUp: async (stage) => {
      const { primary, proxy, databases } = await behindProxy(stage);
      const environment = await falseClock(offset);
      const standby = await primary.addStandby({ synchronous: true, environment });
      return {
        databases,
        options: OPTIONS,
        async fault() {
          const [{ now }] = await standby.query('SELECT extract(epoch FROM clock_timestamp()) AS now');
          const seen = Number(now) - Date.now() / SECOND;
          if (Math.abs(seen - offset) > 0.2) throw new Error(`The clock is ${seen} s ahead.`);
          await primary.kill();
          await standby.promote();
          proxy.retarget(standby.port);
        },
      };
    },
  })),
  {
    name: 'postgres: read-only for 10 s',
    setUp: async (stage) => {
      const { primary, databases } = await behindProxy(stage);
      return {
        databases,
        options: OPTIONS,
        allowed: { leastErrors: 1 },
        async fault() {
          await primary.configure({ default_transaction_read_only: 'on' });
          await stage.pause(10 * SECOND);
          await primary.configure({ default_transaction_read_only: null });
        },
      };
    },
  },
  {
    name: 'postgres: does not answer for 10 s',
    quick: true,
    setUp: async (stage) => {
      const { proxy, databases } = await behindProxy(stage);
      return {
        databases,
        options: OPTIONS,
        allowed: { leastErrors: 1 },
        async fault() {
          proxy.hang();
          await stage.pause(10 * SECOND);
          proxy.resume();
        },
      };
    },
  },
  {
    name: 'postgres: table locked for 8 s',
    setUp: async (stage) => {
      const { primary, databases } = await behindProxy(stage);
      return {
        databases,
        options: OPTIONS,
        allowed: { leastErrors: 1 },
        async fault() {
          await primary.query('BEGIN; LOCK TABLE user_session; SELECT pg_sleep(8); COMMIT');
        },
      };
    },
  },
  {
    name: 'postgres: one answer in twenty is lost, for 15 s',
    setUp: async (stage) => {
      const { proxy, databases } = await behindProxy(stage);
      return {
        databases,
        options: OPTIONS,
        allowed: { times: Number.POSITIVE_INFINITY },
        async fault() {
          proxy.cutAnswers(0.05);
          await stage.pause(15 * SECOND);
          proxy.cutAnswers(0);
        },
      };
    },
  },
  {
    name: 'postgres: 100 ms away, for 15 s',
    setUp: async (stage) => {
      const { proxy, databases } = await behindProxy(stage);
      return {
        databases,
        options: OPTIONS,
        allowed: { errors: 0 },
        async fault() {
          proxy.delay(50);
          await stage.pause(15 * SECOND);
          proxy.delay(0);
        },
      };
    },
  },
  {
    name: 'postgres: a pool of two connections, 20 ms away',
    setUp: async (stage) => {
      const { proxy, databases } = await behindProxy(stage, {}, { poolSize: 2 });
      return {
        databases,
        options: OPTIONS,
        allowed: { errors: 0 },
        async fault() {
          proxy.delay(10);
          await stage.pause(15 * SECOND);
          proxy.delay(0);
        },
      };
    },
  },
  {
    name: 'postgres: serializable, 20 ms away',
    setUp: async (stage) => {
      const settings = { default_transaction_isolation: 'serializable' };
      const { proxy, databases } = await behindProxy(stage, { settings });
      return {
        databases,
        options: OPTIONS,
        allowed: { errors: 0 },
        async fault() {
          proxy.delay(10);
          await stage.pause(15 * SECOND);
          proxy.delay(0);
        },
      };
    },
  },
  {
    name: 'postgres: no connection free for 8 s',
    setUp: async (stage) => {
      const settings = { max_connections: 50, superuser_reserved_connections: 0 };
      const { primary, databases } = await behindProxy(stage, { settings });
      return {
        databases,
        options: OPTIONS,
        allowed: { leastErrors: 1 },
        async fault() {
          const others = await takeAllConnections(primary);
          await stage.pause(8 * SECOND);
          await Promise.all(others.map((each) => each.end()));
          return { taken: others.length };
        },
      };
    },
  },
  {
    name: 'postgres: disk full for 10 s',
    setUp: async (stage) => {
      const disk = await smallDisk(stage);
      const { primary, databases } = await behindProxy(stage);
      await primary.query(`CREATE TABLESPACE small LOCATION '${disk}'`);
      // The server's own databases are elsewhere.
      await primary.query('CREATE DATABASE sessions TABLESPACE small');
      const url = databases.url.replace(/postgres$/, 'sessions');
      return {
        databases: { ...databases, url },
        options: OPTIONS,
        allowed: { leastErrors: 1 },
        async fault() {
          const filling = join(disk, 'filling');
          await writeFile(filling, Buffer.alloc(64 * 2 ** 20)).catch(() => undefined);
          // What is written over does not need the disk; what is new does.
          const refused = await signInUntilRefused(stage);
          await stage.pause(10 * SECOND);
          await writeFile(filling, '');
          return { 'first sign-in refused': refused };
        },
      };
    },
  },
  {
    name: 'pgbouncer: restarted, and the server behind it',
    setUp: async (stage) => {
      const { primary, bouncer, databases, migrateAt } = await behindPooler(stage);
      return {
        databases,
        migrateAt,
        options: POOLED,
        allowed: { leastErrors: 1, times: 2, lines: isUnprepared },
        async fault() {
          for (const each of [bouncer, primary]) {
            await each.stop();
            await stage.pause(3 * SECOND);
            await each.start();
            await stage.pause(3 * SECOND);
          }
        },
      };
    },
  },
  {
    name: 'pgbouncer: paused for 8 s',
    setUp: async (stage) => {
      const { bouncer, databases, migrateAt } = await behindPooler(stage);
      return {
        databases,
        migrateAt,
        options: POOLED,
        allowed: { leastErrors: 1, lines: isUnprepared },
        async fault() {
          await bouncer.pause();
          await stage.pause(8 * SECOND);
          await bouncer.resume();
        },
      };
    },
  },
  {
    name: 'pgbouncer: two connections for all, in transaction mode',
    setUp: async (stage) => {
      const { databases, migrateAt } = await behindPooler(stage, { poolSize: 2 });
      return {
        databases,
        migrateAt,
        options: POOLED,
        allowed: { errors: 0, lines: isUnprepared },
        fault: () => stage.pause(15 * SECOND),
      };
    },
  },
  {
    name: 'pgbouncer: failover, and connections from before are silent',
    setUp: async (stage) => {
      const { primary, proxy, databases, migrateAt } = await behindPooler(stage);
      const other = await startPgBouncer({ port: primary.port });
      stage.onEnd(() => other.remove());
      return {
        databases,
        migrateAt,
        options: POOLED,
        allowed: { timeBack: 5, times: 2, lines: isUnprepared },
        fault: () => proxy.move(other.port),
      };
    },
  },
];

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

/** A disk of 32 MB. Only root can make one. */
async function smallDisk(stage) {
  const owner = runAs('postgres');
  const { path, remove } = temporaryFolder('disk', owner);
  const run = promisify(execFile);
  await run('mount', ['-t', 'tmpfs', '-o', `size=32m,uid=${owner.uid},gid=${owner.gid}`, 'tmpfs', path]);
  stage.onEnd(async () => {
    await run('umount', [path]);
    remove();
  });
  return path;
}
