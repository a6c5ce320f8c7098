import { once } from 'node:events';
import { createServer } from 'node:net';

/** Systems take the ports of outgoing connections from above these (Linux: from 32,768). */
const [LOWEST, HIGHEST] = [10_000, 30_000];

/** A port of 127.0.0.1 that nobody listens on, for servers that cannot choose one themselves. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    const server = createServer();
    try {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
      server.close();
      await once(server, 'close');
      return port;
    } catch {
      // Somebody has it.
    }
  }
}
