import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { SessionHttpException } from '../errors/session-exception.filter.js';
import { SessionError } from '../errors/session.errors.js';
import type { HttpRequest, HttpResponse } from '../http/exchange.js';
import { SessionService } from '../session.service.js';
import { attachedSession, attachSession } from './request-session.js';
import { OptionalSessionMetadata, SkipCsrfMetadata, SkipSessionMetadata } from './session.metadata.js';

/**
 * Lets requests with a session through, and attaches it to them: see {@link Session}. Works on a handler, on a controller,
 * and for the whole application as `APP_GUARD`.
 *
 * What it refuses it answers with {@link SessionHttpException}: 401 with `no_credentials`, `try_refresh`, `session_over` or
 * `token_theft`, 403 with `csrf_failed`, 503 when keys or database are unavailable.
 */
@Injectable()
export class SessionGuard implements CanActivate {
  constructor(
    @Inject(SessionService) private readonly sessions: SessionService,
    @Inject(Reflector) private readonly reflector: Reflector,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (this.metadata(context, SkipSessionMetadata)) return true;
    const { request, response } = this.getExchange(context);
    // As APP_GUARD and on a controller at once, it has already done its work.
    if (attachedSession(request)) return true;
    try {
      const csrf = !this.metadata(context, SkipCsrfMetadata);
      attachSession(request, await this.sessions.authenticate(request, response, { csrf }));
    } catch (error) {
      if (!(error instanceof SessionError)) throw error;
      if (!this.sessions.meansSignedOut(error) || !this.metadata(context, OptionalSessionMetadata))
        this.refuse(error, context);
    }
    return true;
  }

  /** Where the request and the response are found; for other transports than HTTP, override this. */
  protected getExchange(context: ExecutionContext): { request: HttpRequest; response: HttpResponse } {
    const http = context.switchToHttp();
    return { request: http.getRequest(), response: http.getResponse() };
  }

  /** Answers a request that is not let through. */
  protected refuse(error: SessionError, _context: ExecutionContext): never {
    throw new SessionHttpException(error);
  }

  private metadata(context: ExecutionContext, decorator: typeof SkipSessionMetadata): boolean | undefined {
    return this.reflector.getAllAndOverride(decorator, [context.getHandler(), context.getClass()]);
  }
}
