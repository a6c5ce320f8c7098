import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JWK } from 'jose';

type Respond = (response: ServerResponse) => void | Promise<void>;

/** A server of keys. A test sets its responses. It counts its requests. */
export class KeyServer {
  /** The number of requests so far. */
  requests = 0;
  private respond: Respond = (response) => void response.destroy();

  private constructor(private readonly server: Server) {
    server.on('request', (_request, response: ServerResponse) => {
      this.requests++;
      void this.respond(response);
    });
  }

  static async start(): Promise<KeyServer> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new KeyServer(server);
  }

  get uri(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/keys`;
  }

  /** Answers with these keys. */
  publish(keys: readonly JWK[] | (() => Promise<readonly JWK[]>)): void {
    this.answer(async (response) => {
      response.setHeader('content-type', 'application/jwk-set+json');
      response.end(JSON.stringify({ keys: typeof keys === 'function' ? await keys() : keys }));
    });
  }

  answer(respond: Respond): void {
    this.respond = respond;
  }

  /** Closes connections without a response. */
  breakDown(): void {
    this.answer((response) => void response.destroy());
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}
