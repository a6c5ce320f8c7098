import type { ServerSpec } from '../questions/question.js';
import type { Sample } from '../servers/support/protocol.js';
import { Child, CORES } from './child.js';

/** A running server of a contender. */
export class ServerProcess {
  private constructor(
    private readonly child: Child,
    readonly port: number,
    /** From the start of the process until it accepted connections, in milliseconds. */
    readonly startMs: number,
    readonly description: string | undefined,
  ) {}

  /** @param secret the run's, for all that asks for one */
  static async start(spec: ServerSpec, secret: string): Promise<ServerProcess> {
    const child = new Child(`servers/${spec.server}.js`, CORES[spec.core ?? 'server'], {
      ADAPTER: spec.adapter,
      DATABASE_URL: spec.databaseUrl ?? '',
      POOL: String(spec.pool ?? 16),
      SECRET: secret,
      ...spec.env,
    });
    const { port, startMs, description } = await child.ready();
    return new ServerProcess(child, port, startMs, description);
  }

  /** What the process has used so far; `eventLoopDelay` since the last sample. */
  async sample(): Promise<Sample> {
    return this.child.ask({ type: 'sample' });
  }

  /** A sample after garbage collection. */
  async collectGarbage(): Promise<Sample> {
    return this.child.ask({ type: 'gc' });
  }

  /** Begins to record a CPU profile. */
  async startProfile(): Promise<void> {
    await this.child.ask({ type: 'profile', action: 'start' });
  }

  /** The CPU profile since {@link startProfile}, as V8 has it. */
  async stopProfile<T>(): Promise<T> {
    return this.child.ask({ type: 'profile', action: 'stop' });
  }

  /** Uses one of the server's own calls: `Server.calls`. */
  async call<T>(name: string, argument?: unknown): Promise<T> {
    return this.child.ask({ type: 'call', name, argument });
  }

  /** The end of what the process has printed: nothing when all is well. */
  get output(): string {
    return this.child.output;
  }

  async stop(): Promise<void> {
    await this.child.stop();
  }
}
