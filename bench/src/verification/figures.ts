/** What one round measured, per operation, in microseconds. */
export interface Cost {
  /** User and system time of the process, its thread pool included. */
  readonly cpu: number;
  readonly elapsed: number;
}

/** What is done with a token; one cost per round each. */
export interface VerificationCosts {
  /** `jwtVerify` with an imported `CryptoKey`. */
  readonly jose: readonly Cost[];
  /** `SessionService.verify`, token never seen before. */
  readonly verify: readonly Cost[];
  /** The same, token seen before. */
  readonly verifyAgain: readonly Cost[];
  /** `SessionService.authenticate`, which the guard calls, token never seen before. */
  readonly authenticate: readonly Cost[];
  /** The same, token seen before. */
  readonly authenticateAgain: readonly Cost[];
}

/** What the process that measures is asked. */
export interface VerificationPlan {
  readonly rounds: number;
  /** First-seen tokens of each operation in a round. */
  readonly tokens: number;
  /** How often the tokens seen before are used in a round. */
  readonly repeats: number;
}
