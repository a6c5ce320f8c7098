import { HttpException, type HttpExceptionOptions, HttpStatus } from '@nestjs/common';
import type { UserId } from '../types/register.js';

/**
 * Every code that a {@link SessionError} can carry. Codes are stable: clients and applications may branch on them.
 *
 * | code | class | HTTP status |
 * | --- | --- | --- |
 * | `no_credentials` | {@link NoCredentialsError} | 401 |
 * | `try_refresh` | {@link TryRefreshError} | 401 |
 * | `session_over` | {@link SessionOverError} | 401 |
 * | `token_theft` | {@link TokenTheftError} | 401 |
 * | `look_again` | {@link LookAgainError} | 307 for browsers, 401 for others |
 * | `csrf_failed` | {@link CsrfError} | 403 |
 * | `session_not_found` | {@link SessionNotFoundError} | 404 |
 * | `signing_key_not_found` | {@link SigningKeyNotFoundError} | 404 |
 * | `invalid_user_id` | {@link InvalidUserIdError} | 400 |
 * | `invalid_claims` | {@link InvalidClaimsError} | 400 |
 * | `invalid_data` | {@link InvalidDataError} | 400 |
 * | `unguarded_route` | {@link UnguardedRouteError} | 500 |
 * | `unsupported_context` | {@link UnsupportedContextError} | 500 |
 * | `invalid_option` | {@link InvalidOptionError} | 500 (stops the start) |
 * | `keys_unavailable` | {@link KeysUnavailableError} | 503 |
 * | `storage_unavailable` | {@link StorageUnavailableError} | 503 |
 */
export type SessionErrorCode =
  | 'no_credentials'
  | 'try_refresh'
  | 'session_over'
  | 'token_theft'
  | 'look_again'
  | 'csrf_failed'
  | 'session_not_found'
  | 'signing_key_not_found'
  | 'invalid_user_id'
  | 'invalid_claims'
  | 'invalid_data'
  | 'unguarded_route'
  | 'unsupported_context'
  | 'invalid_option'
  | 'keys_unavailable'
  | 'storage_unavailable';

const STATUS: Readonly<Record<SessionErrorCode, HttpStatus>> = {
  no_credentials: HttpStatus.UNAUTHORIZED,
  try_refresh: HttpStatus.UNAUTHORIZED,
  session_over: HttpStatus.UNAUTHORIZED,
  token_theft: HttpStatus.UNAUTHORIZED,
  look_again: HttpStatus.UNAUTHORIZED,
  csrf_failed: HttpStatus.FORBIDDEN,
  session_not_found: HttpStatus.NOT_FOUND,
  signing_key_not_found: HttpStatus.NOT_FOUND,
  invalid_user_id: HttpStatus.BAD_REQUEST,
  invalid_claims: HttpStatus.BAD_REQUEST,
  invalid_data: HttpStatus.BAD_REQUEST,
  unguarded_route: HttpStatus.INTERNAL_SERVER_ERROR,
  unsupported_context: HttpStatus.INTERNAL_SERVER_ERROR,
  invalid_option: HttpStatus.INTERNAL_SERVER_ERROR,
  keys_unavailable: HttpStatus.SERVICE_UNAVAILABLE,
  storage_unavailable: HttpStatus.SERVICE_UNAVAILABLE,
};

/** What {@link SessionError} can be told beside its message. */
interface SessionErrorOptions extends HttpExceptionOptions {
  /** Further members of the body. */
  readonly details?: object;
  /** @default what belongs to the code */
  readonly status?: HttpStatus;
}

/**
 * The base of every error that this package throws. It is one of Nest's HTTP exceptions, so that every exception filter
 * answers it with its own status, wherever it was thrown. The body is `{ statusCode, code, message }`; of `session_over` also `reason`. Messages never contain
 * a token, a cookie or a secret.
 */
