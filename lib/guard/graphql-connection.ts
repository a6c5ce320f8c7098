import { rawRequest } from '../http/messages.js';
import type { Connection } from './connection-of.js';
import { type GraphQLContext, type SocketClient, socketClientOf } from './graphql-client.js';

/** A socket of `ws`. */
interface WebSocket {
  readonly readyState: number;
  terminate(): void;
  close(code: number, reason: string): void;
  once(event: 'close', listener: () => void): unknown;
  removeAllListeners(event: 'message'): unknown;
}

/** `WebSocket.CLOSED` of `ws`. */
const CLOSED = 3;

/** How long a client may take to answer that its connection is closed, in milliseconds. `ws` itself waits for half a minute. */
const PATIENCE = 1_000;

/** The connection of a resolver's context. @returns `undefined` if the operation came over HTTP */
export function graphqlConnectionOf(context: GraphQLContext | undefined): Connection | undefined {
  const client = socketClientOf(context ?? {});
  return client && graphqlConnection(client);
}

/** The connection of a client. Its close code is 4000 + the HTTP status; the reason is the error's code. */
export function graphqlConnection({ request, findSocket }: SocketClient): Connection {
  const socket = findSocket();
  if (socket && isWebSocket(socket)) return webSocket(socket, request);
  const { socket: carrier } = rawRequest(request);
  return {
    client: request,
    // Without the server's WebSocket, nobody can tell the client why.
    close: () => void carrier?.destroy(),
    onClose: (listener) => void carrier?.once('close', listener),
  };
}

function webSocket(socket: WebSocket, client: object): Connection {
  return {
    client,
    close(error) {
      socket.close(4_000 + error.getStatus(), error.code);
      // It stays readable until the client has answered, and that may take as long as the client likes.
      socket.removeAllListeners('message');
      setTimeout(() => socket.terminate(), PATIENCE).unref();
    },
    onClose(listener) {
      if (socket.readyState === CLOSED) listener();
      else socket.once('close', listener);
    },
  };
}

function isWebSocket(socket: object): socket is WebSocket {
  return 'terminate' in socket && typeof socket.terminate === 'function';
}
