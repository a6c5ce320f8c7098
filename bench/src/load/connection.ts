import { connect, type Socket } from 'node:net';
import { type HttpResponse, parseResponse } from './http-response.js';

/** A request's bytes, and the answer that is right. */
export interface PreparedRequest {
  readonly bytes: Buffer;
  /** How the answer begins: version and status. */
  readonly head: Buffer;
  /** How it ends: the empty line and the whole body. */
  readonly tail: Buffer;
}

/** What a connection calls when it has an answer; the answer itself where it has been taken apart. */
type Listener = (error: Error | undefined, response: HttpResponse | undefined) => void;

/** One keep-alive connection that carries one request at a time. No HTTP client: that would cost more than the server. */
export class Connection {
  private readonly socket: Socket;
  private readonly opened: Promise<void>;
  private expected: PreparedRequest | undefined;
  private received: Buffer | undefined;
  private listener: Listener | undefined;

  constructor(port: number) {
    const buffer = Buffer.allocUnsafeSlow(65_536);
    this.socket = connect({
      host: '127.0.0.1',
      port,
      noDelay: true,
      // Into one buffer, without a stream: about half the cost of "data" events.
      onread: {
        buffer,
        callback: (length) => {
          this.receive(buffer, length);
          return true;
        },
      },
    });
    this.opened = new Promise((resolve, reject) => {
      this.socket.once('connect', resolve);
      this.socket.once('error', reject);
    });
    this.socket.on('error', (error) => this.finish(error));
    this.socket.on('close', () =>
      this.finish(new Error('The server closed the connection before it answered.')),
    );
  }

  async open(): Promise<void> {
    await this.opened;
  }

  /** Sends a request whose answer is known; anything else is an error. */
  send(request: PreparedRequest, listener: (error: Error | undefined) => void): void {
    this.expected = request;
    this.listener = listener;
    this.socket.write(request.bytes);
  }

  /** Sends a request and gives the answer, whatever it is. */
  async exchange(bytes: Buffer): Promise<HttpResponse> {
    return new Promise((resolve, reject) => {
      this.listener = (error, response) => (error ? reject(error) : resolve(response!));
      this.socket.write(bytes);
    });
  }

  close(): void {
    this.listener = undefined;
    this.socket.destroy();
  }

  private receive(buffer: Buffer, length: number): void {
    if (this.expected && !this.received && isAnswer(buffer, length, this.expected)) {
      this.finish(undefined);
      return;
    }
    const chunk = Buffer.from(buffer.subarray(0, length));
    this.received = this.received ? Buffer.concat([this.received, chunk]) : chunk;
    try {
      const response = parseResponse(this.received);
      if (!response) return;
      this.finish(this.expected && unlessRight(response, this.expected), response);
    } catch (error) {
      this.finish(error as Error);
    }
  }

  private finish(error: Error | undefined, response?: HttpResponse): void {
    const { listener } = this;
    this.received = undefined;
    this.expected = undefined;
    this.listener = undefined;
    listener?.(error, response);
  }
}

/** Whether these bytes are exactly the right answer, in one piece; nearly every answer is. */
function isAnswer(buffer: Buffer, length: number, { head, tail }: PreparedRequest): boolean {
  const start = length - tail.length;
  return (
    start > head.length &&
    buffer.compare(tail, 0, tail.length, start, length) === 0 &&
    buffer.compare(head, 0, head.length, 0, head.length) === 0
  );
}

function unlessRight(response: HttpResponse, { bytes, head, tail }: PreparedRequest): Error | undefined {
  const status = Number(head.toString('latin1').slice(9, 12));
  const body = tail.toString('utf8').slice(4);
  if (response.status === status && response.body === body) return undefined;
  const line = bytes.toString('latin1', 0, bytes.indexOf('\r\n'));
  return new Error(
    `${line}: expected ${status} ${body}, got ${response.status} ${response.body.slice(0, 300)}`,
  );
}
