import { LookAgainError, type SessionError } from '../errors/session.errors.js';
import { areHeadersSent, type HttpResponse, removeResponseHeader } from '../http/messages.js';
import { withoutStackTrace } from '../util/without-stack-trace.js';

/**
 * The error for the client of a GraphQL operation. Nobody is redirected: the other resolvers of the operation run, and the client
 * that follows would run them twice. So it gets the code `look_again` and repeats the operation itself.
 */
export function forGraphQL(error: SessionError, response: HttpResponse): SessionError {
  if (!(error instanceof LookAgainError) || error.location === undefined) return hideDetails(error);
  if (!areHeadersSent(response)) removeResponseHeader(response, 'location');
  return withoutStackTrace(() => new LookAgainError(error.stale));
}

/** GraphQL servers answer the error's own message. What is for logs only must not be in it; `cause` has it. */
function hideDetails(error: SessionError): SessionError {
  error.message = error.getResponse().message;
  return error;
}
