import { io } from 'socket.io-client';
import { WebSocket } from 'ws';
import type { Browser } from '../support/browser.js';

/** Ways to connect to a gateway. Socket.IO begins with HTTP polling, or with an upgrade. */
export const transports = ['ws', 'Socket.IO', 'Socket.IO by polling'] as const;
export type Transport = (typeof transports)[number];

export interface Settings {
  /** Whose cookies the client sends. */
  readonly browser?: Browser | undefined;
  readonly headers?: Record<string, string>;
  /** The `auth` payload of Socket.IO. */
  readonly auth?: object;
  /** Namespace of Socket.IO, or path of `ws`. */
  readonly at?: string;
  /** What the client sends as soon as it is open. */
  readonly first?: readonly (readonly [event: string, data?: string])[];
}

/** A client that a gateway has welcomed. */
export interface Client {
  /** What has come so far: event and data. */
  readonly heard: readonly (readonly [event: string, data: unknown])[];
  /** Sends a message. @returns the answer; `{ refused }` when the guard has refused it */
  send(event: string, data?: string): Promise<unknown>;
  /** Resolves when something was heard. */
  hears(event: string): Promise<unknown>;
  /** Resolves when the server has ended the connection. */
  readonly ended: Promise<End>;
  readonly isOpen: boolean;
  close(): void;
}

export type End = { readonly code?: number; readonly reason: string };

/** What a client is told that may not connect, whatever the transport. */
export interface Refusal {
  readonly status: number;
  /** The code of the error, or its message where it has none. */
  readonly code: string;
}

/** A gateway has not let a client in. */
export class Refused extends Error {
  /** @param body what Socket.IO has told */
  constructor(
    readonly answer: Refusal,
    readonly body: object = {},
  ) {
    super(JSON.stringify(answer));
  }
}

const open = new Set<{ close(): void }>();

/** Closes all clients. Call it after each test. */
export function closeClients(): void {
  for (const each of open) each.close();
  open.clear();
}

/** Connects, and waits for the event `welcome` of the gateway. @throws {@link Refused} */
export async function connect(transport: Transport, url: string, settings: Settings = {}): Promise<Client> {
  return transport === 'ws' ? connectWs(url, settings) : connectSocketIo(transport, url, settings);
}

/** How a client that tries to connect is answered: what the gateway has welcomed it with, or the refusal. */
export async function attempt(...parameters: Parameters<typeof connect>): Promise<unknown> {
  try {
    const { heard } = await connect(...parameters);
    return heard.find(([event]) => event === 'welcome')![1];
  } catch (error) {
    if (error instanceof Refused) return error.answer;
    throw error;
  }
}

/** What has been heard, and who waits to hear it. */
class Ears {
  readonly heard: [event: string, data: unknown][] = [];
  private waiting: { event: string; resolve: (data: unknown) => void }[] = [];

  hear(event: string, data: unknown): void {
    this.heard.push([event, data]);
    const { waiting } = this;
    this.waiting = waiting.filter((each) => each.event !== event);
    for (const each of waiting) if (each.event === event) each.resolve(data);
  }

  async hears(event: string): Promise<unknown> {
    return new Promise((resolve) => this.waiting.push({ event, resolve }));
  }
}

function headersOf({ browser, headers }: Settings): Record<string, string> {
  const cookie = browser?.cookieHeader('/') ?? '';
  return { ...(cookie !== '' && { cookie }), ...headers };
}

async function connectWs(url: string, settings: Settings): Promise<Client> {
  const socket = new WebSocket(url.replace(/^http/, 'ws') + (settings.at ?? '/'), {
    headers: headersOf(settings),
  });
  open.add({ close: () => socket.terminate() });
  const ears = new Ears();
  const say = (event: string, data?: string) => socket.send(JSON.stringify({ event, data }));
  socket.on('message', (text: Buffer) => {
    const { event, data } = JSON.parse(text.toString()) as { event: string; data: unknown };
    ears.hear(event, data);
  });
  socket.on('open', () => {
    for (const message of settings.first ?? []) say(...message);
  });
  socket.on('error', () => undefined);
  const ended = new Promise<End>((resolve) => {
    socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  const welcomed = ears.hears('welcome').then(() => undefined);
  const answer = await Promise.race([welcomed, ended]);
  if (answer) throw new Refused({ status: answer.code! - 4_000, code: answer.reason });
  return {
    heard: ears.heard,
    send: async (event, data) => {
      const refused = ears.hears('exception').then((body) => ({ refused: body }));
      const answered = ears.hears(event);
      say(event, data);
      return Promise.race([answered, refused]);
    },
    hears: async (event) => ears.hears(event),
    ended,
    get isOpen() {
      return socket.readyState === WebSocket.OPEN;
    },
    close: () => socket.close(),
  };
}

/** The body of a refusal. */
interface RefusalBody {
  readonly statusCode: number;
  readonly code?: string;
}

async function connectSocketIo(transport: Transport, url: string, settings: Settings): Promise<Client> {
  const socket = io(url + (settings.at ?? '/'), {
    transports: [transport === 'Socket.IO' ? 'websocket' : 'polling'],
    extraHeaders: headersOf(settings),
    auth: settings.auth ?? {},
    reconnection: false,
    forceNew: true,
  });
  open.add(socket);
  const ears = new Ears();
  socket.once('connect', () => {
    for (const [event, data] of settings.first ?? []) socket.emit(event, data);
  });
  socket.onAny((event: string, data: unknown) => ears.hear(event, data));
  const ended = new Promise<End>((resolve) => {
    let reason = '';
    socket.on('exception', ({ code }: { code?: string }) => (reason = code ?? reason));
    socket.once('disconnect', (why) => resolve({ reason: why === 'io server disconnect' ? reason : why }));
  });
  const refused = new Promise<never>((_resolve, reject) => {
    socket.once('connect_error', ({ message, data }: Error & { data?: object }) => {
      const { statusCode, code } = data as RefusalBody;
      reject(new Refused({ status: statusCode, code: code ?? message }, data));
    });
  });
  await Promise.race([ears.hears('welcome'), refused]);
  refused.catch(() => undefined);
  return {
    heard: ears.heard,
    send: async (event, data) => {
      const isRefused = ears.hears('exception').then((body) => ({ refused: body }));
      return Promise.race([
        isRefused,
        new Promise<unknown>((resolve) => void socket.emit(event, data, resolve)),
      ]);
    },
    hears: async (event) => ears.hears(event),
    ended,
    get isOpen() {
      return socket.connected;
    },
    close: () => socket.close(),
  };
}
