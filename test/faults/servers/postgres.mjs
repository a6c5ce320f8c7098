// PostgreSQL servers of our own, which may be stopped, killed and promoted.
import { existsSync } from 'node:fs';
import { appendFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { run, ServerProcess, signalTo, untilItWorks } from './server-process.mjs';
import { freePort } from '../../support/free-port.mjs';
import { runAs, temporaryFolder } from './temporary.mjs';

/** Where Debian has the versions of PostgreSQL. */
const VERSIONS = '/usr/lib/postgresql';

const SIGNALS = {
  /** Breaks connections off, and writes all to the disk. */
  fast: 'SIGINT',
  /** Ends at once; the next start recovers from the log. */
  immediate: 'SIGQUIT',
};

/** Of all servers here. No machine loses its power, so nothing must wait for a disk. */
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  fsync: 'off',
  full_page_writes: 'off',
  shared_buffers: '32MB',
  max_connections: 100,
  hot_standby: 'on',
};

/** Whether this machine has what these servers need. */
export function hasPostgres() {
  return existsSync(VERSIONS);
}

/**
 * Starts an empty server.
 *
 * @param options.settings of postgresql.conf
 */
export async function startPostgres({ settings = {} } = {}) {
  const owner = runAs('postgres');
  const folder = temporaryFolder('postgres', owner);
  const data = join(folder.path, 'data');
  await run(
    await program('initdb'),
    ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', '-N'],
    owner,
  );
  const lines = Object.entries({ ...SETTINGS, ...settings }).map(([name, value]) => `${name} = '${value}'\n`);
  await appendFile(join(data, 'postgresql.conf'), lines.join(''));
  const server = new Postgres(folder, data, owner, await freePort());
  await server.start();
  return server;
}

class Postgres {
  #folder;
  #data;
  #owner;
  #environment;
  #process;
  #standbys = [];

  constructor(folder, data, owner, port, environment = {}) {
    this.#folder = folder;
    this.#data = data;
    this.#owner = owner;
    this.#environment = environment;
    this.port = port;
  }

  url(database = 'postgres') {
    return `postgres://postgres@127.0.0.1:${this.port}/${database}`;
  }

  /** Starts it, again or for the first time. @returns when it answers */
  async start() {
    const args = ['-D', this.#data, '-p', String(this.port), '-k', this.#folder.path];
    this.#process = new ServerProcess(await program('postgres'), args, {
      ...this.#owner,
      env: { PATH: process.env.PATH, ...this.#environment },
    });
    await untilItWorks(() => this.query('SELECT 1'), this.#process);
  }

  /** @param mode `fast` or `immediate` */
  async stop(mode = 'fast') {
    await this.#process.stop(SIGNALS[mode]);
  }

  /** Kills the server and its connections, as a loss of power does. */
  async kill() {
    await this.#process.kill();
  }

  /** Runs a statement over a connection of its own. @returns its rows */
  async query(sql, values, database = 'postgres') {
    const client = new Client({ connectionString: this.url(database), connectionTimeoutMillis: 10_000 });
    // A server that goes away says so over connections that nobody uses.
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query(sql, values)).rows;
    } finally {
      await client.end();
    }
  }

  /** Ends all other connections of clients. @returns how many they were */
  async killBackends() {
    const rows = await this.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`,
    );
    return rows.length;
  }

  /** Changes settings of the running server; `null` takes a setting back. */
  async configure(settings) {
    for (const [name, value] of Object.entries(settings)) {
      const change = value === null ? `RESET ${name}` : `SET ${name} = '${value}'`;
      await this.query(`ALTER SYSTEM ${change}`);
    }
    await this.query('SELECT pg_reload_conf()');
  }

  /**
   * Starts a copy that follows this server.
   *
   * @param options.synchronous whether commits wait until the standby has them
   * @param options.environment of its process
   */
  async addStandby({ synchronous = false, environment } = {}) {
    const folder = temporaryFolder('standby', this.#owner);
    const data = join(folder.path, 'data');
    const port = await freePort();
    const name = `standby_${port}`;
    const connection = `host=127.0.0.1 port=${this.port} user=postgres application_name=${name}`;
    await run(
      await program('pg_basebackup'),
      ['-D', data, '-d', connection, '-R', '-X', 'stream', '-c', 'fast'],
      this.#owner,
    );
    const standby = new Standby(this, name, folder, data, this.#owner, port, environment);
    this.#standbys.push(standby);
    await standby.start();
    if (synchronous) await this.configure({ synchronous_standby_names: name });
    const wanted = synchronous ? 'sync' : 'async';
    await untilItWorks(async () => {
      const [sender] = await this.sendersTo(name);
      if (sender?.state !== 'streaming' || sender.sync_state !== wanted)
        throw new Error('It does not follow.');
    });
    return standby;
  }

  /** The processes that send what is committed to a standby. */
  async sendersTo(name) {
    return this.query('SELECT pid, state, sync_state FROM pg_stat_replication WHERE application_name = $1', [
      name,
    ]);
  }

  /** Stops it and its standbys, and removes everything. */
  async remove() {
    for (const standby of this.#standbys) await standby.remove();
    await this.#process.kill();
    this.#folder.remove();
  }
}

/** A server that follows another one until it is promoted. */
class Standby extends Postgres {
  #primary;
  #name;
  #stopped = [];

  constructor(primary, name, ...rest) {
    super(...rest);
    this.#primary = primary;
    this.#name = name;
  }

  /** From now on it gets nothing of what is committed; so a failover loses that. */
  async pauseReceive() {
    this.#stopped = (await this.#primary.sendersTo(this.#name)).map(({ pid }) => pid);
    if (this.#stopped.length === 0) throw new Error('Nobody sends to the standby.');
    // A stopped receiver would keep a promotion from ending; the sender dies with the primary.
    for (const pid of this.#stopped) signalTo(pid, 'SIGSTOP');
  }

  resumeReceive() {
    for (const pid of this.#stopped) signalTo(pid, 'SIGCONT');
  }

  /** Makes it a primary. @returns when it accepts writes */
  async promote() {
    const [{ done }] = await this.query('SELECT pg_promote(true, 60) AS done');
    if (!done) throw new Error('The standby was not promoted.');
  }
}

/** The path of a program of the newest version. */
async function program(name) {
  const versions = await readdir(VERSIONS).catch(() => []);
  const newest = versions
    .map(Number)
    .filter(Number.isInteger)
    .toSorted((a, b) => b - a)[0];
  if (newest === undefined)
    throw new Error(`There is no PostgreSQL in ${VERSIONS} (Debian: apt-get install postgresql).`);
  return join(VERSIONS, String(newest), 'bin', name);
}
