import type { Connection } from './connection-of.js';

/** A socket of `ws`. */
export interface WebSocket {
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

/**
 * A WebSocket whose session may end. The close code is 4000 + the HTTP status, because 4000 to 4999 are for applications
 * (RFC 6455, 7.4.2). The reason is the error's code.
 *
 * @param client what the connection is, for the program that serves it
 */
export function webSocketConnection(socket: WebSocket, client: object): Connection {
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

export function isWebSocket(client: object): client is WebSocket {
  return 'terminate' in client && typeof client.terminate === 'function';
}
