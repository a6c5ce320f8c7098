import type { IncomingHttpHeaders } from 'node:http';
import type { HttpRequest } from '../http/messages.js';
import { awaitConnection, connected } from './connection-of.js';
import { checkHandshake, type GatewayCheck, refusalOf, rememberHandshake } from './handshake.js';

/** `WebSocket.OPEN` of `ws`. */
const OPEN = 1;

/** What a WebSocket adapter binds to the clients of a server: it makes them clients of a gateway. */
type Bind = (client: object, ...parameters: unknown[]) => void;

/** A server of `ws`, or a server or namespace of Socket.IO, as far as it is used here. */
interface Server {
  /** Of `ws`: whom the application sends to. */
  readonly clients?: Set<object>;
  /** Of Socket.IO. */
  use?(check: (client: SocketIoClient, next: (error?: Error) => void) => void): unknown;
  readonly opts?: { readonly connectionStateRecovery?: { skipMiddlewares?: boolean } };
}

/** A socket of `ws`. */
interface WsClient {
  readonly readyState: number;
  pause(): void;
  resume(): void;
  close(code: number, reason: string): void;
  on(event: 'error', listener: () => void): unknown;
}

/** A socket of Socket.IO. */
interface SocketIoClient {
  readonly handshake: {
    readonly url: string;
    readonly headers: IncomingHttpHeaders;
    readonly auth: { readonly token?: unknown };
  };
  disconnect(close: boolean): unknown;
}

/**
 * The door of a server: clients become clients of the gateways at the server only when the guards of all these gateways have
 * accepted them. Until then, nothing that they send is read, and nothing that is sent to all clients is sent to them.
 *
 * Socket.IO has middlewares for that. `ws` has a check before the upgrade, but browsers do not tell their pages why an upgrade
 * was refused. So the upgrade is done, and the socket is closed with a code.
 */
export class GatewayDoor {
  private readonly sources: (() => GatewayCheck[])[] = [];
  private found: GatewayCheck[] | undefined;
  /** Clients of Socket.IO that may enter. */
  private readonly admitted = new WeakSet<object>();
  /** What is to be bound to clients of `ws` that are being checked. */
  private readonly waiting = new WeakMap<object, (() => void)[]>();

  constructor(private readonly server: Server) {
    if (server.use) this.checkBeforeConnection(server as Server & Required<Pick<Server, 'use'>>);
  }

  /** Says which gateways are at the server. They are asked for when the first client comes, because guards are made later. */
  lead(checks: () => GatewayCheck[]): void {
    this.sources.push(checks);
  }

  /** The same, for clients who may enter. */
  guarded(bind: Bind): Bind {
    return (client, ...parameters) => {
      const enter = () => bind(client, ...parameters);
      if (this.server.use) this.enterChecked(client as SocketIoClient, enter);
      else if (isWs(client) && isRequest(parameters[0])) this.checkAndEnter(client, parameters[0], enter);
      // An adapter for something else. The guard checks each message, if it knows where the request is.
      else enter();
    };
  }

  private checkBeforeConnection(server: Required<Pick<Server, 'use'>> & Server): void {
    // Otherwise, who comes back after a short break would not be checked, and the session may have ended meanwhile.
    const recovery = server.opts?.connectionStateRecovery;
    if (recovery) recovery.skipMiddlewares = false;
    server.use((client, next) => {
      rememberHandshake(client, requestOf(client));
      awaitConnection(client);
      this.check(client).then(
        () => {
          this.admitted.add(client);
          next();
        },
        (error: unknown) => {
          const { message, body } = refusalOf(error);
          next(Object.assign(new Error(message), { data: body }));
        },
      );
    });
  }

  private enterChecked(client: SocketIoClient, enter: () => void): void {
    if (!this.admitted.has(client)) {
      client.disconnect(true);
      return;
    }
    connected(client);
    enter();
  }

  private checkAndEnter(client: WsClient, request: HttpRequest, enter: () => void): void {
    rememberHandshake(client, request);
    const waiting = this.waiting.get(client);
    if (waiting) waiting.push(enter);
    else if (this.checks.length === 0) enter();
    else void this.hold(client, [enter]);
  }

  private async hold(client: WsClient, waiting: (() => void)[]): Promise<void> {
    this.waiting.set(client, waiting);
    client.pause();
    this.server.clients?.delete(client);
    try {
      await this.check(client);
    } catch (error) {
      const { closeCode, reason } = refusalOf(error);
      // The adapter's own listener may be missing, and what a refused client sends must not end the process.
      client.on('error', () => undefined);
      client.close(closeCode, reason);
      client.resume();
      return;
    } finally {
      this.waiting.delete(client);
    }
    // It may have gone, or its session may have ended.
    if (client.readyState === OPEN) {
      this.server.clients?.add(client);
      for (const enter of waiting) enter();
    }
    client.resume();
  }

  private async check(client: object): Promise<void> {
    for (const check of this.checks) await checkHandshake(client, check);
  }

  private get checks(): readonly GatewayCheck[] {
    this.found ??= this.sources
      .flatMap((source) => source())
      .filter(({ required, offered }) => required.length + offered.length > 0);
    return this.found;
  }
}

/**
 * The request of a client of Socket.IO. Namespaces share one HTTP request, but each has its own credentials: those of the
 * `auth` payload count before those of the request.
 */
function requestOf({ handshake: { url, headers, auth } }: SocketIoClient): HttpRequest {
  const { token } = auth;
  return {
    method: 'GET',
    url,
    headers: {
      ...headers,
      // It is a connection, also where it is polled for: another site must not open it by plain requests either.
      upgrade: 'websocket',
      ...(typeof token === 'string' && { authorization: `Bearer ${token.replace(/^bearer /i, '')}` }),
    },
  };
}

function isWs(client: object): client is WsClient {
  return 'pause' in client && 'readyState' in client;
}

function isRequest(parameter: unknown): parameter is HttpRequest {
  return typeof (parameter as HttpRequest | undefined)?.headers === 'object';
}
