import type { SessionAuthenticator } from '../http/session-authenticator.js';
import type { ActiveSession } from '../session/active-session.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';

/**
 * Where guards leave sessions; a symbol, so that it gets in nobody's way (`express-session` has `req.session`). A WeakMap
 * would be slower by far: the session leads to the response and from there back to the request, so that each request would
 * outlive the garbage collector's quick rounds.
 */
const ATTACHED = Symbol('nestjs-session-tokens.session');

interface GuardedRequest {
  [ATTACHED]?: Attached | undefined;
}

/** What one guard found. The parts are private, so that an inspected request shows none of them. */
class Attached {
  readonly #authenticator: SessionAuthenticator;
  readonly #session: AuthenticatedSession | undefined;
  /** What guards of other modules have found before. */
  readonly #others: Attached | undefined;

  constructor(
    authenticator: SessionAuthenticator,
    session: AuthenticatedSession | undefined,
    others: Attached | undefined,
  ) {
    this.#authenticator = authenticator;
    this.#session = session;
    this.#others = others;
  }

  get session(): AuthenticatedSession | undefined {
    return this.#session;
  }

  by(authenticator: SessionAuthenticator): Attached | undefined {
    return this.#authenticator === authenticator ? this : this.#others?.by(authenticator);
  }

  of(module: string): Attached | undefined {
    return this.#authenticator.module === module ? this : this.#others?.of(module);
  }
}

/**
 * Leaves with a request what a guard found.
 *
 * @param session `undefined` for a request that is let through without one
 */
export function attachSession(
  request: object,
  authenticator: SessionAuthenticator,
  session: AuthenticatedSession | undefined,
): true {
  const guarded = request as GuardedRequest;
  guarded[ATTACHED] = new Attached(authenticator, session, guarded[ATTACHED]);
  return true;
}

/** Whether a guard that asks this authenticator has found a session. */
export function hasSessionOf(request: object, authenticator: SessionAuthenticator): boolean {
  return (request as GuardedRequest)[ATTACHED]?.by(authenticator)?.session !== undefined;
}

/** Whether a guard has let a request through. */
export function isGuarded(request: object): boolean {
  return ATTACHED in request;
}

/**
 * What a guard found for a request: of one module, or the last.
 *
 * @returns `undefined` when no such guard has let the request through
 */
export function attachmentOf(
  request: object,
  module?: string,
): { readonly session: AuthenticatedSession | undefined } | undefined {
  const attached = (request as GuardedRequest)[ATTACHED];
  return module === undefined ? attached : attached?.of(module);
}

/**
 * The session that the guard attached to a request, for code that has the request but no parameter decorator. In a service
 * that only verifies tokens it has the members of {@link AuthenticatedSession} alone.
 *
 * @param module where the application has several: the name of the one to ask. @default the one whose guard came last
 */
export function attachedSession(request: object, module?: string): ActiveSession | undefined {
  return attachmentOf(request, module)?.session as ActiveSession | undefined;
}