export abstract class SessionError<TCode extends SessionErrorCode = SessionErrorCode> extends HttpException {
  constructor(
    /** A stable, machine-readable name of what went wrong. */
    readonly code: TCode,
    message: string,
    { status = STATUS[code], details, ...options }: SessionErrorOptions = {},
  ) {
    super({ statusCode: status, code, message, ...details }, status, options);
    // HttpException has its message only now; a stack trace begins with it.
    Error.captureStackTrace(this, new.target);
  }
}

/** The request carries no session at all: nobody is signed in. */
export class NoCredentialsError extends SessionError<'no_credentials'> {
  constructor() {
    super('no_credentials', 'The request carries no session. Sign in first.');
  }
}

/** The access token has expired or is not one of ours: exchange the refresh token, then send the request again. */
export class TryRefreshError extends SessionError<'try_refresh'> {
  constructor(
    message = 'The access token is no longer good. Refresh the session and send the request again.',
  ) {
    super('try_refresh', message);
  }
}

/**
 * Why a session ended: the application revoked it (or its user signed out), nobody refreshed it in time, the same client has
 * signed in anew, or two parties held copies of its tokens.
 */
export type SessionEndReason = 'revoked' | 'expired' | 'replaced' | 'theft';

/** The session has ended: it was revoked, has expired, or its refresh token is not one that this server can accept. */
export class SessionOverError extends SessionError<'session_over'> {
  /** When the session ended, in epoch milliseconds, where that is known. */
  readonly endedAt: number | undefined;
  /** Why it ended, where that is known; the body has it, too. */
  readonly reason: SessionEndReason | undefined;
  /**
   * Whether it is certain that these credentials can never work again. It is not while a look-up of an unknown
   * refresh key is being held back; the client's cookies are then left alone.
   */
  readonly final: boolean;

  constructor({
    endedAt,
    reason,
    final = true,
  }: { endedAt?: number; reason?: SessionEndReason; final?: boolean } = {}) {
    const details = reason === undefined ? {} : { reason };
    super('session_over', 'The session is over. Sign in again.', { details });
    this.endedAt = endedAt;
    this.reason = reason;
    this.final = final;
  }
}

/** A refresh token that looked old, with what tells a thief's from that of a client that misbehaves. */
export interface StaleRefreshToken {
  readonly sessionId: string;
  /** Whose session it is; `undefined` where the database has no row of it any more. */
  readonly userId: UserId | undefined;
  /** Names the token; no secret. The same in the event `stale` and in the `theft` that may follow. */
  readonly tokenId: string;
  /**
   * - `sibling`: of the row's generation, of which another token has been exchanged. Two parties hold copies of one token, or
   *   a client has put an older response over a newer one.
   * - `superseded`: the client has moved on to a later generation. A copy from before, or a request that was made long ago.
   * - `session_over`: the session was revoked, or has expired.
   */
  readonly kind: 'sibling' | 'superseded' | 'session_over';
  /** How many generations the row is ahead; 0 for a sibling. */
  readonly behind: number;
  /** How long ago the token was issued, in milliseconds. */
  readonly age: number;
}

/**
 * A refresh token looks old, or its session is over. That proves nothing yet: the request may be older than what the client
 * holds now. Nothing has been revoked or cleared. Over HTTP, a browser is sent to the same URL again (307) with the cookies
 * that it has now; any other client gets 401 and has to do the same. Without HTTP, read the stored tokens again, and repeat
 * the call with {@link LookAgainError.tokenId}: `sessions.refresh(token, { lookedAgain: error.tokenId })`.
 */
export class LookAgainError extends SessionError<'look_again'> {
  /** Names the token that looks old. */
  readonly tokenId: string;

  constructor(
    readonly stale: StaleRefreshToken,
    /** Over HTTP, where a browser is sent: the same URL, as a relative reference. */
    readonly location?: string,
  ) {
    super(
      'look_again',
      'The session may have moved on since this request was made. Repeat it with the tokens that are stored now.',
      location === undefined ? {} : { status: HttpStatus.TEMPORARY_REDIRECT },
    );
    this.tokenId = stale.tokenId;
  }
}

/**
 * A refresh token was used that its rightful client has moved on from, and the client has nothing newer: two parties hold
 * copies of this session's tokens. The session has been revoked before this is thrown.
 */
