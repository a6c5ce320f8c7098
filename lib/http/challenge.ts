import type { SessionError } from '../errors/session.errors.js';
import { areHeadersSent, type HttpResponse, setResponseHeader } from './messages.js';

/** How soon a client may try again that was refused because keys or database are unavailable, in seconds. */
const RETRY_AFTER = '1';

/**
 * Adds the headers that an answer of this status has to carry: 401 a challenge (RFC 9110, 15.5.2; RFC 6750, 3), without which
 * some clients (Java's with an `Authenticator`) fail, and 503 when to try again.
 */
export function challenge(response: HttpResponse, error: SessionError): void {
  if (areHeadersSent(response)) return;
  switch (error.getStatus()) {
    case 401:
      // Without an error code where no token came (RFC 6750, 3.1).
      setResponseHeader(
        response,
        'www-authenticate',
        error.code === 'no_credentials' ? 'Bearer' : 'Bearer error="invalid_token"',
      );
      break;
    case 503:
      setResponseHeader(response, 'retry-after', RETRY_AFTER);
      break;
  }
}
