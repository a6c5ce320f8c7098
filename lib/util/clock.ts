/** Tells the time, in epoch milliseconds. */
export interface Clock {
  now(): number;
}

/** The clock of this machine. */
export const SYSTEM_CLOCK: Clock = { now: () => Date.now() };