export class TokenTheftError extends SessionError<'token_theft'> {
  /** The session that was revoked. */
  readonly sessionId: string;

  constructor(
    /** The user whose session it was. */
    readonly userId: UserId,
    /** The token that was used. */
    readonly stale: StaleRefreshToken,
  ) {
    super(
      'token_theft',
      'A refresh token of this session was used twice by different parties. The session has been revoked.',
    );
    this.sessionId = stale.sessionId;
  }
}

/** The request may have been forged by another site. */
export class CsrfError extends SessionError<'csrf_failed'> {
  constructor(message: string, options?: ErrorOptions) {
    super('csrf_failed', message, options);
  }
}

/** There is no live session with this id. */
export class SessionNotFoundError extends SessionError<'session_not_found'> {
  constructor(readonly sessionId: string) {
    super('session_not_found', 'There is no live session with this id.');
  }
}

/** There is no signing key with this `kid`: it was never there, or has been dropped or removed already. */
export class SigningKeyNotFoundError extends SessionError<'signing_key_not_found'> {
  constructor(readonly kid: string) {
    super('signing_key_not_found', 'There is no signing key with this "kid".');
  }
}

/** A user id is neither a non-empty string nor a safe integer, or is too long. */
export class InvalidUserIdError extends SessionError<'invalid_user_id'> {
  constructor(message: string, options?: ErrorOptions) {
    super('invalid_user_id', message, options);
  }
}

/** Claims are not JSON, use a reserved name, or make the access token too large for a cookie. */
export class InvalidClaimsError extends SessionError<'invalid_claims'> {
  constructor(message: string, options?: ErrorOptions) {
    super('invalid_claims', message, options);
  }
}

/** Session data is not JSON, or too large to be stored. */
export class InvalidDataError extends SessionError<'invalid_data'> {
  constructor(message: string, options?: ErrorOptions) {
    super('invalid_data', message, options);
  }
}

/** A handler asks for the session of a request that no guard has let through. */
export class UnguardedRouteError extends SessionError<'unguarded_route'> {
  /** @param module the name of the module whose session was asked for */
  constructor(module?: string) {
    const guard =
      module === undefined || module === 'default' ? 'SessionGuard' : `SessionGuard.of('${module}')`;
    super(
      'unguarded_route',
      `A handler asks for the session, but no guard has looked for one. Put @UseGuards(${guard}) on the handler or its controller, and no @SkipSession().`,
    );
  }
}

/** The guard or a decorator does not know where the request is in this kind of context. */
export class UnsupportedContextError extends SessionError<'unsupported_context'> {
  constructor(message: string) {
    super('unsupported_context', message);
  }
}

/** An option of the module is wrong. Thrown at start. */
export class InvalidOptionError extends SessionError<'invalid_option'> {
  constructor(
    /** The option's path, such as `cookies.sameSite`. */
    readonly option: string,
    message: string,
  ) {
    super('invalid_option', `SessionModule option "${option}": ${message}`);
  }
}

/** The key material that is needed to sign, verify or decrypt cannot be had. */
export class KeysUnavailableError extends SessionError<'keys_unavailable'> {
  constructor(message: string, options?: ErrorOptions) {
    super('keys_unavailable', message, options);
  }
}

/** The database did not do what was asked of it; `cause` holds its error. Says nothing about whether a session is valid. */
export class StorageUnavailableError extends SessionError<'storage_unavailable'> {
  constructor(message: string, options?: ErrorOptions) {
    super('storage_unavailable', message, options);
  }
}

/** Every error that this package throws, told apart by `code`. */
export type AnySessionError =
  | NoCredentialsError
  | TryRefreshError
  | SessionOverError
  | LookAgainError
  | TokenTheftError
  | CsrfError
  | SessionNotFoundError
  | SigningKeyNotFoundError
  | InvalidUserIdError
  | InvalidClaimsError
  | InvalidDataError
  | UnguardedRouteError
  | UnsupportedContextError
  | InvalidOptionError
  | KeysUnavailableError
  | StorageUnavailableError;
