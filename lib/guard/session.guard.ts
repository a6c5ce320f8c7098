import { type CanActivate, type ExecutionContext, Inject, Injectable, type Type } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { SessionError, TryRefreshError } from '../errors/session.errors.js';
import { challenge } from '../http/challenge.js';
import type { HttpResponse } from '../http/messages.js';
import { ForeignTokenError } from '../http/refusals.js';
import type { SessionAuthenticator } from '../http/session-authenticator.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';
import { attachSession, sessionBy } from './attached-session.js';
import { keepConnection } from './connection-of.js';
import { type Exchange, exchangeOf, NO_RESPONSE } from './exchange-of.js';
import { rememberRequest } from './guarded-request.js';
import { sessionAuthenticatorToken } from './injection-tokens.js';
import { provideCookies } from './request-cookies.js';
import { readRule } from './session.metadata.js';

/** The rules that decorators set for a handler. */
interface RouteRules {
  readonly skip: boolean;
  readonly optional: boolean;
  readonly csrf: boolean;
  readonly maxAge: number | undefined;
  readonly impersonated: boolean;
}

/** The guards of modules that have a name. */
const named = new Map<string, Type<SessionGuard>>();

/**
 * Accepts requests with a session, and attaches the session to the request: see {@link CurrentSession}. Works on a handler,
 * on a controller, and for the whole application as `APP_GUARD`. On a gateway it also checks the clients that connect, with
 * `handleConnection()` as the handler.
 *
 * It refuses other requests with a {@link SessionError}: 401 with `no_credentials`, `try_refresh`, `session_over`,
 * `token_theft` or `insufficient_user_authentication`, 307 (browsers) or 401 (others) with `look_again`, 403 with
 * `csrf_failed` or `impersonation_refused`, 503 when keys or database are unavailable.
 *
 * You can extend it, with or without your own constructor. Override {@link getExchange} and {@link refuse} as you need.
 *
 * @example
 * ```ts
 * @Injectable()
 * export class AdminGuard extends SessionGuard {
 *   constructor(
 *     @Inject(SESSION_AUTHENTICATOR) sessions: SessionAuthenticator,
 *     reflector: Reflector,
 *     private readonly users: UsersService,
 *   ) {
 *     super(sessions, reflector);
 *   }
 * }
 * ```
 */
@Injectable()
export class SessionGuard implements CanActivate {
  readonly #sessions: SessionAuthenticator;
  readonly #reflector: Reflector;
  /**
   * The rules by handler and controller class. They are read once, because decorators do not change while the application
   * runs. The class is part of the key, because a handler can be inherited.
   */
  readonly #rules = new WeakMap<object, WeakMap<object, RouteRules>>();
  readonly #hasOwnExchange: boolean;

  constructor(
    @Inject(sessionAuthenticatorToken()) sessions: SessionAuthenticator,
    @Inject(Reflector) reflector: Reflector,
  ) {
    this.#sessions = sessions;
    this.#reflector = reflector;
    this.#hasOwnExchange = this.getExchange !== SessionGuard.prototype.getExchange;
  }

  /**
   * The guard of one of several modules: `@UseGuards(SessionGuard.of('admin'))`. It accepts the sessions of that module
   * only.
   *
   * @param module the `name` that the module was given
   */
  static of(module: string): Type<SessionGuard> {
    const known = named.get(module);
    if (known) return known;
    @Injectable()
    class NamedSessionGuard extends SessionGuard {
      constructor(
        @Inject(sessionAuthenticatorToken(module)) sessions: SessionAuthenticator,
        @Inject(Reflector) reflector: Reflector,
      ) {
        super(sessions, reflector);
      }
    }
    named.set(module, NamedSessionGuard);
    return NamedSessionGuard;
  }

  /** @returns a promise only if something must be waited for. Most requests are accepted at once */
  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const rules = this.#rulesOf(context);
    if (rules.skip) return true;
    const exchange = this.getExchange(context);
    const { request, response } = exchange;
    const known = sessionBy(this.#sessions, request);
    // If the guard is both APP_GUARD and on a controller, the first call has already found the session.
    if (known && !isConnection(response, context)) return true;
    if (this.#hasOwnExchange) rememberRequest(context, request);
    provideCookies(request);
    try {
      // A connection lives longer than its access token. So each message is checked again, but by its session.
      const session = known
        ? this.#sessions.readmit(known, rules)
        : this.#sessions.authenticate(request, response, rules);
      if (session instanceof Promise) {
        return session.then(
          (settled) => this.#accept(settled, exchange, context),
          (error: unknown) => this.#letThroughOrRefuse(error, exchange, rules, context),
        );
      }
      return this.#accept(session, exchange, context);
    } catch (error) {
      return this.#letThroughOrRefuse(error, exchange, rules, context);
    }
  }

  /**
   * Finds the request and the response in a context. Override it for a context that the guard does not know. Decorators then
   * use the same request.
   *
   * @throws {@link UnsupportedContextError}
   */
  protected getExchange(context: ExecutionContext): Exchange {
    return exchangeOf(context);
  }

  /** Refuses a request by throwing the error. Override it to refuse in another way. */
  protected refuse(error: SessionError, _context: ExecutionContext): never {
    throw error;
  }

  #accept(session: AuthenticatedSession, { request, response }: Exchange, context: ExecutionContext): true {
    if (isConnection(response, context)) keepConnection(this.#sessions.connections, session, context);
    return attachSession(request, this.#sessions, session);
  }

  #letThroughOrRefuse(
    error: unknown,
    { request, response }: Exchange,
    { optional }: RouteRules,
    context: ExecutionContext,
  ): boolean {
    if (!(error instanceof SessionError)) throw error;
    const isNobody = optional && this.#sessions.isUnauthenticated(error) && !isOutdated(error, context);
    if (isNobody) return attachSession(request, this.#sessions, undefined);
    challenge(response, error);
    return this.refuse(error, context);
  }

  #rulesOf(context: ExecutionContext): RouteRules {
    const [handler, type] = [context.getHandler(), context.getClass()];
    const known = this.#rules.get(handler)?.get(type);
    if (known) return known;
    const read = (rule: Parameters<typeof readRule>[1]) =>
      readRule(this.#reflector, rule, this.#sessions.module, [handler, type]);
    const maxAge = read('maxAge');
    const rules = {
      skip: read('skip') === true,
      optional: read('optional') === true,
      csrf: read('skipCsrf') !== true,
      maxAge: typeof maxAge === 'number' ? maxAge : undefined,
      impersonated: read('noImpersonation') !== true,
    };
    const ofHandler = this.#rules.get(handler) ?? new WeakMap<object, RouteRules>();
    this.#rules.set(handler, ofHandler.set(type, rules));
    return rules;
  }
}

/**
 * Whether a client comes to a gateway with an access token that has expired. Over HTTP it would have been refreshed. If it were
 * nobody here, it would be nobody for as long as it is connected.
 */
function isOutdated(error: SessionError, context: ExecutionContext): boolean {
  const mayRefresh = error instanceof TryRefreshError && !(error instanceof ForeignTokenError);
  return mayRefresh && context.getType() === 'ws';
}

/** Whether a context is that of a connection, which goes on for other messages. */
function isConnection(response: HttpResponse, context: ExecutionContext): boolean {
  return response === NO_RESPONSE || context.getType() === 'ws';
}
