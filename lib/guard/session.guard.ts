import { type CanActivate, type ExecutionContext, Inject, Injectable, type Type } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { SessionError, TryRefreshError } from '../errors/session.errors.js';
import { challenge } from '../http/challenge.js';
import type { HttpRequest, HttpResponse } from '../http/messages.js';
import { ForeignTokenError } from '../http/refusals.js';
import type { SessionAuthenticator } from '../http/session-authenticator.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';
import { attachSession, sessionBy } from './attached-session.js';
import { keepConnection } from './connection-of.js';
import { type Exchange, exchangeOf, NO_RESPONSE } from './exchange-of.js';
import { forGraphQL } from './graphql-error.js';
import { rememberRequest } from './guarded-request.js';
import { DEFAULT_MODULE, sessionAuthenticatorToken } from './injection-tokens.js';
import { provideCookies } from './request-cookies.js';
import { readRules, type RouteRules } from './session.metadata.js';
import { authenticateOnce } from './shared-authentication.js';

/** The guards of modules that have a name. */
const named = new Map<string, Type<SessionGuard>>();

/** The authenticator of a guard; `undefined` for any other object, and for a guard that Nest makes for each request. */
export let authenticatorOf: (guard: object) => SessionAuthenticator | undefined;

/** The name of the module whose sessions the guards of a class accept; `undefined` for any other class. */
export function moduleOfGuard(type: Type): string | undefined {
  for (let each: unknown = type; typeof each === 'function'; each = Object.getPrototypeOf(each)) {
    if (each === SessionGuard) return DEFAULT_MODULE;
    for (const [module, guard] of named) if (guard === each) return module;
  }
  return undefined;
}

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

  static {
    authenticatorOf = (guard) => (#sessions in guard ? guard.#sessions : undefined);
  }

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
    const type = context.getType<string>();
    const isPlain = type === 'http' && response !== NO_RESPONSE;
    const isShared = type === 'graphql' && response !== NO_RESPONSE;
    // If the guard is both APP_GUARD and on a controller, the first call has already found the session.
    if (known && isPlain) return true;
    if (this.#hasOwnExchange) rememberRequest(context, request);
    provideCookies(request);
    try {
      const session = isShared
        ? authenticateOnce(this.#sessions, exchange, rules)
        : known
          ? this.#readmit(known, request, rules)
          : this.#sessions.authenticate(request, response, rules);
      if (session instanceof Promise) {
        return session.then(
          (settled) => this.#accept(settled, exchange, context),
          (error: unknown) => this.#letThroughOrRefuse(error, exchange, rules, context),
        );
      }
      // Nearly all requests come here.
      if (isPlain) return attachSession(request, this.#sessions, session);
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

  /** A connection lives longer than its access token. So each message is checked again, but by its session. */
  #readmit(session: AuthenticatedSession, request: HttpRequest, rules: RouteRules) {
    this.#sessions.recheck(session, request, rules);
    return this.#sessions.readmit(session, rules);
  }

  #accept(session: AuthenticatedSession, { request, response }: Exchange, context: ExecutionContext): true {
    if (isConnection(response, context)) keepConnection(this.#sessions.connections, session, context);
    return session === sessionBy(this.#sessions, request) || attachSession(request, this.#sessions, session);
  }

  #letThroughOrRefuse(
    error: unknown,
    { request, response }: Exchange,
    { optional }: RouteRules,
    context: ExecutionContext,
  ): boolean {
    if (!(error instanceof SessionError)) throw error;
    const isNobody =
      optional && this.#sessions.isUnauthenticated(error) && !isOutdated(error, response, context);
    if (isNobody) return attachSession(request, this.#sessions, undefined);
    challenge(response, error);
    const isGraphQL = context.getType<string>() === 'graphql';
    return this.refuse(isGraphQL ? forGraphQL(error, response) : error, context);
  }

  #rulesOf(context: ExecutionContext): RouteRules {
    const [handler, type] = [context.getHandler(), context.getClass()];
    const known = this.#rules.get(handler)?.get(type);
    if (known) return known;
    const rules = readRules(this.#reflector, this.#sessions.module, [handler, type]);
    const ofHandler = this.#rules.get(handler) ?? new WeakMap<object, RouteRules>();
    this.#rules.set(handler, ofHandler.set(type, rules));
    return rules;
  }
}

/**
 * Whether a client comes to a gateway with an access token that has expired. Over HTTP it would have been refreshed. If it were
 * nobody here, it would be nobody for as long as it is connected.
 */
function isOutdated(error: SessionError, response: HttpResponse, context: ExecutionContext): boolean {
  const mayRefresh = error instanceof TryRefreshError && !(error instanceof ForeignTokenError);
  return mayRefresh && isConnection(response, context);
}

/** Whether a context is that of a connection, which goes on for other messages. */
function isConnection(response: HttpResponse, context: ExecutionContext): boolean {
  return response === NO_RESPONSE || context.getType() === 'ws';
}
