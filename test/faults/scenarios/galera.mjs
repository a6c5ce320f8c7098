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

/** The second node dies for others. When it goes, and when it comes back, nobody can write for a moment. */
const death = (name, act) => ({
  name: `galera: a node is ${name}`,
  setUp: async (stage) => {
    const { nodes, proxies, databases } = await oneEach(stage);
    const fault = async () => {
      await act({ stage, nodes, node: nodes[1], proxy: proxies[1] });
      return conflicts(nodes);
    };
    return { databases, allowed: { times: 3, leastErrors: 1 }, fault };
  },
});

const deaths = [
  death(
    'killed, its process goes to another, and a new one copies all',
    async ({ stage, nodes, node, proxy }) => {
      await node.kill();
      proxy.retarget(nodes[0].port);
      proxy.cut();
      await stage.pause(8_000);
      await node.replace();
      proxy.retarget(node.port);
      proxy.cut();
    },
  ),
  death('killed, its process waits, and it comes back', async ({ stage, node }) => {
    await node.kill();
    await stage.pause(8_000);
    await node.start();
  }),
  death('isolated for 15 s', async ({ stage, node }) => {
    await node.isolate();
    await stage.pause(15_000);
    await node.rejoin();
  }),
];

/** @type {import('../stage.mjs').Scenario[]} */
export const scenarios = hasGalera() ? [...lags, ...deaths] : [];
