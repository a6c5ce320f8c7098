import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Server as TcpServer } from 'node:net';
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import type { INestApplication } from '@nestjs/common';

/**
 * For how long after a signal the application goes on to listen, and answers with `Connection: close`. A client that has kept a
 * connection then gives it up by itself. If the server closed it, a request might just be on its way, and get lost.
 */
const NOTICE_MS = 1_000;

/** For how long connections that were made at the last moment may then bring their first request. */
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
    await untilNoneWaits(server);
    // That of HTTP would also close the connections that have no request yet.
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

/**
 * Waits until no connection waits to be accepted: the system would reset it when the server stops listening. Node accepts one in each
 * turn of its event loop.
 */
async function untilNoneWaits(server: Server): Promise<void> {
  const until = performance.now() + LAST_REQUESTS_MS;
  let hasCome = false;
  const note = () => {
    hasCome = true;
  };
  server.on('connection', note);
  do {
    hasCome = false;
    await turn();
  } while (hasCome && performance.now() < until);
  server.off('connection', note);
}

function sayClose(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('Connection', 'close');
}
