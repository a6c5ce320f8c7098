import { once } from 'node:events';
import { Agent, createServer, get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LastingKeys } from '../keys/signing-key.js';
import type { AccessToken } from '../protocol/access-token.js';
import { AuthenticatedSession } from '../session/authenticated-session.js';
import { SYSTEM_CLOCK } from '../util/clock.js';
import { OpenResponses } from './open-responses.js';
import { SessionConnections } from './session-connections.js';

const INTERVAL = 50;

const keys: LastingKeys = {
  dueAt: Number.POSITIVE_INFINITY,
  find: (kid) => ({ kid }) as never,
  freshen: () => undefined,
  isDropped: () => false,
};

function session(): AuthenticatedSession {
  const now = Date.now();
  const token = { sessionId: 'a', userId: 'ann', claims: {}, issuedAt: now, expiresAt: now + 900_000 };
  return new AuthenticatedSession({ ...token, authTime: now, amr: [], kid: 'key' } as unknown as AccessToken);
}

/** How many sockets are held. */
const held = (responses: OpenResponses) => (Reflect.get(responses, 'carriers') as Set<unknown>).size;

describe('the responses that are followed', () => {
  let server: Server;
  let responses: OpenResponses;
  let connections: SessionConnections;
  const agent = new Agent({ keepAlive: true });
  /** What the sockets of the server have in addition. */
  const sockets: object[] = [];

  beforeEach(async () => {
    connections = new SessionConnections(
      keys,
      undefined,
      undefined,
      { interval: INTERVAL, recheck: 0 },
      SYSTEM_CLOCK,
    );
    responses = new OpenResponses(connections);
    sockets.length = 0;
    server = createServer((request, response) => {
      responses.follow(response, session());
      sockets.push(request.socket);
      // A handler that thinks, until its client gives up.
      if (request.url !== '/thinks') response.end('short');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    connections.stop();
    agent.destroy();
    server.closeAllConnections();
    server.close();
  });

  const ask = async (path: string, keepsAlive: boolean) =>
    new Promise<void>((resolve, reject) => {
      const { port } = server.address() as AddressInfo;
      const options = { host: '127.0.0.1', port, path, agent: keepsAlive ? agent : false };
      const request = get(options, (answer) => answer.resume().once('end', resolve)).once('error', reject);
      if (path === '/thinks') setTimeout(() => request.destroy(new Error('gone')), 2 * INTERVAL);
    });

  it.each([
    { name: 'a connection that is kept alive', keepsAlive: true, path: '/' },
    { name: 'connections that are closed', keepsAlive: false, path: '/' },
    { name: 'clients that give up', keepsAlive: false, path: '/thinks' },
  ])('of $name are held for no longer than a look, and nothing goes on', async ({ keepsAlive, path }) => {
    await Promise.allSettled(Array.from({ length: 20 }, async () => ask(path, keepsAlive)));
    expect(sockets).toHaveLength(20);
    for (let tries = 0; held(responses) > 0 && tries < 100; tries++)
      await new Promise((wait) => setTimeout(wait, 10));
    expect([held(responses), connections.size]).toEqual([0, 0]);
    for (const socket of sockets) {
      const noted = Object.getOwnPropertySymbols(socket).filter((each) =>
        each.description?.startsWith('nestjs-'),
      );
      expect(noted.map((each) => Reflect.get(socket, each) as unknown)).toEqual([undefined, undefined]);
    }
    await new Promise((wait) => setTimeout(wait, 2 * INTERVAL));
    expect(Reflect.get(connections, 'timer')).toBeUndefined();
  });
});
