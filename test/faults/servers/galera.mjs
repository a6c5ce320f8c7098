// A Galera cluster that belongs to a scenario alone.
import { existsSync } from 'node:fs';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { createFolder, hasMariadb, installData, MariadbServer, SETTINGS } from './mariadb.mjs';
import { freePort } from '../../support/free-port.mjs';
import { isRoot } from './temporary.mjs';

const run = promisify(execFile);

const PROVIDERS = ['/usr/lib/galera/libgalera_smm.so', '/usr/lib64/galera/libgalera_smm.so'];
const provider = PROVIDERS.find((each) => existsSync(each));

/** Whether this machine has what a cluster needs. */
export function hasGalera() {
  return hasMariadb() && provider !== undefined;
}

/**
 * Starts a cluster. Its nodes have one copy of the data from the beginning, so that only a node that is replaced copies all.
 *
 * @param options.settings of each node, such as `wsrep_sync_wait`
 * @param options.providerOptions such as `evs.suspect_timeout`. @default those of Galera
 */
export async function startGalera({ nodes: count = 3, settings = {}, providerOptions = {} } = {}) {
  const folder = createFolder();
  const places = await Promise.all(Array.from({ length: count }, () => portsOfNode()));
  const addresses = places.map(({ group }) => `127.0.0.1:${group}`);
  const nodes = places.map((ports, index) => {
    const name = `node${index}`;
    const data = join(folder.path, name);
    const provided = { 'gcache.size': '32M', ...providerOptions, ...listening(ports) };
    const own = {
      ...SETTINGS,
      binlog_format: 'ROW',
      innodb_autoinc_lock_mode: 2,
      wsrep_on: 'ON',
      wsrep_provider: provider,
      wsrep_cluster_address: `gcomm://${addresses.join(',')}`,
      wsrep_node_name: name,
      wsrep_node_address: `127.0.0.1:${ports.group}`,
      wsrep_sst_method: 'rsync',
      wsrep_sst_receive_address: `127.0.0.1:${ports.copy}`,
      wsrep_provider_options: Object.entries(provided)
        .map(([key, value]) => `${key}=${value}`)
        .join(';'),
      ...settings,
    };
    return new GaleraNode({ folder: folder.path, data, port: ports.client, settings: own, name });
  });
  const [first, ...others] = nodes;
  try {
    await installData(first.data);
    // Its first start names the cluster. The copies then are of this cluster.
    await first.start(['--wsrep-new-cluster']);
    await first.stop();
    for (const node of others) {
      await cp(first.data, node.data, { recursive: true, preserveTimestamps: true });
      await rm(join(node.data, 'galera.cache'), { force: true });
      await rm(join(node.data, 'gvwstate.dat'), { force: true });
      // It may not begin a cluster.
      const state = join(node.data, 'grastate.dat');
      await writeFile(
        state,
        (await readFile(state, 'utf8')).replace('safe_to_bootstrap: 1', 'safe_to_bootstrap: 0'),
      );
      if (isRoot()) await run('chown', ['-R', '--reference', first.data, node.data]);
    }
    await first.start(['--wsrep-new-cluster']);
    await Promise.all(others.map((node) => node.start()));
  } catch (error) {
    await remove();
    throw error;
  }
  async function remove() {
    await Promise.all(nodes.map((node) => node.kill()));
    folder.remove();
  }
  return { nodes, remove };
}

class GaleraNode extends MariadbServer {
  /** It goes on from where it was, with what the others have kept of the time since. */
  async start(options = []) {
    await super.start([...(await this.position()), ...options]);
  }

  /** Another machine takes its place: it has nothing, and copies all from another node. */
  async replace() {
    await rm(this.data, { recursive: true, force: true });
    await installData(this.data);
    await super.start();
  }

  /** The network between this node and the others is cut; its clients still reach it. */
  async isolate() {
    await this.query("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'");
  }

  /** The network is there again. @returns when the node is one of the cluster again */
  async rejoin() {
    await this.query("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'");
    await this.until(() => this.isReady(), 'did not come back');
  }

  /** The value of a status variable, such as `wsrep_cluster_status`. */
  async status(name) {
    const [row] = await this.query(`SHOW GLOBAL STATUS LIKE '${name}'`);
    return row?.Value;
  }

  /** Whether it answers, and has what the others have. */
  async isReady() {
    try {
      return (
        (await this.status('wsrep_local_state_comment')) === 'Synced' &&
        (await this.status('wsrep_ready')) === 'ON'
      );
    } catch {
      return false;
    }
  }

  /** After it was killed, only InnoDB knows how far the node was. */
  async position() {
    const state = await readFile(join(this.data, 'grastate.dat'), 'utf8').catch(() => '');
    if (!/^seqno:\s+-1$/m.test(state)) return [];
    const { stderr, stdout } = await run('mariadbd', [...this.options(), '--wsrep-recover']);
    const [, position] = /Recovered position:?\s*(\S+:\S+)/.exec(stdout + stderr) ?? [];
    return position ? [`--wsrep_start_position=${position}`] : [];
  }
}

/** Where a node can be reached: by clients, by the other nodes, for a copy of what is missing, and for a copy of all. */
async function portsOfNode() {
  const [client, group, missing, copy] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  return { client, group, missing, copy };
}

function listening({ group, missing }) {
  return { 'gmcast.listen_addr': `tcp://127.0.0.1:${group}`, 'ist.recv_addr': `127.0.0.1:${missing}` };
}
