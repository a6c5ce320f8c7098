import { CsrfError } from '../errors/session.errors.js';
import type { AuthenticateOptions, SessionAuthenticator } from '../http/session-authenticator.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';
import { andThen } from '../util/and-then.js';
import type { Exchange } from './exchange-of.js';

type Outcome = AuthenticatedSession | Promise<AuthenticatedSession>;

/** The property of a request with the outcomes for it. See `attached-session.ts` for why it is no WeakMap. */
const SHARED = Symbol('nestjs-session-tokens.shared');

interface SharedRequest {
  [SHARED]?: SharedOutcomes;
}

/** The outcomes for one request. They are private, so that an inspected request does not show them. */
class SharedOutcomes {
  readonly #byAuthenticator = new Map<SessionAuthenticator, SharedOutcome>();

  of(sessions: SessionAuthenticator, exchange: Exchange): SharedOutcome {
    const known = this.#byAuthenticator.get(sessions);
    if (known) return known;
    const made = new SharedOutcome(sessions, exchange);
    this.#byAuthenticator.set(sessions, made);
    return made;
  }
}

/** Whether a request has a session, found once: with the CSRF check, and without it for handlers that do not want it. */
class SharedOutcome {
  private checked: Outcome | undefined;
  private unchecked: Outcome | undefined;

  constructor(
    private readonly sessions: SessionAuthenticator,
    private readonly exchange: Exchange,
  ) {}

  withCheck(): Outcome {
    const { sessions, exchange, unchecked } = this;
    return (this.checked ??=
      unchecked === undefined
        ? this.find(true)
        : settle(() =>
            andThen(unchecked, (session) => {
              sessions.recheck(session, exchange.request);
              return session;
            }),
          ));
  }

  withoutCheck(): Outcome {
    const { checked } = this;
    return (this.unchecked ??=
      checked instanceof Promise
        ? checked.catch((error: unknown) => {
            if (error instanceof CsrfError) return this.find(false);
            throw error;
          })
        : (checked ?? this.find(false)));
  }

  private find(csrf: boolean): Outcome {
    return settle(() => this.sessions.authenticate(this.exchange.request, this.exchange.response, { csrf }));
  }
}

/**
 * The session of a request whose handlers run at the same time: the resolvers of GraphQL. However many there are, the request
 * is authenticated once, so it is refreshed once, told to look again once, and a theft is told once. The options of each
 * handler are applied to what was found.
 */
export function authenticateOnce(
  sessions: SessionAuthenticator,
  exchange: Exchange,
  options: AuthenticateOptions,
): Outcome {
  const { request } = exchange;
  // A handler that must not exchange a refresh token does not have another one do it.
  if (options.refresh === false) return sessions.authenticate(request, exchange.response, options);
  const shared = ((request as SharedRequest)[SHARED] ??= new SharedOutcomes()).of(sessions, exchange);
  const outcome = options.csrf === false ? shared.withoutCheck() : shared.withCheck();
  return andThen(outcome, (session) => {
    sessions.recheck(session, request, options);
    return session;
  });
}

/** Has what is thrown reject, so that it can be kept and given again. */
function settle(call: () => Outcome): Outcome {
  try {
    return call();
  } catch (error) {
    return Promise.reject(error);
  }
}
