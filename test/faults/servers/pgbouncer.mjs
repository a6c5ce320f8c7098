// PgBouncer between an application and a PostgreSQL server.
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { ServerProcess, untilItWorks } from './server-process.mjs';
import { freePort } from '../../support/free-port.mjs';
import { runAs, temporaryFolder } from './temporary.mjs';

const SIGNALS = {
  /** Waits for transactions in progress. */
  safe: 'SIGINT',
  immediate: 'SIGTERM',
};

/** Whether this machine has it. */
export function hasPgBouncer() {
  return spawnSync('which', ['pgbouncer']).status === 0;
}

/**
 * Starts a pooler.
 *
 * @param options.port of the server on 127.0.0.1
 * @param options.poolMode `transaction` or `session`
 * @param options.poolSize how many connections to the server it has at most
 * @param options.settings others of its file
 */
export async function startPgBouncer({ port, poolMode = 'transaction', poolSize = 20, settings = {} }) {
  const owner = runAs('postgres');
  const folder = temporaryFolder('pgbouncer', owner);
  const bouncer = new PgBouncer(folder, owner, await freePort());
  const all = {
    listen_addr: '127.0.0.1',
    listen_port: bouncer.port,
    unix_socket_dir: '',
    auth_type: 'trust',
    auth_file: bouncer.file('users.txt'),
    admin_users: 'postgres',
    pool_mode: poolMode,
    default_pool_size: poolSize,
    max_client_conn: 1_000,
    ignore_startup_parameters: 'extra_float_digits,options',
    // It refuses clients for so long after a failed log-in at the server.
    server_login_retry: 1,
    ...settings,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name} = ${value}`);
  await writeFile(bouncer.file('users.txt'), '"postgres" ""\n', { mode: 0o644 });
  await writeFile(
    bouncer.file('pgbouncer.ini'),
    `[databases]\n* = host=127.0.0.1 port=${port}\n[pgbouncer]\n${lines.join('\n')}\n`,
    { mode: 0o644 },
  );
  await bouncer.start();
  return bouncer;
}

class PgBouncer {
  #folder;
  #owner;
  #process;

  constructor(folder, owner, port) {
    this.#folder = folder;
    this.#owner = owner;
    this.port = port;
  }

  url(database = 'postgres') {
    return `postgres://postgres@127.0.0.1:${this.port}/${database}`;
  }

  file(name) {
    return join(this.#folder.path, name);
  }

  /** Starts it, again or for the first time. @returns when it answers */
  async start() {
    this.#process = new ServerProcess('/usr/sbin/pgbouncer', [this.file('pgbouncer.ini')], this.#owner);
    await untilItWorks(() => this.command('SHOW VERSION'), this.#process);
  }

  /** @param mode `safe` or `immediate` */
  async stop(mode = 'immediate') {
    await this.#process.stop(SIGNALS[mode]);
  }

  /** From now on statements wait. */
  async pause() {
    await this.command('PAUSE');
  }

  async resume() {
    await this.command('RESUME');
  }

  /** Runs a command of its console. @returns the rows of the answer */
  async command(text) {
    const client = new Client({
      connectionString: this.url('pgbouncer'),
      connectionTimeoutMillis: 10_000,
    });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** Stops it, and removes everything. */
  async remove() {
    await this.#process.kill();
    this.#folder.remove();
  }
}
