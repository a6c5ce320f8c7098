import { type ArgumentsHost, Catch, HttpException, HttpStatus } from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';
import { LookAgainError, SessionError, type SessionErrorCode } from '../errors/session.errors.js';

const STATUS: Record<SessionErrorCode, number> = {
  no_credentials: 401,
  try_refresh: 401,
  session_over: 401,
  token_theft: 401,
  look_again: 401,
  csrf_failed: 403,
  session_not_found: 404,
  signing_key_not_found: 404,
  invalid_user_id: 400,
  invalid_claims: 400,
  invalid_data: 400,
  invalid_option: 500,
  keys_unavailable: 503,
  storage_unavailable: 503,
};

/** A {@link SessionError} as an HTTP answer: its body is `{ statusCode, code, message }`, its `cause` the session error. */
export class SessionHttpException extends HttpException {
  /** The {@link SessionErrorCode} of the error behind this answer. */
  readonly code: SessionErrorCode;

  constructor(error: SessionError) {
    const isRedirect = error instanceof LookAgainError && error.location !== undefined;
    const statusCode = isRedirect ? HttpStatus.TEMPORARY_REDIRECT : STATUS[error.code];
    super({ statusCode, code: error.code, message: error.message }, statusCode, { cause: error });
    this.code = error.code;
  }
}

/**
 * Answers session errors that leave a handler (a guard throws {@link SessionHttpException} itself). The module
 * registers it for the whole application, so that an application that forgets to catch one does not answer 500.
 */
@Catch(SessionError)
export class SessionExceptionFilter extends BaseExceptionFilter {
  override catch(error: SessionError, host: ArgumentsHost): void {
    // Other transports have exceptions of their own; their filters see the session error as it is.
    if (host.getType() !== 'http') throw error;
    super.catch(new SessionHttpException(error), host);
  }
}
