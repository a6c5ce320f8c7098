import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { SessionError } from '../errors/session.errors.js';
import { challenge } from '../http/challenge.js';
import type { HttpRequest, HttpResponse } from '../http/exchange.js';
import type { SessionAuthenticator } from '../http/session-authenticator.js';
import { provideCookies } from './request-cookies.js';
import { attachedSession, attachSession } from './request-session.js';
import { OptionalSessionMetadata, SkipCsrfMetadata, SkipSessionMetadata } from './session.metadata.js';

/** Injection token of what the guard asks. */
export const SESSION_AUTHENTICATOR = Symbol('SESSION_AUTHENTICATOR');

/** What decorators say of a handler. */
interface RouteRules {
  readonly skip: boolean;
  readonly optional: boolean;
  readonly csrf: boolean;
}

/**
 * Lets requests with a session through, and attaches it to them: see {@link Session}. Works on a handler, on a controller,
 * and for the whole application as `APP_GUARD`.
 *
 * What it refuses it answers with a {@link SessionError}: 401 with `no_credentials`, `try_refresh`, `session_over` or
 * `token_theft`, 307 (browsers) or 401 (others) with `look_again`, 403 with `csrf_failed`, 503 when keys or database are
 * unavailable.
 */
@Injectable()
export class SessionGuard implements CanActivate {
  /** Decorators do not change while the application runs. A handler can be inherited, so it is the pair that counts. */
  private readonly rules = new WeakMap<object, WeakMap<object, RouteRules>>();

  constructor(
    @Inject(SESSION_AUTHENTICATOR) private readonly sessions: SessionAuthenticator,
    @Inject(Reflector) private readonly reflector: Reflector,
  ) {}

  /** A promise only where there is something to wait for: most requests are let through at once. */
  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const rules = this.rulesOf(context);
    if (rules.skip) return true;
    const { request, response } = this.getExchange(context);
    // As APP_GUARD and on a controller at once, it has already done its work.
    if (attachedSession(request)) return true;
    provideCookies(request);
    try {
      const session = this.sessions.authenticate(request, response, rules);
      if (session instanceof Promise) {
        return session.then(
          (settled) => attachSession(request, settled),
          (error: unknown) => this.judge(error, request, response, rules, context),
        );
      }
      return attachSession(request, session);
    } catch (error) {
      return this.judge(error, request, response, rules, context);
    }
  }

  /** Where the request and the response are found; for other transports than HTTP, override this. */
  protected getExchange(context: ExecutionContext): { request: HttpRequest; response: HttpResponse } {
    // What switchToHttp() gives, without the object that it makes each time.
    return { request: context.getArgByIndex(0), response: context.getArgByIndex(1) };
  }

  /** Answers a request that is not let through. */
  protected refuse(error: SessionError, _context: ExecutionContext): never {
    throw error;
  }

  private judge(
    error: unknown,
    request: HttpRequest,
    response: HttpResponse,
    { optional }: RouteRules,
    context: ExecutionContext,
  ): boolean {
    if (!(error instanceof SessionError)) throw error;
    if (optional && this.sessions.meansSignedOut(error)) return attachSession(request, undefined);
    challenge(response, error);
    return this.refuse(error, context);
  }

  private rulesOf(context: ExecutionContext): RouteRules {
    const [handler, type] = [context.getHandler(), context.getClass()];
    const known = this.rules.get(handler)?.get(type);
    if (known) return known;
    const read = (decorator: typeof SkipSessionMetadata) =>
      this.reflector.getAllAndOverride(decorator, [handler, type]) ?? false;
    const rules = {
      skip: read(SkipSessionMetadata),
      optional: read(OptionalSessionMetadata),
      csrf: !read(SkipCsrfMetadata),
    };
    const ofHandler = this.rules.get(handler) ?? new WeakMap<object, RouteRules>();
    this.rules.set(handler, ofHandler.set(type, rules));
    return rules;
  }
}
