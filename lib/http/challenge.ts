import { InsufficientAuthenticationError, SessionError } from '../errors/session.errors.js';
import { areHeadersSent, type HttpResponse, setResponseHeader } from './messages.js';

/** After how many seconds a client may try again when keys or database are unavailable. */
const RETRY_AFTER = '1';

/**
 * Adds the headers that a response of this status must have. A 401 gets a challenge (RFC 9110, 15.5.2; RFC 6750, 3); some
 * clients, such as Java's with an `Authenticator`, fail without it. A 503 gets `Retry-After`.
 */
export function challenge(response: HttpResponse, error: SessionError): void {
  if (areHeadersSent(response)) return;
  switch (error.getStatus()) {
    case 401:
      setResponseHeader(response, 'www-authenticate', bearerChallenge(error));
      break;
    case 503:
      setResponseHeader(response, 'retry-after', RETRY_AFTER);
      break;
  }
}

/** Does what a ready-made route does. If that fails, its response gets the headers that it must have. */
export async function withChallenge<T>(response: HttpResponse, respond: () => Promise<T>): Promise<T> {
  try {
    return await respond();
  } catch (error) {
    if (error instanceof SessionError) challenge(response, error);
    throw error;
  }
}

/** Does what needs keys or database. If they are unavailable, the response says when to try again, whatever answers the error. */
export async function withRetryAfter<T>(response: HttpResponse, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof SessionError && error.getStatus() === 503) challenge(response, error);
    throw error;
  }
}

function bearerChallenge(error: SessionError): string {
  // If the request has no token, the challenge has no error code (RFC 6750, 3.1).
  if (error.code === 'no_credentials') return 'Bearer';
  // RFC 9470, 3.
  if (error instanceof InsufficientAuthenticationError) {
    return `Bearer error="insufficient_user_authentication", max_age=${error.maxAge}`;
  }
  return 'Bearer error="invalid_token"';
}
