import { hasGalera, startGalera } from '../servers/galera.mjs';
import { TcpProxy } from '../tcp-proxy.mjs';

const DATABASE = 'sessions';

/** A cluster of three, and a process of the application at each of its nodes. */
async function oneEach(stage, settings = {}) {
  const cluster = await startGalera({ settings });
  stage.onEnd(() => cluster.remove());
  await cluster.nodes[0].createDatabase(DATABASE);
  const proxies = await Promise.all(cluster.nodes.map(({ port }) => TcpProxy.before(port)));
  for (const proxy of proxies) stage.onEnd(() => proxy.close());
  const databases = cluster.nodes.map((node, place) => ({
    type: 'mariadb',
    url: node.url(DATABASE, { port: proxies[place].port }),
  }));
  return { nodes: cluster.nodes, proxies, databases };
}

/** How often nodes have certified against each other: two have changed one row at once. */
async function conflicts(nodes) {
  const names = ['wsrep_local_cert_failures', 'wsrep_local_bf_aborts'];
  const values = await Promise.all(nodes.flatMap((node) => names.map((name) => node.status(name))));
  return { conflicts: values.reduce((sum, value) => sum + Number(value), 0) };
}

/** A node has what the others have written only after a while. */
async function lag(stage, node, milliseconds) {
  await node.pauseApply();
  await stage.pause(milliseconds);
  await node.resumeApply();
}

/** What holds for reads of a process at a node that may lag. Mode `feed` and no waiting are the defaults. */
const reads = [
  { name: 'feed', options: {}, settings: {} },
  // Requests with good tokens need the row.
  { name: 'database', options: { revocation: 'database' }, settings: {}, allowed: { provenRefused: true } },
  { name: 'feed, wsrep_sync_wait=1', options: {}, settings: { wsrep_sync_wait: 1 } },
  { name: 'feed, wsrep_sync_wait=7', options: {}, settings: { wsrep_sync_wait: 7 } },
  {
    name: 'database, wsrep_sync_wait=7',
    options: { revocation: 'database' },
    settings: { wsrep_sync_wait: 7 },
    allowed: { provenRefused: true },
  },
];

/** Nothing is wrong; then each node lags for a moment; then one lags for long. The notes say what each costs. */
const lags = reads.map(({ name, options, settings, allowed }) => ({
  name: `galera: nodes lag (${name})`,
  setUp: async (stage) => {
    const { nodes, databases } = await oneEach(stage, settings);
    return {
      databases,
      options,
      // Each lag is a trouble of its own.
      allowed: { ...allowed, times: 20 },
      async fault() {
        const notes = {};
        const during = async (what, act) => {
          const before = { ...stage.counts };
          await act();
          const { requests, errors } = stage.counts;
          notes[what] = `${errors - before.errors} of ${requests - before.requests}`;
        };
        await during('5xx without lag', async () => stage.pause(6_000));
        await during('while each lags by 0.4 s', async () => {
          for (let n = 0; n < 12; n++) {
            await lag(stage, nodes[n % nodes.length], 400);
            await stage.pause(100);
          }
        });
        await during('while one lags by 5 s', async () => lag(stage, nodes[1], 5_000));
        return { ...notes, ...(await conflicts(nodes)) };
      },
    };
  },
}));

const deaths = [
  {
    name: 'galera: a node is killed, its process goes to another, and a new one copies all',
    setUp: async (stage) => {
      const { nodes, proxies, databases } = await oneEach(stage);
      return {
        databases,
        // When the node goes, and when it comes back, nobody can write for a moment.
        allowed: { times: 3, leastErrors: 1 },
        async fault() {
          await nodes[1].kill();
          proxies[1].retarget(nodes[0].port);
          proxies[1].cut();
          await stage.pause(8_000);
          await nodes[1].replace();
          proxies[1].retarget(nodes[1].port);
          proxies[1].cut();
          return conflicts(nodes);
        },
      };
    },
  },
  {
    name: 'galera: a node is killed, its process waits, and it comes back',
    setUp: async (stage) => {
      const { nodes, databases } = await oneEach(stage);
      return {
        databases,
        // When the node goes, and when it comes back, nobody can write for a moment.
        allowed: { times: 3, leastErrors: 1 },
        async fault() {
          await nodes[1].kill();
          await stage.pause(8_000);
          await nodes[1].start();
          return conflicts(nodes);
        },
      };
    },
  },
  {
    name: 'galera: a node is isolated for 15 s',
    setUp: async (stage) => {
      const { nodes, databases } = await oneEach(stage);
      return {
        databases,
        // When the node goes, and when it comes back, nobody can write for a moment.
        allowed: { times: 3, leastErrors: 1 },
        async fault() {
          await nodes[1].isolate();
          await stage.pause(15_000);
          await nodes[1].rejoin();
          return conflicts(nodes);
        },
      };
    },
  },
];

/** @type {import('../stage.mjs').Scenario[]} */
export const scenarios = hasGalera() ? [...lags, ...deaths] : [];
