import { setTimeout as delay } from 'node:timers/promises';
import { Session } from 'node:inspector/promises';
import { createServer, type AddressInfo } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Answer, Request, Sample } from './protocol.js';

/** What a contender provides; {@link serve} makes a server process of it. */
export interface Server {
  /** Starts to listen on this port of 127.0.0.1, which is free. */
  listen(port: number): Promise<unknown>;
  close(): Promise<unknown>;
  /** Which of the usual routes are missing and why, or what else a reader of the results should know. */
  readonly description?: string;
  /** Statements sent to the database since the start, where they can be counted. */
  queries?(): number;
  /** What a question may ask of this server beside the usual: its argument and result cross process borders. */
  readonly calls?: Readonly<Record<string, (argument: never) => unknown>>;
}

/** Milliseconds between two looks at the event loop. */
const RESOLUTION = 10;

/**
 * Runs a contender's server in this process, as the runner asks for it. Prints nothing: what fails before the server is
 * ready ends the process with a stack trace, and the run with it.
 */
export function serve(server: Server): void {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION });
  const profiler = new Session();

  const sample = (): Sample => {
    const eventLoopDelay = {
      p50: delayAt(delays.percentile(50)),
      p99: delayAt(delays.percentile(99)),
      max: delayAt(delays.max),
    };
    delays.reset();
    const { user, system } = process.cpuUsage();
    const { heapUsed, rss } = process.memoryUsage();
    return { cpu: user + system, heapUsed, rss, eventLoopDelay, queries: server.queries?.() };
  };

  const answer = async (request: Request): Promise<unknown> => {
    switch (request.type) {
      case 'sample':
        return sample();
      case 'gc':
        await collectGarbage();
        return sample();
      case 'profile':
        return profile(profiler, request.action);
      case 'call': {
        const call = server.calls?.[request.name];
        if (!call) throw new Error(`The server has no call "${request.name}".`);
        return call(request.argument as never);
      }
      case 'stop':
        return server.close();
    }
  };

  process.on('message', (request: Request) => {
    void (async () => {
      try {
        const value = await answer(request);
        send({ type: 'answer', value: request.type === 'stop' ? undefined : value });
      } catch (error) {
        send({
          type: 'failed',
          message: error instanceof Error ? (error.stack ?? error.message) : String(error),
        });
      }
      // Some contenders leave timers and connections behind.
      if (request.type === 'stop') process.disconnect();
    })();
  });
  process.on('disconnect', () => process.exit());

  void (async () => {
    const port = await freePort();
    await server.listen(port);
    delays.enable();
    send({ type: 'ready', port, startMs: performance.now(), description: server.description });
  })();
}

function send(answer: Answer): void {
  process.send!(answer);
}

/** The histogram holds the time between two looks, of which the resolution is none of the loop's fault. */
function delayAt(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e6 - RESOLUTION);
}

/** A port of 127.0.0.1 that nobody listens on. */
async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

async function collectGarbage(): Promise<void> {
  const { gc } = globalThis;
  if (!gc) throw new Error('The process was started without --expose-gc.');
  // What finalizers and closed sockets held is freed only by the collections after the first.
  for (let pass = 0; pass < 3; pass++) {
    gc();
    await delay(20);
  }
}

async function profile(profiler: Session, action: 'start' | 'stop'): Promise<unknown> {
  if (action === 'stop') {
    const { profile: recorded } = await profiler.post('Profiler.stop');
    profiler.disconnect();
    return recorded;
  }
  profiler.connect();
  await profiler.post('Profiler.enable');
  await profiler.post('Profiler.setSamplingInterval', { interval: 200 });
  return profiler.post('Profiler.start');
}
