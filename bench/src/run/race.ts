import { setTimeout as delay } from 'node:timers/promises';
import type {
  Contender,
  Pace,
  Race,
  RaceEntry,
  RaceResult,
  RoundFigures,
  ServerSpec,
} from '../questions/question.js';
import type { Slice } from '../load/generator.js';
import type { Sample } from '../servers/support/protocol.js';
import type { GeneratorProcess } from './generator-process.js';
import type { ServerProcess } from './server-process.js';
import { spread } from './statistics.js';

/** What a race needs from the run. */
export interface RaceTrack {
  readonly pace: Pace;
  start(server: ServerSpec): Promise<ServerProcess>;
  stop(processes: readonly ServerProcess[]): Promise<void>;
  generator(): Promise<GeneratorProcess>;
}

/** A contender in one heat. */
interface Runner {
  readonly contender: Contender;
  readonly id: string;
  readonly processes: readonly ServerProcess[];
  /** How many slices' worth of requests warm it up, where those are counted. */
  readonly warmUps: number;
}

/** What one contender did in all heats. */
interface Score {
  readonly contender: Contender;
  readonly rounds: RoundFigures[];
  description: string | undefined;
}

/** See {@link Requests.count}. */
const COUNTED_WARM_UPS = 2;

/**
 * Runs contenders in turn, a slice each, in another order each round: whatever else happens on the machine meets all of
 * them alike, and ratios within a round are compared before any average is taken. Each heat has processes of its own: two of
 * the same program can differ by a tenth and more for as long as they live, by where memory and compiled code came to lie.
 */
export async function runRace(race: Race, track: RaceTrack): Promise<RaceResult> {
  const pace = paceOf(race, track.pace);
  const scores = race.contenders.map((contender): Score => ({
    contender,
    rounds: [],
    description: undefined,
  }));
  for (let heat = 0; heat < pace.heats; heat++) await runHeat(race, pace, scores, track);
  const floor = scores.find(({ contender }) => contender.name === race.floor);
  if (!floor) throw new Error(`The race "${race.title}" has no contender "${race.floor}".`);
  return { floor: race.floor, entries: scores.map((score) => toEntry(score, floor)) };
}

async function runHeat(
  race: Race,
  { rounds, slice, warmUp }: Pace,
  scores: readonly Score[],
  track: RaceTrack,
): Promise<void> {
  const generator = await track.generator();
  const runners: Runner[] = [];
  try {
    for (const contender of race.contenders) {
      const host = runners.find((runner) => runner.contender.name === contender.servedBy);
      runners.push(await prepare(contender, host?.processes, race, track, generator));
    }
    for (const runner of runners) {
      for (let count = 0; count < runner.warmUps; count++) await drive(runner, warmUp, generator);
    }
    for (let round = 0; round < rounds; round++) {
      for (const runner of inOrderOf(round, runners)) {
        const score = scores.find(({ contender }) => contender === runner.contender)!;
        score.rounds.push(await measure(runner, slice, generator));
        score.description = runner.processes[0]!.description;
      }
    }
  } finally {
    await track.stop([...new Set(runners.flatMap(({ processes }) => processes))]);
  }
}

function paceOf({ factors = {} }: Race, pace: Pace): Pace {
  return {
    heats: Math.max(1, Math.round(pace.heats * (factors.heats ?? 1))),
    rounds: Math.max(1, Math.round(pace.rounds * (factors.rounds ?? 1))),
    slice: pace.slice * (factors.slice ?? 1),
    warmUp: pace.warmUp * (factors.warmUp ?? 1),
  };
}

async function prepare(
  contender: Contender,
  shared: readonly ServerProcess[] | undefined,
  race: Race,
  track: RaceTrack,
  generator: GeneratorProcess,
): Promise<Runner> {
  const started: ServerProcess[] = [];
  try {
    const count = shared ? 0 : (contender.processes ?? 1);
    for (let index = 0; index < count; index++) started.push(await track.start(contender));
    const processes = shared ?? started;
    const id = `${race.title}: ${contender.name}`;
    const load = typeof contender.load === 'function' ? await contender.load(processes) : contender.load;
    await generator.prepare(id, load, processes);
    const isCounted = load.kind === 'requests' && load.count !== undefined;
    return { contender, id, processes, warmUps: isCounted ? COUNTED_WARM_UPS : 1 };
  } catch (error) {
    await track.stop(started);
    throw new Error(`${race.title}: ${contender.name} could not start.`, { cause: error });
  }
}

async function measure(runner: Runner, seconds: number, generator: GeneratorProcess): Promise<RoundFigures> {
  const samples: Sample[][] = [];
  const slice = await drive(runner, seconds, generator, async () => {
    samples.push(await Promise.all(runner.processes.map((process) => process.sample())));
  });
  if (slice.requests === 0) throw new Error(`${runner.id}: no request was answered.`);
  const [before, after] = samples;
  const cpu = sum(after!.map((sample) => sample.cpu)) - sum(before!.map((sample) => sample.cpu));
  return {
    throughput: slice.requests / slice.seconds,
    cpu: cpu / slice.requests,
    serverBusy: cpu / 1e6 / slice.seconds,
    generatorBusy: slice.busy,
    eventLoopDelay: Math.max(...after!.map((sample) => sample.eventLoopDelay.p99)),
  };
}

/** A slice; when it fails, the error has what the servers printed. */
async function drive(
  { id, processes }: Runner,
  seconds: number,
  generator: GeneratorProcess,
  atEdge?: () => Promise<void>,
): Promise<Slice> {
  try {
    return await generator.drive(id, seconds, atEdge);
  } catch (error) {
    // What a server prints takes its own way.
    await delay(200);
    const printed = processes.map(({ output }) => output).join('\n');
    throw new Error(`${id} failed.\n${printed}`, { cause: error });
  }
}

function toEntry({ contender, description, rounds }: Score, floor: Score): RaceEntry {
  const over = (figure: (own: RoundFigures, floor: RoundFigures) => number) =>
    spread(rounds.map((own, round) => figure(own, floor.rounds[round]!)));
  return {
    name: contender.name,
    remark: contender.remark,
    description,
    rounds,
    throughput: over((own) => own.throughput),
    cpu: over((own) => own.cpu),
    throughputRatio: over((own, base) => own.throughput / base.throughput),
    cpuRatio: over((own, base) => base.cpu / own.cpu),
    cpuAboveFloor: over((own, base) => own.cpu - base.cpu),
    eventLoopDelay: over((own) => own.eventLoopDelay),
    serverBusy: over((own) => own.serverBusy),
    generatorBusy: over((own) => own.generatorBusy),
  };
}

/** `A B C`, `A C B`, `C A B`, …: nobody is always first, or always after the same neighbour. */
function inOrderOf<T>(round: number, items: readonly T[]): T[] {
  const start = round % items.length;
  const order = [...items.slice(start), ...items.slice(0, start)];
  return round % 2 === 0 ? order : order.toReversed();
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
