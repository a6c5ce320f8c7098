import { EventEmitter } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import { SessionOverError } from '../errors/session.errors.js';
import type { HttpRequest } from '../http/messages.js';
import { graphqlConnection } from './graphql-connection.js';

/** A socket of `ws`, as far as it is used. */
class Socket extends EventEmitter {
  readonly close = vi.fn<(code: number, reason: string) => void>();
  readonly terminate = vi.fn<() => void>();

  constructor(readonly readyState: number) {
    super();
  }
}

function connectionOf(socket: object | undefined, request: object = {}) {
  return graphqlConnection({ request: request as HttpRequest, findSocket: () => socket });
}

describe('the connection of a GraphQL client', () => {
  it('tells when it closes', () => {
    const socket = new Socket(1);
    const listener = vi.fn<() => void>();
    connectionOf(socket).onClose(listener);
    expect(listener).not.toHaveBeenCalled();
    socket.emit('close');
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it('tells at once when it has closed while its session was looked for', () => {
    const listener = vi.fn<() => void>();
    connectionOf(new Socket(3)).onClose(listener);
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it('says why, and hears no more', () => {
    const socket = new Socket(1);
    socket.on('message', () => undefined);
    connectionOf(socket).close(new SessionOverError());
    expect(socket.close).toHaveBeenCalledWith(4_401, 'session_over');
    expect(socket.listenerCount('message')).toBe(0);
  });

  it.each([undefined, {}])('is cut off where the socket of the server is not known: %o', (socket) => {
    const carrier = Object.assign(new EventEmitter(), { destroy: vi.fn<() => void>() });
    const connection = connectionOf(socket, { socket: carrier });
    const listener = vi.fn<() => void>();
    connection.onClose(listener);
    connection.close(new SessionOverError());
    expect(carrier.destroy).toHaveBeenCalledTimes(1);
    carrier.emit('close');
    expect(listener).toHaveBeenCalledTimes(1);
  });
});
