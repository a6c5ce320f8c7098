import mysql from 'mysql2/promise';
import { hasMariadb, startMariadb } from '../servers/mariadb.mjs';
import { TcpProxy } from '../tcp-proxy.mjs';

const DATABASE = 'sessions';
/** May use the database, and is no administrator. */
const USER = 'application';

/** A server, and a proxy through which the processes reach it. */
async function oneServer(stage, { settings, more = {} } = {}) {
  const server = await startMariadb({ settings });
  stage.onEnd(() => server.remove());
  await server.createDatabase(DATABASE);
  await server.createUser(USER, DATABASE);
  const proxy = await TcpProxy.before(server.port);
  stage.onEnd(() => proxy.close());
  const url = server.url(DATABASE, { user: USER, port: proxy.port });
  return { server, proxy, databases: { type: 'mariadb', url, ...more } };
}

/** Others take connections until there are none left. @returns how to give them back */
async function takeAllConnections(server) {
  const taken = [];
  for (;;) {
    try {
      taken.push(await mysql.createConnection({ host: '127.0.0.1', port: server.port, user: USER }));
    } catch (error) {
      if (error.code !== 'ER_CON_COUNT_ERROR') throw error;
      return () => Promise.all(taken.map((each) => each.end()));
    }
  }
}

const scenario = (name, settings, fault, more = {}) => ({
  name: `mariadb: ${name}`,
  ...more,
  setUp: async (stage) => {
    const { server, proxy, databases } = await oneServer(stage, settings);
    return { databases, ...more.setting, fault: () => fault({ stage, server, proxy }) };
  },
});

/** Requests must fail, or the fault is none. */
const BITES = { setting: { allowed: { leastErrors: 1 } } };

const all = [
  scenario(
    'restarted',
    {},
    async ({ server, stage }) => {
      await server.stop();
      await stage.pause(3_000);
      await server.start();
    },
    BITES,
  ),
  scenario(
    'kill -9',
    {},
    async ({ server, stage }) => {
      await server.kill();
      await stage.pause(3_000);
      await server.start();
    },
    { quick: true, ...BITES },
  ),
  scenario(
    'connections killed, ten times',
    {},
    async ({ server, stage }) => {
      let killed = 0;
      for (let n = 0; n < 10; n++) {
        killed += await server.killConnections();
        await stage.pause(1_000);
      }
      return { killed };
    },
    { setting: { allowed: { times: 10 } } },
  ),
  scenario(
    'read only for 8 s',
    {},
    async ({ server, stage }) => {
      await server.query('SET GLOBAL read_only = ON');
      await stage.pause(8_000);
      await server.query('SET GLOBAL read_only = OFF');
    },
    BITES,
  ),
  scenario(
    'stands still for 8 s',
    {},
    async ({ server, stage }) => {
      server.freeze();
      await stage.pause(8_000);
      server.thaw();
    },
    BITES,
  ),
  scenario(
    'packets get lost for 8 s',
    {},
    async ({ proxy, stage }) => {
      proxy.hang();
      await stage.pause(8_000);
      proxy.resume();
    },
    BITES,
  ),
  scenario(
    'one answer in ten gets lost with its connection',
    {},
    async ({ proxy, stage }) => {
      proxy.cutAnswers(0.1);
      await stage.pause(15_000);
      proxy.cutAnswers(0);
    },
    { setting: { allowed: { times: 100 } } },
  ),
  scenario(
    'too many connections for 8 s',
    { settings: { max_connections: 40 } },
    async ({ server, proxy, stage }) => {
      // Whoever has a connection keeps it; so they are cut first.
      proxy.refuse();
      proxy.cut();
      const giveBack = await takeAllConnections(server);
      proxy.refuse(false);
      await stage.pause(8_000);
      await giveBack();
    },
    BITES,
  ),
  scenario(
    'two connections for each process, and a network of 40 ms',
    { more: { poolSize: 2 } },
    async ({ proxy, stage }) => {
      proxy.delay(20);
      await stage.pause(15_000);
      proxy.delay(0);
    },
    { setting: { allowed: { errors: 0 } } },
  ),
  scenario(
    'locked tables for 6 s',
    {},
    async ({ server, stage }) => {
      await server.pauseApply();
      await stage.pause(6_000);
      await server.resumeApply();
    },
    BITES,
  ),
];

/** @type {import('../stage.mjs').Scenario[]} */
export const scenarios = hasMariadb() ? all : [];
