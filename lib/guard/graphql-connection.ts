import { rawRequest } from '../http/messages.js';
import type { Connection } from './connection-of.js';
import { isWebSocket, webSocketConnection } from './websocket-connection.js';
import { type GraphQLContext, type SocketClient, socketClientOf } from './graphql-client.js';

/** The connection of a resolver's context. @returns `undefined` if the operation came over HTTP */
export function graphqlConnectionOf(context: GraphQLContext | undefined): Connection | undefined {
  const client = socketClientOf(context ?? {});
  return client && graphqlConnection(client);
}

/** The connection of a client. Its close code is 4000 + the HTTP status; the reason is the error's code. */
export function graphqlConnection({ request, findSocket }: SocketClient): Connection {
  const socket = findSocket();
  if (socket && isWebSocket(socket)) return webSocketConnection(socket, request);
  const { socket: carrier } = rawRequest(request);
  return {
    client: request,
    // Without the server's WebSocket, nobody can tell the client why.
    close: () => void carrier?.destroy(),
    onClose: (listener) => void carrier?.once('close', listener),
  };
}
