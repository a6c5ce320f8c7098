import type { AuthenticatedSession } from '../session/authenticated-session.js';
import type { ActiveSession } from '../session/active-session.js';

/** Where the guard leaves the session; a symbol, so that it gets in nobody's way (`express-session` has `req.session`). */
const SESSION = Symbol('nestjs-session-tokens.session');

/**
 * The session that the guard attached to a request, for code that has the request but no parameter decorator. In a service
 * that only verifies tokens it has the members of {@link AuthenticatedSession} alone.
 */
export function attachedSession(request: object): ActiveSession | undefined {
  return (request as { [SESSION]?: ActiveSession })[SESSION];
}

export function attachSession(request: object, session: AuthenticatedSession): true {
  (request as { [SESSION]?: AuthenticatedSession })[SESSION] = session;
  return true;
}
