import { Agent, createServer, type IncomingHttpHeaders, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Signal } from './signal.js';

/** A request that the proxy has passed on, and what it was answered with. */
export interface Passed {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly status: number;
  readonly location: string | undefined;
}

export interface HeldRequest {
  /** When it has come. */
  readonly arrives: Promise<void>;
  /** Lets it go on to the server. */
  readonly release: () => void;
  /** Cuts the browser off, which gets no answer any more. The request is on its way all the same. */
  readonly cut: () => void;
}

/** Stands before a server. A request that it holds is a late one: its cookies are those of when it was made. */
export interface HoldingProxy {
  readonly url: string;
  readonly port: number;
  /** Holds the next request, other than a preflight, whose path or query has this in it; the ones after it go through. */
  hold(part: string): HeldRequest;
  /** Requests, other than preflights, whose path or query has this in it, in order of their answers. */
  readonly passed: (part: string) => Passed[];
  close(): Promise<void>;
}

interface Hold {
  readonly part: string;
  readonly arrive: () => void;
  readonly released: Promise<void>;
  cut: () => void;
}

/** What concerns one connection alone. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive']);

/** @param target port of the server; not asked before the first request */
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
      // A connection that may stay open, as browsers have them: a server that answers early would cut off an upload otherwise.
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
    // What has been sent by then goes on, also when its sender has gone away.
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
