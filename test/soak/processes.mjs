// Real processes of the sample application on one database, and a proxy that hands each request to the next of them.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import { freePort } from '../support/free-port.mjs';

const MAIN = new URL('../../dist/sample-app/main.js', import.meta.url).pathname;

/** A fresh database of a kind: its DATABASE_URL, and how to remove it. */
export async function createDatabase(kind) {
  if (kind === 'sqlite') {
    const folder = await mkdtemp(join(tmpdir(), 'session-tokens-soak-'));
    return {
      url: `sqlite:${join(folder, 'soak.sqlite')}`,
      remove: () => rm(folder, { recursive: true, force: true }),
    };
  }
  const server = process.env[kind === 'postgres' ? 'TEST_POSTGRES_URL' : 'TEST_MYSQL_URL'];
  if (!server)
    throw new Error(`Set ${kind === 'postgres' ? 'TEST_POSTGRES_URL' : 'TEST_MYSQL_URL'} for ${kind}.`);
  const name = `session_tokens_soak_${randomBytes(6).toString('hex')}`;
  await administer(kind, server, `CREATE DATABASE ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    remove: () =>
      administer(kind, server, `DROP DATABASE ${name}${kind === 'postgres' ? ' WITH (FORCE)' : ''}`),
  };
}

async function administer(type, url, statement) {
  const dataSource = await new DataSource({ type, url }).initialize();
  try {
    await dataSource.query(statement);
  } finally {
    await dataSource.destroy();
  }
}

/** Starts that many processes at once, on ports that the system picks. */
export async function startProcesses(count, environment) {
  const processes = await Promise.all(Array.from({ length: count }, () => startProcess(environment)));
  return {
    ports: processes.map(({ port }) => port),
    stop: () => Promise.all(processes.map((each) => each.stop())),
  };
}

async function startProcess(environment) {
  const port = await freePort();
  const env = {
    PATH: process.env.PATH,
    SESSION_SECRET: 'a secret for the soak tests, long enough',
    ...environment,
    PORT: String(port),
  };
  const child = spawn(process.execPath, [MAIN], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => {
      output = (output + chunk).slice(-20_000);
    });
  }
  const exit = once(child, 'exit');
  for (let tries = 0; ; tries++) {
    if (child.exitCode !== null || tries > 600) throw new Error(`A process did not start:\n${output}`);
    const isReady = await fetch(`http://127.0.0.1:${port}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) break;
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
  return {
    port,
    async stop() {
      child.kill('SIGTERM');
      const [code] = await exit;
      if (code !== 0) throw new Error(`A process ended with ${code}:\n${output}`);
    },
  };
}

/**
 * A proxy in front of the processes.
 *
 * @param hooks.delay gives milliseconds to wait before a request goes on, and, without the request, before its answer comes back
 * @param hooks.drop tells whether an answer gets lost
 * @param hooks.answered is told of each answer
 */
export async function startProxy(ports, { delay = () => 0, drop = () => false, answered = () => {} } = {}) {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  let next = 0;
  const server = createServer((incoming, outgoing) => {
    const port = ports[next++ % ports.length];
    const forward = () => {
      const outbound = request(
        {
          host: '127.0.0.1',
          port,
          agent,
          method: incoming.method,
          path: incoming.url,
          headers: incoming.headers,
        },
        (answer) => {
          answered(answer, incoming);
          const back = () => {
            if (drop(answer, incoming)) {
              answer.resume();
              outgoing.destroy();
              return;
            }
            outgoing.writeHead(answer.statusCode, answer.rawHeaders);
            answer.pipe(outgoing);
          };
          later(delay(), back);
        },
      );
      outbound.on('error', () => outgoing.destroy());
      incoming.pipe(outbound);
    };
    later(delay(incoming), forward);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://localhost:${server.address().port}`,
    async stop() {
      agent.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function later(ms, action) {
  if (ms === 0) action();
  else setTimeout(() => action(), ms);
}
