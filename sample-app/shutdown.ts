import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Server as TcpServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { INestApplication } from '@nestjs/common';

/**
 * For how long after a signal the application goes on to listen, and answers with `Connection: close`. A client that has kept a
 * connection then gives it up by itself. If the server closed it, a request might just be on its way, and get lost.
 */
const NOTICE_MS = 1_000;

/** For how long connections that are open by then, and do nothing, may still bring a request. */
const LAST_REQUESTS_MS = 500;

/** How long requests under way may take after that. Container platforms usually wait 10 s before they kill. */
const DRAIN_MS = 5_000;

/** Ends the application on SIGTERM and SIGINT without cutting anybody off. */
export function endOnSignals(app: INestApplication<Server>): void {
  const server = app.getHttpServer();
  const underWay = new Set<ServerResponse>();
  let isEnding = false;
  const end = async () => {
    // A terminal sends its signal to the whole group, and npm passes it on: it may come twice.
    if (isEnding) return;
    isEnding = true;
    for (const response of underWay) sayClose(response);
    await delay(NOTICE_MS);
    // Nobody new is let in. That of HTTP would also close, at once, the connections that do nothing.
    TcpServer.prototype.close.call(server);
    await delay(LAST_REQUESTS_MS);
    setTimeout(() => server.closeAllConnections(), DRAIN_MS).unref();
    // Nest lets requests under way end, then closes the database.
    await app.close();
    process.exit(0);
  };
  server.prependListener('request', (_request: IncomingMessage, response: ServerResponse) => {
    if (isEnding) sayClose(response);
    underWay.add(response);
    response.once('close', () => underWay.delete(response));
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void end());
}

function sayClose(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('Connection', 'close');
}
