import type { ServerResponse } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';

const EVENT_STREAM = 'text/event-stream';

/** The reason that an HTTP/2 stream is reset with: it is no longer needed (RFC 9113, 7). */
const CANCEL = 8;

/** Only those of HTTP/2 have a stream. */
type AnyResponse = ServerResponse & { readonly stream?: ServerHttp2Stream };

/**
 * Ends a response whose body is under way. An event stream is complete after any event. Another body is not, and its client
 * must not take a part for the whole.
 */
export function endResponse(response: AnyResponse): void {
  // Whoever goes on to write must not end the process by that.
  response.on('error', () => undefined);
  if (isEventStream(response) && !isBehind(response)) complete(response);
  else cutOff(response);
}

function complete(response: AnyResponse): void {
  const { stream, socket } = response;
  // Nest waits for the end of the connection before it stops the producer of the events.
  if (!stream) response.once('finish', () => socket?.destroySoon?.());
  response.end();
  // For a write that is too late, HTTP/2 resets the stream, although its end may still be on its way.
  if (stream) response.write = () => true;
}

function cutOff(response: AnyResponse): void {
  const { stream, socket } = response;
  if (stream) stream.close(CANCEL);
  else if (socket?.resetAndDestroy) reset(socket);
  // It waits for its turn on the connection, or is none of Node's.
  else response.destroy();
}

/**
 * A reset also discards what the system has not sent yet. And where the end of the connection is that of the body (HTTP/1.0,
 * which nginx speaks by default), the client would take a closed one for the end.
 */
function reset(socket: NonNullable<ServerResponse['socket']>): void {
  try {
    socket.resetAndDestroy();
  } catch {
    // Only TCP has resets: TLS and pipes are closed.
    socket.destroy();
  }
}

/** Whether the client reads more slowly than it is written to, so that something waits to be sent. It must not be sent. */
function isBehind(response: AnyResponse): boolean {
  // HTTP/2 has a look at what it is given only a moment later.
  const allowed = response.stream ? response.writableHighWaterMark : 0;
  return response.writableEnded || response.writableLength > allowed;
}

function isEventStream(response: AnyResponse): boolean {
  const type = response.getHeader('content-type');
  if (type !== undefined) return String(type).includes(EVENT_STREAM);
  // Headers that were given to writeHead() alone can be read only here, as they were sent.
  const sent: unknown = Reflect.get(response, '_header');
  return typeof sent === 'string' && /^content-type: *text\/event-stream/im.test(sent);
}
