import type { ModuleState } from './channels.js';

/** What a health check can ask of a session module. */
export interface Vitals {
  /** Tells what is known. It asks nobody. */
  state(): ModuleState;
  /** Runs one small statement on the table of sessions; `undefined` in a service without the database. */
  readonly ask: (() => Promise<unknown>) | undefined;
  /**
   * Reads the feed and the keys, if that is due. Otherwise only requests cause these reads, and what is wrong would stay wrong in a
   * process that gets none because it is not well. It never fails: the state tells whether it has helped.
   */
  freshen(): Promise<void>;
  /** For how long the feed may lag, in milliseconds, unless the application says something else. */
  readonly maxFeedLag: number;
}
