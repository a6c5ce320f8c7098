import type { GeneratorRequest, Slice } from '../load/generator.js';
import type { Load } from '../questions/question.js';
import { Child, CORES } from './child.js';
import type { ServerProcess } from './server-process.js';

/** The process that sends the load. */
export class GeneratorProcess {
  private constructor(private readonly child: Child) {}

  static async start(): Promise<GeneratorProcess> {
    const child = new Child('load/generator.js', CORES.generator);
    await child.ready();
    return new GeneratorProcess(child);
  }

  /** @param id names the load from now on */
  async prepare(id: string, load: Load, processes: readonly ServerProcess[]): Promise<void> {
    await this.ask({ type: 'prepare', id, load, ports: processes.map(({ port }) => port) });
  }

  /** Drives for one slice, and calls back right before and after it. */
  async drive(id: string, seconds: number, atEdge: () => Promise<void> = async () => {}): Promise<Slice> {
    await this.ask({ type: 'before', id });
    await atEdge();
    const slice = await this.ask<Slice>({ type: 'run', id, seconds });
    await atEdge();
    await this.ask({ type: 'after', id });
    return slice;
  }

  async stop(): Promise<void> {
    await this.child.stop();
  }

  private async ask<T>(request: GeneratorRequest): Promise<T> {
    // Long enough for the slowest contender; what takes longer hangs.
    const limit = 120_000;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`The load generator did not finish "${request.type}".`)),
        limit,
      );
    });
    try {
      return await Promise.race([this.child.ask<T>(request), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
