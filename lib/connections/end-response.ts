import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

const EVENT_STREAM = 'text/event-stream';

/**
 * Ends a response whose body is under way. An event stream is complete after any event. Another body is not, and its client
 * must not take a part for the whole: the connection is closed.
 */
export function endResponse(response: ServerResponse): void {
  // Whoever goes on to write must not end the process by that.
  response.on('error', () => undefined);
  if (isEventStream(response)) response.end();
  else ((response as unknown as { stream?: Duplex }).stream ?? response).destroy();
}

function isEventStream(response: ServerResponse): boolean {
  // Headers that were given to writeHead() cannot be read. Who expects events says so.
  const { accept = '' } = response.req.headers;
  return String(response.getHeader('content-type') ?? accept).includes(EVENT_STREAM);
}
