import { once } from 'node:events';
import { Agent, createServer, request } from 'node:http';

/**
 * Hands each request to the next process. If that one does not listen, it is the next one's. A request that a process has begun
 * is not repeated: if the process dies, the client's connection breaks.
 *
 * @param {() => readonly number[]} ports those of the processes that run
 */
export async function startBalancer(ports) {
  const agent = new Agent({ keepAlive: true, maxSockets: 128 });
  const counts = { cut: 0, nobody: 0 };
  let next = 0;
  const server = createServer((incoming, outgoing) => {
    const chunks = [];
    incoming.on('data', (chunk) => chunks.push(chunk));
    incoming.once('end', () => {
      const body = Buffer.concat(chunks);
      const candidates = ports();
      const first = next++;
      const tryOne = (tries) => {
        if (tries >= candidates.length) {
          counts.nobody++;
          outgoing.writeHead(502).end();
          return;
        }
        const { method, url: path, headers } = incoming;
        const port = candidates[(first + tries) % candidates.length];
        const outbound = request({ host: '127.0.0.1', port, agent, method, path, headers }, (answer) => {
          outgoing.writeHead(answer.statusCode, answer.rawHeaders);
          answer.on('error', () => {
            counts.cut++;
            outgoing.destroy();
          });
          answer.pipe(outgoing);
        });
        outbound.once('error', (error) => {
          if (error.code === 'ECONNREFUSED') {
            tryOne(tries + 1);
            return;
          }
          counts.cut++;
          outgoing.destroy();
        });
        outbound.end(body);
      };
      tryOne(0);
    });
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    counts,
    async close() {
      agent.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
