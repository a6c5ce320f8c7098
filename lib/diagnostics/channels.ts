import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';

/*
 * What tools that watch the process can subscribe to, beside the events of sessions. Where nobody has subscribed, each
 * operation and each statement costs one look at a flag.
 */

const OPERATION_CHANNEL = 'nestjs-session-tokens:operation';
const STATEMENT_CHANNEL = 'nestjs-session-tokens:statement';
const STATE_CHANNEL = 'nestjs-session-tokens:state';

/** Its messages are {@link Operation}s that are about to begin. */
export const operations = channel(OPERATION_CHANNEL);

/** Its messages are {@link StatementRun}s that have ended. */
export const statements = channel(STATEMENT_CHANNEL);

/** The exchange of a refresh token, or the proof of a generation by an access token. */
export interface Operation<T = unknown> {
  readonly name: 'refresh' | 'prove';
  /** The name of the session module. */
  readonly module: string;
  /**
   * Does it. A subscriber may put another function in its place that calls it, to have it run in a context of its own. With
   * Node's `TracingChannel` that is impossible for a context that others manage.
   */
  run: () => Promise<T>;
  /** One word for the result of `run`. */
  readonly resultOf: (result: T) => string;
}

/** Tells the subscribers of an operation, and does it. Call it only if there are any. */
export async function operate<T>(operation: Operation<T>): Promise<T> {
  operations.publish(operation);
  return operation.run();
}

/** A statement that has been run. */
export interface StatementRun {
  /** Its name in the code, such as `redeem`. */
  readonly statement: string;
  readonly module: string;
  /** In milliseconds. */
  readonly duration: number;
  readonly hasFailed: boolean;
}

/** Runs a statement, and tells the subscribers how long it took. Call it only if there are any. */
export async function timeStatement<T>(
  names: Pick<StatementRun, 'statement' | 'module'>,
  run: () => Promise<T>,
): Promise<T> {
  const start = performance.now();
  let hasFailed = true;
  try {
    const result = await run();
    hasFailed = false;
    return result;
  } finally {
    statements.publish({ ...names, duration: performance.now() - start, hasFailed } satisfies StatementRun);
  }
}

/** How many tries have succeeded and failed since the start. */
export interface ReadCounts {
  readonly succeeded: number;
  readonly failed: number;
}

/** What a session module can tell of itself at any time. */
export interface ModuleState {
  /** The name of the module. */
  readonly module: string;
  /** Verifications of access tokens since the start. */
  readonly verifications: {
    readonly valid: number;
    readonly expired: number;
    readonly invalid: number;
    /** How many of them needed no cryptography. */
    readonly cached: number;
  };
  /** `undefined` if the module reads no feed. */
  readonly feed: FeedState | undefined;
  readonly keys: readonly KeyState[];
}

/** The reads of the feed of revocations. */
export interface FeedState {
  readonly reads: ReadCounts;
  /** For how long no read has succeeded although one was tried, in milliseconds. 0 if the last one has succeeded. */
  readonly lag: number;
}

/** Keys of one purpose. */
export interface KeyState {
  /** `public` for the keys that a service without the database fetches. */
  readonly purpose: 'access' | 'refresh' | 'public';
  readonly reads: ReadCounts;
  /** For how long the present key has been signing, in milliseconds. `undefined` if that is not known. */
  readonly age: number | undefined;
  /** For how long the next key should have been there, in milliseconds. 0 if none is due, or if that is not known. */
  readonly overdue: number;
  /** How many keys are known. */
  readonly known: number;
}

/**
 * Has a module answer whoever asks for its state.
 *
 * @param read must neither wait for anything nor throw
 * @returns ends this
 */
export function answerForState(read: () => ModuleState): () => void {
  const answer = (report: unknown) => (report as (state: ModuleState) => void)(read());
  subscribe(STATE_CHANNEL, answer);
  return () => void unsubscribe(STATE_CHANNEL, answer);
}

/** The state of each session module that runs in this process. */
export function moduleStates(): ModuleState[] {
  const states: ModuleState[] = [];
  channel(STATE_CHANNEL).publish((state: ModuleState) => void states.push(state));
  return states;
}
