// The load generator: a process of its own, so that it takes nothing from the servers. The runner asks, it answers.
import type { Answer } from '../servers/support/protocol.js';
import { FixedDriver } from './fixed-driver.js';
import { FlowDriver } from './flow-driver.js';
import type { Flow, Requests } from './load.js';

/** What the runner asks the generator. `id` names a contender's load. */
export type GeneratorRequest =
  | {
      readonly type: 'prepare';
      readonly id: string;
      readonly load: Requests | Flow;
      readonly ports: number[];
    }
  /** What has to happen before a slice, outside of the measurement: connections, logins. */
  | { readonly type: 'before'; readonly id: string }
  | { readonly type: 'run'; readonly id: string; readonly seconds: number }
  /** What has to happen after it: checks, and the end of the connections. */
  | { readonly type: 'after'; readonly id: string }
  | { readonly type: 'stop' };

/** What a slice came to. */
export interface Slice {
  readonly requests: number;
  readonly seconds: number;
  /** Share of that time in which the generator was busy. */
  readonly busy: number;
}

/** Drives one contender. */
export interface Driver {
  before(): Promise<void>;
  /** Drives for this time, or for as many requests as the load says. @returns requests answered */
  run(seconds: number): Promise<number>;
  after(): Promise<void>;
}

const drivers = new Map<string, Driver>();

function driverOf(id: string): Driver {
  const driver = drivers.get(id);
  if (!driver) throw new Error(`There is no load "${id}".`);
  return driver;
}

async function run(driver: Driver, seconds: number): Promise<Slice> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const requests = await driver.run(seconds);
  const elapsed = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  return { requests, seconds: elapsed / 1e3, busy: (user + system) / 1e3 / elapsed };
}

async function answer(request: GeneratorRequest): Promise<unknown> {
  switch (request.type) {
    case 'prepare': {
      const { id, load, ports } = request;
      drivers.set(id, load.kind === 'requests' ? new FixedDriver(load, ports) : new FlowDriver(load, ports));
      return undefined;
    }
    case 'before':
      return driverOf(request.id).before();
    case 'run':
      return run(driverOf(request.id), request.seconds);
    case 'after':
      return driverOf(request.id).after();
    case 'stop':
      return undefined;
  }
}

const send = (message: Answer) => process.send!(message);

process.on('message', (request: GeneratorRequest) => {
  void (async () => {
    try {
      send({ type: 'answer', value: await answer(request) });
    } catch (error) {
      send({
        type: 'failed',
        message: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
    }
    if (request.type === 'stop') process.disconnect();
  })();
});
process.on('disconnect', () => process.exit());
send({ type: 'ready', port: 0, startMs: performance.now(), description: undefined });
