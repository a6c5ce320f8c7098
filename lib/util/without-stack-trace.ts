/**
 * Makes an error that is an answer to a request and no fault of the program. Where it was made helps nobody, and recording
 * that would cost as much as refusing a forged token costs otherwise.
 */
export function withoutStackTrace<E extends Error>(make: () => E): E {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return make();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}
