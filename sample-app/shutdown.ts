import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { INestApplication } from '@nestjs/common';

/**
 * For how long after a signal the application goes on to listen, and answers with `Connection: close`. A client that has kept a
 * connection then gives it up by itself. If the server closed it, a request might just be on its way, and get lost.
 */
const NOTICE_MS = 1_000;

/** How long requests under way may take after that. Container platforms usually wait 10 s before they kill. */
const DRAIN_MS = 5_000;

/** Ends the application on SIGTERM and SIGINT without cutting anybody off. */
export function endOnSignals(app: INestApplication<Server>): void {
  let isEnding = false;
  const end = async () => {
    if (isEnding) return;
    isEnding = true;
    const server = app.getHttpServer();
    server.prependListener('request', (_request: IncomingMessage, response: ServerResponse) => {
      response.setHeader('Connection', 'close');
    });
    await delay(NOTICE_MS);
    setTimeout(() => server.closeAllConnections(), DRAIN_MS).unref();
    // Nest stops listening, lets requests under way end, then closes the database.
    await app.close();
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void end());
}
