import type { ExecutionContext } from '@nestjs/common';
import type { SessionError } from '../errors/session.errors.js';
import type { ConnectionRegistry } from '../http/session-authenticator.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';

/** A connection that stays open after a session was found for it. */
export interface Connection {
  /** What the connection is, for the program that serves it: two contexts of one connection have the same. */
  readonly client: object;
  /** Closes it, because its session is over. */
  close(error: SessionError): void;
  /** Calls a listener when it has been closed, by whomever; at once, if it is closed. */
  onClose(listener: () => void): void;
}

/** The close code of WebSockets whose session is over. 4000 to 4999 are for applications (RFC 6455, 7.4.2); 401 is HTTP's. */
export const CLOSE_CODE = 4_401;

/** `WebSocket.CLOSED` of `ws`. */
const CLOSED = 3;

/** A socket of `ws`. */
interface WsClient {
  readonly readyState: number;
  readonly terminate: () => void;
  removeAllListeners(event: 'message'): unknown;
  close(code: number, reason: string): void;
  once(event: 'close', listener: () => void): unknown;
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
    const client = context.getArgByIndex<WsClient | SocketIoClient>(0);
    return isSocketIo(client) ? socketIoConnection(client) : isWs(client) ? wsConnection(client) : undefined;
  },
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
  if (!connection) return;
  const registries = kept.get(connection.client) ?? new WeakSet();
  if (registries.has(registry)) return;
  kept.set(connection.client, registries.add(registry));
  const register = () => connection.onClose(registry.add(session, (error) => connection.close(error)));
  const waiting = awaited.get(connection.client);
  if (waiting) waiting.push(register);
  else register();
}

function wsConnection(client: WsClient): Connection {
  return {
    client,
    close({ code }) {
      client.close(CLOSE_CODE, code);
      // It stays readable until the client has answered, and that may take as long as the client likes.
      client.removeAllListeners('message');
    },
    onClose(listener) {
      if (client.readyState === CLOSED) listener();
      else client.once('close', listener);
    },
  };
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

function isWs(client: object): client is WsClient {
  return 'terminate' in client && typeof client.terminate === 'function';
}

function isSocketIo(client: object): client is SocketIoClient {
  return 'disconnect' in client && typeof client.disconnect === 'function';
}
