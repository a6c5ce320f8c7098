import { Connection, type PreparedRequest } from './connection.js';
import { requestBytes } from './client.js';
import type { Driver } from './generator.js';
import type { FixedRequest, Requests } from './load.js';

const REASONS: Readonly<Record<number, string>> = { 200: 'OK', 201: 'Created', 401: 'Unauthorized' };

/** Sends requests whose bytes are known before. */
export class FixedDriver implements Driver {
  private readonly requests: readonly PreparedRequest[];
  private connections: Connection[] = [];
  private isPrimed: boolean;
  private next = 0;

  constructor(
    private readonly load: Requests,
    private readonly ports: readonly number[],
  ) {
    if (load.requests.length === 0) throw new Error('The load has no requests.');
    this.requests = load.requests.map(prepare);
    this.isPrimed = !load.primed;
  }

  async before(): Promise<void> {
    await this.open();
    if (this.isPrimed) return;
    this.isPrimed = true;
    for (const port of this.ports) {
      this.close();
      await this.open([port]);
      await this.drive({ count: this.requests.length });
    }
    this.close();
    await this.open();
  }

  async run(seconds: number): Promise<number> {
    const { count } = this.load;
    if (count === undefined) return this.drive({ seconds });
    if (this.next + count > this.requests.length)
      throw new Error('There are too few requests for so many rounds.');
    return this.drive({ count });
  }

  async after(): Promise<void> {
    this.close();
  }

  private async open(ports = this.ports): Promise<void> {
    const count = this.load.connections ?? 16;
    this.connections = Array.from(
      { length: count },
      (_, index) => new Connection(ports[index % ports.length]!),
    );
    await Promise.all(this.connections.map((connection) => connection.open()));
  }

  private close(): void {
    for (const connection of this.connections.splice(0)) connection.close();
  }

  /** Keeps all connections busy for a time or for a number of requests. No promise per request: the server is to be the slow one. */
  private async drive({
    seconds,
    count = Number.POSITIVE_INFINITY,
  }: {
    seconds?: number;
    count?: number;
  }): Promise<number> {
    const { requests, connections } = this;
    let sent = 0;
    let answered = 0;
    let isOver = false;
    const timer = seconds === undefined ? undefined : setTimeout(() => (isOver = true), seconds * 1e3);
    try {
      await new Promise<void>((resolve, reject) => {
        let busy = connections.length;
        for (const connection of connections) {
          const step = (error?: Error) => {
            if (error) {
              isOver = true;
              reject(error);
              return;
            }
            if (isOver || sent === count) {
              busy--;
              if (busy === 0) resolve();
              return;
            }
            sent++;
            const request = requests[this.next % requests.length]!;
            this.next++;
            connection.send(request, listener);
          };
          const listener = (error: Error | undefined) => {
            answered++;
            step(error);
          };
          step();
        }
      });
    } finally {
      clearTimeout(timer);
    }
    return answered;
  }
}

function prepare({ method = 'GET', path, headers, status = 200, body }: FixedRequest): PreparedRequest {
  return {
    bytes: requestBytes(method, path, headers),
    head: Buffer.from(`HTTP/1.1 ${status} ${REASONS[status] ?? ''}`),
    tail: Buffer.from(`\r\n\r\n${body}`),
  };
}
