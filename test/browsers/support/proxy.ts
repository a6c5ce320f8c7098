import { Agent, createServer, type IncomingHttpHeaders, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Signal } from './signal.js';

/** A request that the proxy has passed on, and its response. */
export interface Passed {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly status: number;
  readonly location: string | undefined;
}

export interface HeldRequest {
  /** When the proxy got it. */
  readonly arrives: Promise<void>;
  /** Sends it on to the server. */
  readonly release: () => void;
  /** Closes the connection to the browser, which then gets no response. The request still goes to the server. */
  readonly cut: () => void;
}

/** A proxy in front of a server. A request that it holds becomes late: it has the cookies of the time when it was made. */
export interface HoldingProxy {
  readonly url: string;
  readonly port: number;
  /** Holds the next request, except preflights, whose path or query contains this text. Later requests are not held. */
  hold(part: string): HeldRequest;
  /** The requests, except preflights, whose path or query contains this text, in the order of their responses. */
  readonly passed: (part: string) => Passed[];
  close(): Promise<void>;
}

interface Hold {
  readonly part: string;
  readonly arrive: () => void;
  readonly released: Promise<void>;
  cut: () => void;
}

/** Headers that concern only one connection. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive']);

/** @param target gives the port of the server; not called before the first request */
export async function startHoldingProxy(target: () => number): Promise<HoldingProxy> {
  const held = new Set<Hold>();
  const passed: Passed[] = [];
  const server = createServer((incoming, outgoing) => {
    const { method = '', url: path = '', headers } = incoming;
    const isPreflight = method === 'OPTIONS';
    const hold = isPreflight ? undefined : [...held].find(({ part }) => path.includes(part));
    if (hold) {
      held.delete(hold);
      hold.arrive();
      hold.cut = () => outgoing.destroy();
    }
    const passOn = (body: Buffer): void => {
      // The connection may stay open, as with browsers. Otherwise a server that answers early would interrupt an upload.
      const agent = new Agent({ keepAlive: true });
      const upstream = httpRequest(
        {
          host: '127.0.0.1',
          port: target(),
          method,
          path,
          headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name))),
          agent,
        },
        (answer) => {
          const status = answer.statusCode!;
          const { location } = answer.headers;
          if (!isPreflight) passed.push({ method, path, headers, status, location });
          for (const [name, values] of Object.entries(answer.headersDistinct)) {
            if (!HOP_BY_HOP.has(name)) outgoing.setHeader(name, values!);
          }
          outgoing.writeHead(status);
          answer.pipe(outgoing);
        },
      );
      upstream.once('error', () => outgoing.destroy());
      upstream.once('close', () => agent.destroy());
      upstream.end(body);
    };
    // A request that was already sent is passed on, even if its sender has closed the connection.
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.once('close', () => {
      const body = Buffer.concat(chunks);
      if (hold) void hold.released.then(() => passOn(body));
      else passOn(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://localhost:${port}`,
    port,
    hold(part) {
      const [arrival, release] = [new Signal(), new Signal()];
      const hold: Hold = { part, arrive: arrival.give, released: release.given, cut: () => undefined };
      held.add(hold);
      return { arrives: arrival.given, release: release.give, cut: () => hold.cut() };
    },
    passed: (part) => passed.filter(({ path }) => path.includes(part)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
