import type { Flow, Requests } from '../load/load.js';
import type { Recording } from '../profile/groups.js';
import type { Adapter } from '../servers/support/environment.js';
import type { ServerProcess } from '../run/server-process.js';
import type { BenchDatabase } from '../run/databases.js';
import type { Spread } from '../run/statistics.js';

/**
 * One question that the benchmark answers. Every module of this folder but this one exports one as `question`; the runner
 * finds them there.
 */
export interface Question {
  /** One word, for the command line. */
  readonly name: string;
  /** Place in the report. */
  readonly order: number;
  /** Heading in the report. */
  readonly title: string;
  /** Whether it takes hours, and so is only asked by its name. */
  readonly onlyByName?: boolean;
  /** Answers the question, in a few minutes unless {@link onlyByName}. */
  answer(bench: Bench): Promise<Table[]>;
  /** Measures the ratios that `budget.json` has budgets for, in about twenty seconds. */
  quick?(bench: Bench): Promise<Ratio[]>;
}

/** A ratio of two measurements that were made in turn, and how much it varied from round to round; or a size in bytes. */
export interface Ratio {
  /** As in `budget.json`, such as `guard.express.proven.throughput`. */
  readonly name: string;
  readonly value: Spread;
}

/** What the runner gives a question. What is started or made through it ends with the question, however that ends. */
export interface Bench {
  readonly adapters: readonly Adapter[];
  /** Starts server processes and drives them in turn, slice by slice. */
  race(race: Race): Promise<RaceResult>;
  /** Starts one server process, for a question that is no race. */
  start(server: ServerSpec): Promise<ServerProcess>;
  /** Drives one server process for so many seconds while V8 records what its main thread does. */
  profile(server: ServerSpec, load: Load, seconds: number): Promise<Recording>;
  /** Makes an empty database, or none when there is no server of this kind. */
  database(kind: 'postgres' | 'mysql' | 'sqlite'): Promise<BenchDatabase | undefined>;
  /** Stops what was started and drops what was made so far; what follows then has the machine to itself. */
  cleanUp(): Promise<void>;
  /** Tells whoever waits what is going on. */
  progress(message: string): void;
  /** How long things are measured. */
  readonly pace: Pace;
  /** How much the question `growth` measures, and where. */
  readonly growth: GrowthSizes;
}

export interface GrowthSizes {
  /** Sessions of the large tables. */
  readonly rows: number;
  /** Kinds of databases to measure. */
  readonly databases: readonly ('postgres' | 'mysql')[];
}

/** How long things are measured. */
export interface Pace {
  /** How often a race is run, each time with new processes. */
  readonly heats: number;
  /** Rounds of a heat; each contender has one slice in each. */
  readonly rounds: number;
  /** Length of a slice, in seconds. */
  readonly slice: number;
  /** How long each contender is driven before the first round, in seconds. */
  readonly warmUp: number;
}

/** How a server process is started. */
export interface ServerSpec {
  /** Module under `servers/` that calls `serve()`, without extension: `guard/bare`. */
  readonly server: string;
  readonly adapter: Adapter;
  readonly databaseUrl?: string;
  /** Connections to the database. @default 16 */
  readonly pool?: number;
  /** Whose core it runs on, where processes are pinned. @default 'server' */
  readonly core?: 'server' | 'generator';
  /** Further environment variables. */
  readonly env?: Readonly<Record<string, string>>;
}

/** One of those that a race compares. */
export interface Contender extends ServerSpec {
  /** As the table calls it; unique in the race. */
  readonly name: string;
  /** What it is driven with; a function is called once its processes are ready. */
  readonly load: Load | ((processes: readonly ServerProcess[]) => Load | Promise<Load>);
  /** Processes of it; connections and requests are spread over them. @default 1 */
  readonly processes?: number;
  /**
   * Name of a contender before it whose processes it is served by: nothing but what is asked of them differs then.
   * @default it has its own
   */
  readonly servedBy?: string;
  /** What a reader should know: what it does not do. Becomes a column of the table where any contender has one. */
  readonly remark?: string;
}

/** What drives a contender: see `load/load.ts`. */
export type Load = Requests | Flow;

/** A comparison of several contenders, in turn, each round in another order. */
export interface Race {
  /** Shown while it runs. */
  readonly title: string;
  /** Each has processes of its own, even where two are the same server, unless {@link Contender.servedBy} says otherwise. */
  readonly contenders: readonly Contender[];
  /** Name of the contender whose figures the others' are divided by. */
  readonly floor: string;
  /** Overrides of the run's pace, as factors: `{ slice: 0.5 }` halves the slices. */
  readonly factors?: Partial<Pace>;
}

/** What a race came to. */
export interface RaceResult {
  readonly floor: string;
  readonly entries: readonly RaceEntry[];
}

/** What a race says of one contender: medians over rounds, and how far they spread. */
export interface RaceEntry {
  readonly name: string;
  readonly remark: string | undefined;
  /** {@link Server.description} */
  readonly description: string | undefined;
  /** Requests per second. */
  readonly throughput: Spread;
  /** CPU time of the server processes per request, in microseconds. */
  readonly cpu: Spread;
  /** Its throughput as a share of the floor's, of the same round. */
  readonly throughputRatio: Spread;
  /** The floor's CPU time per request as a share of its own, of the same round: 1 is as cheap as the floor. */
  readonly cpuRatio: Spread;
  /** CPU time per request beyond the floor's, of the same round, in microseconds. */
  readonly cpuAboveFloor: Spread;
  /** 99th percentile of how much later than due timers ran, in milliseconds. */
  readonly eventLoopDelay: Spread;
  /** CPU time of the server processes per time: 1 is a core. */
  readonly serverBusy: Spread;
  /** The same of the load generator. At 1 it is what was measured, and only `cpu` counts. */
  readonly generatorBusy: Spread;
  /** What the medians are made from: one each round, at the same place for all contenders of the race. */
  readonly rounds: readonly RoundFigures[];
}

/** One slice of one contender. */
export interface RoundFigures {
  readonly throughput: number;
  readonly cpu: number;
  readonly eventLoopDelay: number;
  readonly serverBusy: number;
  readonly generatorBusy: number;
}

/** A table of the report. */
export interface Table {
  /** Unique in the report; names the chart's file: `guard-express`. */
  readonly name: string;
  readonly title: string;
  /** A sentence or two on what was done, and what the columns are. No findings: those change from run to run. */
  readonly text: string;
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
  /** What the chart of this table shows; no chart where absent. */
  readonly chart?: Chart;
}

export interface Column {
  readonly key: string;
  readonly label: string;
  /** How a number is written. @default 'number' */
  readonly format?: 'number' | 'percent' | 'bytes';
}

export interface Row {
  readonly name: string;
  /** By the columns' keys; what is absent shows as a dash. */
  readonly values: Readonly<Record<string, Spread | number | string | undefined>>;
}

export interface Chart {
  /** Key of the column that is drawn. */
  readonly column: string;
  readonly title: string;
  /** Name of the row that is ours, drawn in another colour. */
  readonly highlight?: readonly string[];
}
