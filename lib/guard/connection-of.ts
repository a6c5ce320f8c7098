import type { ExecutionContext } from '@nestjs/common';
import type { SessionError } from '../errors/session.errors.js';
import type { ConnectionRegistry } from '../http/session-authenticator.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';
import { graphqlConnectionOf } from './graphql-connection.js';

/** A connection that stays open after a session was found for it. */
export interface Connection {
  /** What the connection is, for the program that serves it: two contexts of one connection have the same. */
  readonly client: object;
  /** Closes it, because its session is over. */
  close(error: SessionError): void;
  /** Calls a listener when it has been closed, by whomever. */
  onClose(listener: () => void): void;
}

/** The close code of WebSockets whose session is over. 4000 to 4999 are for applications (RFC 6455, 7.4.2); 401 is HTTP's. */
export const CLOSE_CODE = 4_401;

/** A socket of `ws`. */
interface WsClient {
  readonly terminate: () => void;
  close(code: number, reason: string): void;
  once(event: 'close', listener: () => void): unknown;
}

/** A socket of Socket.IO. */
interface SocketIoClient {
  disconnect(close: boolean): unknown;
  emit(event: string, body: unknown): unknown;
  once(event: 'disconnect', listener: () => void): unknown;
}

/** Finds the connection in each kind of Nest's contexts. */
const READERS: Readonly<Record<string, (context: ExecutionContext) => Connection | undefined>> = {
  ws(context) {
    const client = context.getArgByIndex<WsClient | SocketIoClient>(0);
    return isSocketIo(client) ? socketIoConnection(client) : isWs(client) ? wsConnection(client) : undefined;
  },

  graphql: (context) => graphqlConnectionOf(context.getArgByIndex(2)),
};

/** The registrations of clients, by registry: an application may have several modules. */
const kept = new WeakMap<object, WeakSet<ConnectionRegistry>>();

/** Has the connection of a context end with its session. Called for each message. */
export function keepConnection(
  registry: ConnectionRegistry,
  session: AuthenticatedSession,
  context: ExecutionContext,
): void {
  const connection = READERS[context.getType()]?.(context);
  if (connection) keep(registry, session, connection);
}

/** Has a connection end with its session. */
export function keep(
  registry: ConnectionRegistry,
  session: AuthenticatedSession,
  connection: Connection,
): void {
  const registries = kept.get(connection.client) ?? new WeakSet();
  if (registries.has(registry)) return;
  kept.set(connection.client, registries.add(registry));
  connection.onClose(registry.add(session, (error) => connection.close(error)));
}

function wsConnection(client: WsClient): Connection {
  return {
    client,
    close: ({ code }) => client.close(CLOSE_CODE, code),
    onClose: (listener) => void client.once('close', listener),
  };
}

function socketIoConnection(client: SocketIoClient): Connection {
  return {
    client,
    close(error) {
      client.emit('exception', error.getResponse());
      client.disconnect(true);
    },
    onClose: (listener) => void client.once('disconnect', listener),
  };
}

function isWs(client: object): client is WsClient {
  return 'terminate' in client && typeof client.terminate === 'function';
}

function isSocketIo(client: object): client is SocketIoClient {
  return 'disconnect' in client && typeof client.disconnect === 'function';
}
