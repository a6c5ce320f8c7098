import { randomBytes } from 'node:crypto';
import { DataSource } from 'typeorm';
import { TcpProxy } from '../tcp-proxy.mjs';

// An example until the real ones are here: the server of TEST_POSTGRES_URL behind a proxy.
async function behindProxy(stage) {
  const url = new URL(process.env.TEST_POSTGRES_URL);
  const admin = await new DataSource({ type: 'postgres', url: url.href }).initialize();
  const name = `faults_${randomBytes(4).toString('hex')}`;
  await admin.query(`CREATE DATABASE ${name}`);
  stage.onEnd(async () => {
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
    await admin.destroy();
  });
  const proxy = await TcpProxy.before(Number(url.port));
  stage.onEnd(() => proxy.close());
  url.port = String(proxy.port);
  url.pathname = `/${name}`;
  return { proxy, databases: { type: 'postgres', url: url.href } };
}

/** @type {import('../stage.mjs').Scenario[]} */
export const scenarios = [
  {
    name: 'postgres: does not answer for 10 s',
    quick: true,
    setUp: async (stage) => {
      const { proxy, databases } = await behindProxy(stage);
      return {
        databases,
        async fault() {
          proxy.hang();
          await stage.pause(10_000);
          proxy.resume();
        },
      };
    },
  },
  {
    name: 'postgres: connections cut, and refused for 5 s',
    setUp: async (stage) => {
      const { proxy, databases } = await behindProxy(stage);
      return {
        databases,
        async fault() {
          proxy.refuse();
          proxy.cut();
          await stage.pause(5_000);
          proxy.refuse(false);
        },
      };
    },
  },
];
