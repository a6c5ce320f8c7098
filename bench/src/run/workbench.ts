import { randomBytes } from 'node:crypto';
import type { CpuProfile, Recording } from '../profile/groups.js';
import type { Bench, GrowthSizes, Load, Pace, Race, RaceResult, ServerSpec } from '../questions/question.js';
import { type BenchDatabase, createDatabase, type DatabaseKind } from './databases.js';
import { GeneratorProcess } from './generator-process.js';
import { runRace } from './race.js';
import { ServerProcess } from './server-process.js';

/** What a full run takes; see `README.md` for how long that is in all. */
export const FULL_PACE: Pace = { heats: 3, rounds: 3, slice: 0.8, warmUp: 1.5 };

/** What is enough for a ratio with a budget. */
export const QUICK_PACE: Pace = { heats: 2, rounds: 3, slice: 0.4, warmUp: 0.8 };

/** What the issue of growth asks for. */
export const FULL_GROWTH: GrowthSizes = { rows: 10_000_000, databases: ['postgres', 'mysql'] };

/** Starts and makes what the questions need, and remembers it until it is cleaned up. */
export class Workbench implements Bench {
  readonly adapters = ['express', 'fastify'] as const;
  private readonly secret = randomBytes(32).toString('base64url');
  private readonly processes = new Set<ServerProcess>();
  private readonly databases = new Set<BenchDatabase>();
  /** Products and versions of the database servers that were used. */
  readonly databaseVersions = new Map<DatabaseKind, string>();
  private lazyGenerator: Promise<GeneratorProcess> | undefined;

  constructor(
    readonly pace: Pace,
    readonly progress: (message: string) => void,
    readonly growth: GrowthSizes = FULL_GROWTH,
  ) {}

  async race(race: Race): Promise<RaceResult> {
    this.progress(race.title);
    return runRace(race, {
      pace: this.pace,
      start: (server) => this.start(server),
      stop: (processes) => this.stop(processes),
      generator: () => this.generator(),
    });
  }

  async start(server: ServerSpec): Promise<ServerProcess> {
    const process = await ServerProcess.start(server, this.secret);
    this.processes.add(process);
    return process;
  }

  async profile(spec: ServerSpec, load: Load, seconds: number): Promise<Recording> {
    const server = await this.start(spec);
    const generator = await this.generator();
    await generator.prepare('profile', load, [server]);
    await generator.drive('profile', this.pace.warmUp);
    await server.startProfile();
    const { requests } = await generator.drive('profile', seconds);
    const profile = await server.stopProfile<CpuProfile>();
    await this.stop([server]);
    return { profile, requests };
  }

  async stop(processes: readonly ServerProcess[]): Promise<void> {
    await Promise.all(processes.map((process) => process.stop()));
    for (const process of processes) this.processes.delete(process);
  }

  async generator(): Promise<GeneratorProcess> {
    this.lazyGenerator ??= GeneratorProcess.start();
    return this.lazyGenerator;
  }

  async database(kind: DatabaseKind): Promise<BenchDatabase | undefined> {
    const database = await createDatabase(kind);
    if (!database) return undefined;
    this.databases.add(database);
    this.databaseVersions.set(kind, database.version);
    return database;
  }

  async cleanUp(): Promise<void> {
    const generator = this.lazyGenerator;
    this.lazyGenerator = undefined;
    await this.stop([...this.processes]);
    await generator?.then((process) => process.stop());
    const databases = [...this.databases];
    this.databases.clear();
    for (const database of databases) await database.drop();
  }
}

/** Runs something with a workbench, and cleans up after it however it ends, by Ctrl+C too. */
export async function withWorkbench<T>(
  pace: Pace,
  progress: (message: string) => void,
  work: (bench: Workbench) => Promise<T>,
  growth?: GrowthSizes,
): Promise<T> {
  const bench = new Workbench(pace, progress, growth);
  let isInterrupted = false;
  const interrupt = () => {
    isInterrupted = true;
    void bench.cleanUp().finally(() => process.exit(130));
  };
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  try {
    return await work(bench);
  } catch (error) {
    // The work has lost its processes to the clean-up; there is nothing to say about that.
    if (isInterrupted) await new Promise(() => undefined);
    throw error;
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
    await bench.cleanUp();
  }
}
