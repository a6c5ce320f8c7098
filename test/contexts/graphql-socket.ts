import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import type { Browser } from '../support/browser.js';

/** What a client of `graphql-ws` sees. */
export interface GraphQLSocket {
  /** Resolves when the server has accepted the connection. Rejects with the close event. */
  readonly acknowledged: Promise<void>;
  /** Resolves when the connection has closed. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  readonly isOpen: boolean;
  /** Sends a query or a mutation. @returns its result, or its errors */
  ask(query: string): Promise<unknown>;
  /** Stops to read: the client does not see that it is closed, or ignores it. */
  stopReading(): void;
  /** Starts a subscription. */
  subscribe(field: string): Watched;
  close(): void;
}

/** A subscription. */
export interface Watched {
  readonly values: readonly string[];
  /** Resolves with the error of an operation that was refused. */
  readonly refused: Promise<unknown>;
  /** Resolves with the next value. */
  next(): Promise<string>;
}

interface SocketSettings {
  readonly at?: string;
  readonly headers?: Record<string, string>;
  readonly connectionParams?: Record<string, unknown>;
}

/** Connects with the cookies of a browser, to this or another process. */
export function openSocket(
  browser: Browser,
  { at = browser.url, headers = {}, connectionParams }: SocketSettings = {},
): GraphQLSocket {
  const cookie = browser.cookieHeader('/graphql');
  const sent = { 'user-agent': 'Mozilla/5.0 (test)', ...(cookie !== '' && { cookie }), ...headers };
  let socket: WebSocket | undefined;
  class SocketWithHeaders extends WebSocket {
    constructor(url: string, protocols: string | string[]) {
      super(url, protocols, { headers: sent });
    }
  }
  let isOpen = false;
  const acknowledged = promised<void>();
  const closed = promised<{ code: number; reason: string }>();
  acknowledged.promise.catch(() => undefined);
  const client = createClient({
    url: `${at.replace('http', 'ws')}/graphql`,
    webSocketImpl: SocketWithHeaders,
    lazy: false,
    retryAttempts: 0,
    ...(connectionParams && { connectionParams }),
    onNonLazyError: () => undefined,
    on: {
      opened: (opened) => (socket = opened as WebSocket),
      connected: () => {
        isOpen = true;
        acknowledged.resolve();
      },
      closed: (event) => {
        isOpen = false;
        const { code, reason } = event as { code: number; reason: string };
        acknowledged.reject(new Error(`${code} ${reason}`));
        closed.resolve({ code, reason });
      },
    },
  });
  return {
    acknowledged: acknowledged.promise,
    closed: closed.promise,
    get isOpen() {
      return isOpen;
    },
    ask: async (query) =>
      new Promise((resolve) => {
        client.subscribe({ query }, { next: resolve, error: resolve, complete: () => undefined });
      }),
    stopReading: () => socket!.pause(),
    subscribe(field) {
      const values: string[] = [];
      const waiting: ((value: string) => void)[] = [];
      const refused = promised<unknown>();
      client.subscribe<Record<string, string>>(
        { query: `subscription { ${field} }` },
        {
          next: ({ data, errors }) => {
            if (errors) return refused.resolve(errors);
            const value = data![field]!;
            values.push(value);
            waiting.shift()?.(value);
          },
          error: (error) => refused.resolve(error),
          complete: () => undefined,
        },
      );
      return {
        values,
        refused: refused.promise,
        next: async () => new Promise((resolve) => waiting.push(resolve)),
      };
    },
    close: () => void client.dispose(),
  };
}

/** A promise, and what settles it. */
function promised<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((...settle) => ([resolve, reject] = settle));
  return { promise, resolve, reject };
}
