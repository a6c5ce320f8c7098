// MariaDB servers that belong to a scenario alone: it may kill, lock and fill them.
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import mysql from 'mysql2/promise';
import { atExit } from './at-exit.mjs';
import { freePort } from '../../support/free-port.mjs';
import { isRoot, runAs, temporaryFolder } from './temporary.mjs';

const run = promisify(execFile);

/** mariadbd refuses to be root. */
const USER = 'mysql';
/** How long a server may take to start or to stop, in milliseconds. A node that copies all data from another one takes longest. */
const LONGEST = 60_000;

/** Small servers, which lose nothing when their process is killed. */
export const SETTINGS = {
  innodb_buffer_pool_size: '32M',
  innodb_log_file_size: '16M',
  innodb_flush_log_at_trx_commit: 2,
  performance_schema: 'OFF',
  skip_name_resolve: 'ON',
};

/** Whether this machine has what these servers need. */
export function hasMariadb() {
  return ['mariadbd', 'mariadb-install-db'].every((name) => spawnSync('which', [name]).status === 0);
}

/** One MariaDB server in a temporary folder. */
export async function startMariadb({ settings = {} } = {}) {
  const folder = createFolder();
  const data = join(folder.path, 'data');
  await installData(data);
  const server = new MariadbServer({
    folder: folder.path,
    data,
    port: await freePort(),
    settings: { ...SETTINGS, ...settings },
  });
  await server.start();
  return Object.assign(server, {
    async remove() {
      await server.kill();
      folder.remove();
    },
  });
}

/** A folder of the user that servers run as. */
export function createFolder() {
  return temporaryFolder('mariadb', runAs(USER));
}

/** Makes the folder of an empty server, whose `root` needs no password. */
export async function installData(data) {
  await run('mariadb-install-db', [
    '--no-defaults',
    ...foldersOf(data),
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
    ...asUser(),
  ]);
}

/** One mariadbd, which can be started again and again in its folder. */
export class MariadbServer {
  /** @param place `folder` for its socket and log, `data`, `port`, and `settings` as those of a file of options */
  constructor({ folder, data, port, settings, name = 'server' }) {
    this.data = data;
    this.port = port;
    this.settings = settings;
    this.name = name;
    this.socket = join(folder, `${name}.sock`);
    this.log = join(folder, `${name}.log`);
    this.child = undefined;
    this.lock = undefined;
  }

  /** The URL of a database, for `root` or for another user without a password. */
  url(database, { user = 'root', port = this.port } = {}) {
    return `mysql://${user}@127.0.0.1:${port}/${database}`;
  }

  get isRunning() {
    return this.child !== undefined;
  }

  /** @param options more options of the command line, of this start alone */
  async start(options = []) {
    await this.spawn(options);
    await this.until(() => this.isReady(), 'did not start');
  }

  /** Starts the process, and does not wait. */
  async spawn(options = []) {
    const output = await open(this.log, 'a');
    const child = spawn('mariadbd', [...this.options(), ...options], {
      stdio: ['ignore', output.fd, output.fd],
      // A group of its own: Ctrl-C at the terminal is for this process, which then ends its servers.
      detached: true,
    });
    await output.close();
    const forget = atExit(() => killGroup(child, 'SIGKILL'));
    this.child = child;
    this.exit = once(child, 'exit').then(() => {
      forget();
      if (this.child === child) this.child = undefined;
    });
  }

  options() {
    const settings = Object.entries(this.settings).map(([name, value]) => `--${name}=${value}`);
    const places = [...foldersOf(this.data), `--socket=${this.socket}`, `--port=${this.port}`];
    return ['--no-defaults', '--bind-address=127.0.0.1', ...places, ...asUser(), ...settings];
  }

  async isReady() {
    return this.query('SELECT 1').then(
      () => true,
      () => false,
    );
  }

  /** The server ends its connections, and then itself. */
  async stop() {
    await this.end('SIGTERM');
  }

  /** As if the machine had lost its power. */
  async kill() {
    await this.end('SIGKILL');
  }

  async end(signal) {
    this.lock?.destroy();
    this.lock = undefined;
    const { child, exit } = this;
    if (!child) return;
    // With what it has started to copy data, if it is to be gone at once.
    if (signal === 'SIGKILL') killGroup(child, signal);
    else child.kill(signal);
    await within(
      exit,
      LONGEST,
      async () => new Error(`${this.name} did not stop:\n${await this.lastLines()}`),
    );
  }

  /** The process stands still: connections stay open, and nobody answers. */
  freeze() {
    this.child.kill('SIGSTOP');
  }

  thaw() {
    this.child.kill('SIGCONT');
  }

  /** Runs a statement by the socket, so that limits of connections from the network do not count. @returns its rows */
  async query(sql, values) {
    const connection = await this.connect();
    try {
      const [rows] = await connection.query(sql, values);
      return rows;
    } finally {
      connection.destroy();
    }
  }

  async connect() {
    return mysql.createConnection({ socketPath: this.socket, user: 'root', connectTimeout: 5_000 });
  }

  async createDatabase(name) {
    await this.query(`CREATE DATABASE ${name}`);
  }

  /** A user who may do everything with a database, and nothing else: `read_only` holds for such users only. */
  async createUser(user, database) {
    for (const host of ['127.0.0.1', 'localhost']) {
      await this.query(`CREATE USER IF NOT EXISTS '${user}'@'${host}'`);
      await this.query(`GRANT ALL ON ${database}.* TO '${user}'@'${host}'`);
    }
  }

  /** Ends the connections of all clients but this one, as an administrator or a proxy may. @returns how many */
  async killConnections() {
    const rows = await this.query(
      "SELECT id FROM information_schema.processlist WHERE user NOT IN ('system user', 'event_scheduler') AND id <> CONNECTION_ID()",
    );
    // One may have ended in between.
    await Promise.all(rows.map(({ id }) => this.query(`KILL CONNECTION ${id}`).catch(() => {})));
    return rows.length;
  }

  /** Nobody writes any more; a node of a cluster does not write what it gets either, so that reads there are old. */
  async pauseApply() {
    if (this.lock) return;
    this.lock = await this.connect();
    this.lock.on('error', () => {});
    await this.lock.query('FLUSH TABLES WITH READ LOCK');
  }

  async resumeApply() {
    const lock = this.lock;
    this.lock = undefined;
    if (!lock) return;
    await lock.query('UNLOCK TABLES');
    lock.destroy();
  }

  async until(condition, complaint) {
    const end = performance.now() + LONGEST;
    while (!(await condition())) {
      if (!this.isRunning || performance.now() > end) {
        throw new Error(`${this.name} ${complaint}:\n${await this.lastLines()}`);
      }
      await pause(50);
    }
  }

  async lastLines() {
    const text = await readFile(this.log, 'utf8').catch(() => '');
    return text.split('\n').slice(-30).join('\n');
  }
}

/** A server that starts removes temporary tables from its folder for them, also those of another one. */
function foldersOf(data) {
  return [`--datadir=${data}`, `--tmpdir=${data}`];
}

function killGroup({ pid }, signal) {
  try {
    process.kill(-pid, signal);
  } catch {
    // It has ended.
  }
}

async function within(promise, longest, error) {
  const timer = new AbortController();
  try {
    const late = pause(longest, undefined, { signal: timer.signal }).then(async () => {
      throw await error();
    });
    late.catch(() => {});
    await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}

function asUser() {
  return isRoot() ? [`--user=${USER}`] : [];
}
