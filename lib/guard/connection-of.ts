import type { ExecutionContext } from '@nestjs/common';
import type { SessionError } from '../errors/session.errors.js';
import type { ConnectionRegistry } from '../http/session-authenticator.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';
import { graphqlConnectionOf } from './graphql-connection.js';
import { isWebSocket, webSocketConnection } from './websocket-connection.js';

/** A connection that stays open after a session was found for it. */
export interface Connection {
  /** What the connection is, for the program that serves it: two contexts of one connection have the same. */
  readonly client: object;
  /** Closes it, because its session is over. */
  close(error: SessionError): void;
  /** Calls a listener when it has been closed, by whomever; at once, if it is closed. */
  onClose(listener: () => void): void;
}

/** A socket of Socket.IO. */
interface SocketIoClient {
  readonly connected: boolean;
  /** What is left of the client in other namespaces. */
  readonly client: { readonly sockets?: ReadonlyMap<string, unknown> };
  readonly conn: { close(): unknown };
  disconnect(): unknown;
  emit(event: string, body: unknown): unknown;
  once(event: 'disconnect', listener: () => void): unknown;
}

/** Finds the connection in each kind of Nest's contexts. */
const READERS: Readonly<Record<string, (context: ExecutionContext) => Connection | undefined>> = {
  ws(context) {
    const client = context.getArgByIndex<object>(0);
    if (isSocketIo(client)) return socketIoConnection(client);
    return isWebSocket(client) ? webSocketConnection(client, client) : undefined;
  },

  graphql: (context) => graphqlConnectionOf(context.getArgByIndex(2)),
};

/** The registrations of clients, by registry: an application may have several modules. */
const kept = new WeakMap<object, WeakSet<ConnectionRegistry>>();

/**
 * Registrations of clients of Socket.IO that are being checked. They are not connected yet, and nothing tells when one of them
 * never will be, so they are registered when they are.
 */
const awaited = new WeakMap<object, (() => void)[]>();

/** A client of Socket.IO is being checked. */
export function awaitConnection(client: object): void {
  if (!awaited.has(client)) awaited.set(client, []);
}

/** A client of Socket.IO that was checked is connected now. */
export function connected(client: object): void {
  for (const register of awaited.get(client) ?? []) register();
  awaited.delete(client);
}

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
  const register = () => connection.onClose(registry.add(session, (error) => connection.close(error)));
  const waiting = awaited.get(connection.client);
  if (waiting) waiting.push(register);
  else register();
}

function socketIoConnection(client: SocketIoClient): Connection {
  return {
    client,
    close(error) {
      client.emit('exception', error.getResponse());
      client.disconnect();
      // In other namespaces, the client may have other sessions, or none.
      if (client.client.sockets?.size === 0) client.conn.close();
    },
    onClose(listener) {
      if (client.connected) client.once('disconnect', listener);
      else listener();
    },
  };
}

function isSocketIo(client: object): client is SocketIoClient {
  return 'disconnect' in client && typeof client.disconnect === 'function';
}
