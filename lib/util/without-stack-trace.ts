/**
 * Makes an error without a stack trace, for errors that answer a request and are no fault of the program. Their stack trace
 * helps nobody, and recording it costs as much as all other work of refusing a forged token.
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
