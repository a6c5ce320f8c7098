import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { nginxPath } from './programs.js';

export interface Nginx {
  /** Removes `/api/` from the path, decodes the rest, and merges slashes: the default of nginx. */
  readonly port: number;
  /** The same, but does not merge slashes. */
  readonly exactPort: number;
  close(): Promise<void>;
}

/**
 * Starts nginx in front of a server on `port`, with its own folder and ports.
 *
 * @param settings of both ports, as in its configuration
 */
export async function startNginx(port: number, settings = ''): Promise<Nginx> {
  const folder = await mkdtemp(join(tmpdir(), 'session-tokens-nginx-'));
  const [usual, exact] = [await freePort(), await freePort()];
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const server = (listen: number, own = ''): string => `
    server {
      listen 127.0.0.1:${listen};
      ${settings}
      ${own}
      client_max_body_size 20m;
      proxy_set_header Host $http_host;
      location /api/ { proxy_pass http://127.0.0.1:${port}/; }
    }`;
  const configuration = join(folder, 'nginx.conf');
  await writeFile(
    configuration,
    `daemon off;
    master_process off;
    pid ${folder}/nginx.pid;
    events {}
    http {
      access_log off;
      ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n')}
      ${server(usual)}
      ${server(exact, 'merge_slashes off;')}
    }`,
  );
  const child = spawn(nginxPath!, ['-p', folder, '-c', configuration, '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (log += chunk));
  const exit = once(child, 'exit');
  while (!(await listens(usual)) || !(await listens(exact))) {
    if (child.exitCode !== null) throw new Error(`nginx has ended: ${log}`);
    await sleep(20);
  }
  return {
    port: usual,
    exactPort: exact,
    async close() {
      child.kill();
      await exit;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
