import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An answer that the proxy has passed on, or could have. */
export interface Passed {
  readonly url: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What the proxy does with a request, in the place of passing the answer of the server on. */
export type Misdeed = (request: IncomingMessage, response: ServerResponse, proxy: Proxy) => unknown;

/** A proxy on a loopback address that can do wrong. */
export class Proxy {
  /** The answers that were passed on, in their order. */
  readonly passed: Passed[] = [];
  requests = 0;
  misdeed: Misdeed | undefined;

  private constructor(
    private readonly server: Server,
    /** Where requests go in turn. */
    readonly targets: string[],
  ) {}

  static async start(...targets: string[]): Promise<Proxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new Proxy(server, targets);
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      proxy.requests++;
      void (proxy.misdeed ? proxy.misdeed(request, response, proxy) : proxy.pass(request, response));
    });
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Asks the server. */
  async ask(url: string, etag?: string): Promise<Passed> {
    const target = this.targets[this.requests % this.targets.length]!;
    const response = await fetch(target + url, { headers: etag ? { 'if-none-match': etag } : {} });
    const headers: Record<string, string> = {};
    for (const name of ['content-type', 'etag', 'cache-control']) {
      const value = response.headers.get(name);
      if (value !== null) headers[name] = value;
    }
    return { url, status: response.status, headers, body: await response.text() };
  }

  async pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const answer = await this.ask(request.url!, request.headers['if-none-match']);
      this.passed.push(answer);
      this.send(response, answer);
    } catch {
      response.destroy();
    }
  }

  send(response: ServerResponse, { status, headers, body }: Passed): void {
    response.writeHead(status, headers).end(body);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}
