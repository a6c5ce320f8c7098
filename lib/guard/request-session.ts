import type { ActiveSession } from '../session/active-session.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';

/**
 * Where the guard leaves the session; a symbol, so that it gets in nobody's way (`express-session` has `req.session`). A
 * WeakMap would be slower by far: the session leads to the response and from there back to the request, so that each
 * request would outlive the garbage collector's quick rounds.
 */
const SESSION = Symbol('nestjs-session-tokens.session');

interface GuardedRequest {
  [SESSION]?: AuthenticatedSession | undefined;
}

/**
 * The session that the guard attached to a request, for code that has the request but no parameter decorator. In a service
 * that only verifies tokens it has the members of {@link AuthenticatedSession} alone.
 */
export function attachedSession(request: object): ActiveSession | undefined {
  return (request as GuardedRequest)[SESSION] as ActiveSession | undefined;
}

/** @param session `undefined` for a request that is let through without one */
export function attachSession(request: object, session: AuthenticatedSession | undefined): true {
  (request as GuardedRequest)[SESSION] = session;
  return true;
}

/** Whether the guard has let a request through. */
export function isGuarded(request: object): boolean {
  return SESSION in request;
}
