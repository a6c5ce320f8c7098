/** What the runner asks a server process, over the channel between them. */
export type Request =
  | { readonly type: 'sample' }
  | { readonly type: 'gc' }
  | { readonly type: 'profile'; readonly action: 'start' | 'stop' }
  | { readonly type: 'call'; readonly name: string; readonly argument: unknown }
  | { readonly type: 'stop' };

/** What a server process answers: one answer to each request, in their order, and `ready` before all. */
export type Answer =
  | Ready
  | { readonly type: 'answer'; readonly value: unknown }
  | { readonly type: 'failed'; readonly message: string };

/** The server accepts connections. */
export interface Ready {
  readonly type: 'ready';
  readonly port: number;
  /** From the start of the process, in milliseconds. */
  readonly startMs: number;
  /** {@link Server.description} */
  readonly description: string | undefined;
}

/** What a server process has used. */
export interface Sample {
  /** User and system time of the process since it started, in microseconds. */
  readonly cpu: number;
  /** In bytes. */
  readonly heapUsed: number;
  /** In bytes. */
  readonly rss: number;
  /** How much later than due timers ran since the last sample, in milliseconds. */
  readonly eventLoopDelay: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Statements sent to the database since the process started, where the server counts them. */
  readonly queries: number | undefined;
}
