import type { SessionAuthenticator } from '../http/session-authenticator.js';
import type { ActiveSession } from '../session/active-session.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';
import { graphqlExchange } from './exchange-of.js';
import { handshakeSeenByGuards } from './graphql-client.js';
import { requestOfClient } from './guarded-request.js';

/**
 * The property of a request in which guards store sessions. It is a symbol, so that it cannot clash with other properties
 * (`express-session` uses `req.session`). A WeakMap would be much slower: the session refers to the response, and the
 * response to the request, so requests would survive the garbage collector's fast collections of young objects.
 */
const ATTACHED = Symbol('nestjs-session-tokens.session');

interface GuardedRequest {
  [ATTACHED]?: Attached | undefined;
}

/** The result of one guard. The members are private, so that an inspected request does not show them. */
class Attached {
  readonly #authenticator: SessionAuthenticator;
  readonly #session: AuthenticatedSession | undefined;
  /** The results of guards that ran before. */
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

  /** What guards with other authenticators have found. */
  without(authenticator: SessionAuthenticator): Attached | undefined {
    if (this.#authenticator === authenticator) return this.#others;
    const others = this.#others?.without(authenticator);
    return others === this.#others ? this : new Attached(this.#authenticator, this.#session, others);
  }

  of(module: string): Attached | undefined {
    return this.#authenticator.module === module ? this : this.#others?.of(module);
  }
}

/**
 * Attaches the result of a guard to a request.
 *
 * @param session `undefined` for a request that is accepted without a session
 */
export function attachSession(
  request: object,
  authenticator: SessionAuthenticator,
  session: AuthenticatedSession | undefined,
): true {
  const guarded = request as GuardedRequest;
  // A connection is asked for its session with each message: only the last result counts.
  const others = guarded[ATTACHED]?.without(authenticator);
  guarded[ATTACHED] = new Attached(authenticator, session, others);
  return true;
}

/** The session that a guard with this authenticator has found. */
export function sessionBy(
  authenticator: SessionAuthenticator,
  request: object,
): AuthenticatedSession | undefined {
  return (request as GuardedRequest)[ATTACHED]?.by(authenticator)?.session;
}

/** Whether a guard has accepted a request. */
export function isGuarded(request: object): boolean {
  return ATTACHED in request;
}

/**
 * The result of a guard for a request: of the guard of one module, or of the guard that ran last.
 *
 * @returns `undefined` when no such guard has accepted the request
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
 * that only verifies tokens, it has only the members of {@link AuthenticatedSession}.
 *
 * @param request the request, the client of a WebSocket gateway, as `handleConnection()` gets it, or the context of a GraphQL
 *   resolver or of the `filter` of a subscription
 * @param module name of the module, if the application has several. @default the module whose guard ran last
 */
export function attachedSession(request: object, module?: string): ActiveSession | undefined {
  const guarded = isGuarded(request)
    ? request
    : (requestOfClient(request) ?? graphqlExchange(request)?.request ?? handshakeSeenByGuards(request));
  return attachmentOf(guarded, module)?.session as ActiveSession | undefined;
}
