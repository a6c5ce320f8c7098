import { HttpException, type HttpExceptionOptions, HttpStatus } from '@nestjs/common';
import type { Device } from '../types/device.js';
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
 * | `insufficient_user_authentication` | {@link InsufficientAuthenticationError} | 401 |
 * | `look_again` | {@link LookAgainError} | 307 for browsers, 401 for others |
 * | `csrf_failed` | {@link CsrfError} | 403 |
 * | `impersonation_refused` | {@link ImpersonationRefusedError} | 403 |
 * | `session_not_found` | {@link SessionNotFoundError} | 404 |
 * | `signing_key_not_found` | {@link SigningKeyNotFoundError} | 404 |
 * | `invalid_user_id` | {@link InvalidUserIdError} | 400 |
 * | `invalid_claims` | {@link InvalidClaimsError} | 400 |
 * | `invalid_data` | {@link InvalidDataError} | 400 |
 * | `invalid_input` | {@link InvalidInputError} | 400 |
 * | `too_many_sessions` | {@link TooManySessionsError} | 409 |
 * | `invalid_reason` | {@link InvalidReasonError} | 400 |
 * | `headers_sent` | {@link HeadersSentError} | 500 |
 * | `unguarded_route` | {@link UnguardedRouteError} | 500 |
 * | `unsupported_context` | {@link UnsupportedContextError} | 500 |
 * | `invalid_option` | {@link InvalidOptionError} | 500 (stops the start) |
 * | `keys_unavailable` | {@link KeysUnavailableError} | 503 |
 * | `revocations_unavailable` | {@link RevocationsUnavailableError} | 503 |
 * | `storage_unavailable` | {@link StorageUnavailableError} | 503 |
 */
export type SessionErrorCode =
  | 'no_credentials'
  | 'try_refresh'
  | 'session_over'
  | 'token_theft'
  | 'insufficient_user_authentication'
  | 'look_again'
  | 'csrf_failed'
  | 'impersonation_refused'
  | 'session_not_found'
  | 'signing_key_not_found'
  | 'invalid_user_id'
  | 'invalid_claims'
  | 'invalid_data'
  | 'invalid_input'
  | 'too_many_sessions'
  | 'invalid_reason'
  | 'headers_sent'
  | 'unguarded_route'
  | 'unsupported_context'
  | 'invalid_option'
  | 'keys_unavailable'
  | 'revocations_unavailable'
  | 'storage_unavailable';

/** The HTTP status of each code. */
export const STATUS: Readonly<Record<SessionErrorCode, HttpStatus>> = {
  no_credentials: HttpStatus.UNAUTHORIZED,
  try_refresh: HttpStatus.UNAUTHORIZED,
  session_over: HttpStatus.UNAUTHORIZED,
  token_theft: HttpStatus.UNAUTHORIZED,
  insufficient_user_authentication: HttpStatus.UNAUTHORIZED,
  look_again: HttpStatus.UNAUTHORIZED,
  csrf_failed: HttpStatus.FORBIDDEN,
  impersonation_refused: HttpStatus.FORBIDDEN,
  session_not_found: HttpStatus.NOT_FOUND,
  signing_key_not_found: HttpStatus.NOT_FOUND,
  invalid_user_id: HttpStatus.BAD_REQUEST,
  invalid_claims: HttpStatus.BAD_REQUEST,
  invalid_data: HttpStatus.BAD_REQUEST,
  invalid_input: HttpStatus.BAD_REQUEST,
  too_many_sessions: HttpStatus.CONFLICT,
  invalid_reason: HttpStatus.BAD_REQUEST,
  headers_sent: HttpStatus.INTERNAL_SERVER_ERROR,
  unguarded_route: HttpStatus.INTERNAL_SERVER_ERROR,
  unsupported_context: HttpStatus.INTERNAL_SERVER_ERROR,
  invalid_option: HttpStatus.INTERNAL_SERVER_ERROR,
  keys_unavailable: HttpStatus.SERVICE_UNAVAILABLE,
  revocations_unavailable: HttpStatus.SERVICE_UNAVAILABLE,
  storage_unavailable: HttpStatus.SERVICE_UNAVAILABLE,
};

/** Options of a {@link SessionError}. */
interface SessionErrorOptions extends HttpExceptionOptions {
  /** The message of the response body. `message` itself is then for logs only. @default `message` */
  readonly publicMessage?: string;
  /** Additional members of the response body. */
  readonly details?: object;
  /** @default the status of the code */
  readonly status?: HttpStatus;
}

/** The response body of a {@link SessionError}. */
interface SessionErrorBody<TCode extends SessionErrorCode> {
  readonly statusCode: HttpStatus;
  readonly code: TCode;
  readonly message: string;
  /** `reason`, `maxAge`, and what else the error says. */
  readonly [detail: string]: unknown;
}

/**
 * The base class of every error that this package throws. It extends Nest's `HttpException`, so every exception filter
 * answers with its status. The response body is `{ statusCode, code, message }`, and for `session_over` also `reason`.
 * In GraphQL, `extensions` has the same.
 * Messages never contain a token, a cookie or a secret.
 */
export abstract class SessionError<TCode extends SessionErrorCode = SessionErrorCode> extends HttpException {
  constructor(
    /** A stable, machine-readable name of the error. */
    readonly code: TCode,
    message: string,
    { status = STATUS[code], publicMessage = message, details, ...options }: SessionErrorOptions = {},
  ) {
    // Without the status: Nest's Apollo driver would take the error for one of its own, and replace its code.
    super({ code, message: publicMessage, ...details }, status, options);
    this.message = message;
    // HttpException sets its message after the stack trace was recorded. A new stack trace begins with the message.
    Error.captureStackTrace(this, new.target);
  }

  override getResponse(): SessionErrorBody<TCode> {
    return { statusCode: this.getStatus(), ...(super.getResponse() as { code: TCode; message: string }) };
  }

  /** What GraphQL servers answer as `extensions` of the error: the response body, without the message. */
  get extensions(): Omit<SessionErrorBody<TCode>, 'message'> {
    const { message: _message, ...facts } = this.getResponse();
    return facts;
  }
}

/** The request carries no session: nobody is signed in. */
export class NoCredentialsError extends SessionError<'no_credentials'> {
  constructor() {
    super('no_credentials', 'The request carries no session. Sign in first.');
  }
}

/** The access token has expired, or this module has not made it. Exchange the refresh token, then send the request again. */
export class TryRefreshError extends SessionError<'try_refresh'> {
  constructor(
    message = 'The access token is no longer good. Refresh the session and send the request again.',
  ) {
    super('try_refresh', message);
  }
}

/**
 * Why a session was revoked. The module itself gives these reasons:
 *
 * - `revoked`: the application revoked it, and gave no reason.
 * - `logout`: its user signed out on this client.
 * - `replaced`: the same client has signed in again.
 * - `limit`: the user has signed in elsewhere, and may have no more sessions (`maxSessionsPerUser`).
 * - `theft`: two parties held copies of its tokens.
 *
 * An application can give these, those below, or its own: a lower-case letter, and up to 15 lower-case letters, digits and
 * underscores. `expired` is no such reason.
 *
 * - `user`: its user ended it from another client.
 * - `admin`: an administrator ended it.
 * - `password_change`: its user has a new password.
 */
export type RevocationReason =
  | 'revoked'
  | 'logout'
  | 'replaced'
  | 'limit'
  | 'theft'
  | 'user'
  | 'admin'
  | 'password_change'
  | (string & {});

/** Why a session ended: it was revoked, or nobody refreshed it in time (`expired`). */
export type SessionEndReason = RevocationReason | 'expired';

/** The session has ended: it was revoked, or it has expired, or the server cannot accept its refresh token. */
export class SessionOverError extends SessionError<'session_over'> {
  /** When the session ended, in epoch milliseconds, if known. */
  readonly endedAt: number | undefined;
  /** Why it ended, if known. The response body has it, too: also a reason that the application has given. */
  readonly reason: SessionEndReason | undefined;
  /**
   * Whether these credentials can certainly never work again. It is `false` if the refresh token names an unknown key, and
   * the cooldown does not allow to look for new keys yet. The client's cookies are then not cleared.
   */
  readonly final: boolean;
  /**
   * Whether it was a session in which somebody acted as another user. The response body has it, too, if it is `true`. The
   * client is refused until it ends the impersonation (`sessions.endImpersonation()`), signs in, or signs out.
   */
  readonly impersonation: boolean;

  constructor({
    endedAt,
    reason,
    final = true,
    impersonation = false,
  }: { endedAt?: number; reason?: SessionEndReason; final?: boolean; impersonation?: boolean } = {}) {
    const details = {
      ...(reason !== undefined && { reason }),
      ...(impersonation && { impersonation }),
    };
    const message = impersonation
      ? 'You do not act as another user any more. End the impersonation to go on as yourself.'
      : 'The session is over. Sign in again.';
    super('session_over', message, { details });
    this.endedAt = endedAt;
    this.reason = reason;
    this.final = final;
    this.impersonation = impersonation;
  }
}

/** A refresh token that looked old. These facts help to tell a thief from a client that stores tokens wrongly. */
export interface StaleRefreshToken {
  readonly sessionId: string;
  /** The user of the session; `undefined` if the database does not have the row any more. */
  readonly userId: UserId | undefined;
  /** The id of the token. It is not a secret. The event `stale` and a later event `theft` have the same id. */
  readonly tokenId: string;
  /**
   * - `sibling`: the token is of the row's generation, and a sibling of it was exchanged. Either two parties hold copies of
   *   one token, or a client has replaced newer tokens by those of an older response.
   * - `superseded`: the client has proven a later generation. The token is an old copy, or the request was made long ago.
   * - `session_over`: the session was revoked, or has expired.
   */
  readonly kind: 'sibling' | 'superseded' | 'session_over';
  /** How many generations the token is behind the row. 0 for a sibling. */
  readonly behind: number;
  /** How long ago the token was issued, in milliseconds. */
  readonly age: number;
  /**
   * How long ago another token of the session was exchanged, or proven to be kept, in milliseconds; `undefined` for
   * `session_over`.
   */
  readonly sinceRotation: number | undefined;
  /** The client that signed in, the one party; `undefined` if the database does not have it any more. */
  readonly device: Device | undefined;
}

/** Two parties hold copies of the tokens of a session. */
export interface TokenTheft extends StaleRefreshToken {
  readonly userId: UserId;
  /** The client that came with the old token, the other party: a thief, or his victim. `undefined` if it is not known. */
  readonly request: Device | undefined;
}

/**
 * A refresh token looks old, or its session is over. This alone proves nothing, because the client may have got newer tokens
 * since it made the request. Nothing has been revoked or cleared. Over HTTP, a browser is redirected to the same URL (307)
 * and sends the cookies that it has then. Any other client gets 401, and must repeat the request. Without HTTP, read the
 * stored tokens again, and repeat the call with {@link LookAgainError.tokenId}: `sessions.tokens.refresh(token, {
 * lookedAgain: error.tokenId })`.
 */
export class LookAgainError extends SessionError<'look_again'> {
  /** The id of the token that looks old. */
  readonly tokenId: string;

  constructor(
    readonly stale: StaleRefreshToken,
    /** For browsers, the URL of the redirect: the same URL, as a relative reference. */
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
 * A client has looked again and came back with the same old refresh token. So two parties hold copies of this session's
 * tokens. The session has been revoked before this is thrown.
 */
export class TokenTheftError extends SessionError<'token_theft'> {
  /** The session that was revoked. */
  readonly sessionId: string;

  constructor(
    /** The user of the session. */
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

/**
 * Somebody acts as another user, and this is not for them: a route with `@NoImpersonation()` or `@RequireFresh()`, a refresh,
 * `reauthenticate()`, or another impersonation. The session goes on.
 */
export class ImpersonationRefusedError extends SessionError<'impersonation_refused'> {
  constructor() {
    super('impersonation_refused', 'You act as another user, and this is for the user alone.');
  }
}

/** There is no live session with this id. */
export class SessionNotFoundError extends SessionError<'session_not_found'> {
  constructor(readonly sessionId: string) {
    super('session_not_found', 'There is no live session with this id.');
  }
}

/** There is no signing key with this `kid`: it never existed, or it has been dropped or removed. */
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

/** The input for a new session has a member that is not known, or a lifetime that the options do not allow. */
export class InvalidInputError extends SessionError<'invalid_input'> {
  constructor(message: string, options?: ErrorOptions) {
    super('invalid_input', message, options);
  }
}

/**
 * The user is signed in, but proved who they are too long ago for this route. Ask for the password, or whatever the
 * application asks for, and call `sessions.reauthenticate()`. The code is that of RFC 9470. The response body has `maxAge`.
 */
export class InsufficientAuthenticationError extends SessionError<'insufficient_user_authentication'> {
  constructor(
    /** How long ago the user may have proved it at most, in seconds. */
    readonly maxAge: number,
  ) {
    const message = 'This needs a proof of who you are that is more recent. Sign in again.';
    super('insufficient_user_authentication', message, { details: { maxAge } });
  }
}

/** The user has as many sessions as `maxSessionsPerUser` allows. No session was made. */
export class TooManySessionsError extends SessionError<'too_many_sessions'> {
  constructor(
    /** The largest number of sessions. */
    readonly limit: number,
  ) {
    super(
      'too_many_sessions',
      `There are ${limit} sessions of this user, and no more are allowed. End one first.`,
    );
  }
}

/** A reason of a revocation is not a short machine-readable text; see {@link RevocationReason}. Nothing was revoked. */
export class InvalidReasonError extends SessionError<'invalid_reason'> {
  constructor() {
    super(
      'invalid_reason',
      'The reason of a revocation must be a lower-case letter and up to 15 lower-case letters, digits or underscores, and not "expired".',
    );
  }
}

/** A sign-in or a refresh whose response has already sent its headers: no token could reach the client. Nothing was changed. */
export class HeadersSentError extends SessionError<'headers_sent'> {
  constructor() {
    super(
      'headers_sent',
      'The headers of the response have been sent, so it cannot carry tokens any more. Sign in, or refresh, before anything is written to the response.',
    );
  }
}

/** A handler asks for the session of a request that no guard has accepted. */
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

/** The keys to sign, verify or decrypt are not available. */
export class KeysUnavailableError extends SessionError<'keys_unavailable'> {
  constructor(message: string, options?: ErrorOptions) {
    const publicMessage = 'The keys of the sessions are not available at present. Try again.';
    super('keys_unavailable', message, { ...options, publicMessage });
  }
}

/**
 * A service without the database has not heard for too long which sessions are revoked, and is to refuse all tokens then
 * (`revocations.whenStale`). This says nothing about whether a session is valid.
 */
export class RevocationsUnavailableError extends SessionError<'revocations_unavailable'> {
  constructor() {
    super('revocations_unavailable', 'The list of revoked sessions is not available at present. Try again.');
  }
}

/**
 * A database operation failed; `cause` has the error of the database. This says nothing about whether a session is valid.
 */
export class StorageUnavailableError extends SessionError<'storage_unavailable'> {
  constructor(message: string, options?: ErrorOptions) {
    const publicMessage = 'The database of the sessions is not available at present. Try again.';
    super('storage_unavailable', message, { ...options, publicMessage });
  }
}

/** Every error that this package throws. `code` tells them apart. */
export type AnySessionError =
  | NoCredentialsError
  | TryRefreshError
  | SessionOverError
  | InsufficientAuthenticationError
  | LookAgainError
  | TokenTheftError
  | CsrfError
  | ImpersonationRefusedError
  | SessionNotFoundError
  | SigningKeyNotFoundError
  | InvalidUserIdError
  | InvalidClaimsError
  | InvalidDataError
  | InvalidInputError
  | TooManySessionsError
  | InvalidReasonError
  | HeadersSentError
  | UnguardedRouteError
  | UnsupportedContextError
  | InvalidOptionError
  | KeysUnavailableError
  | RevocationsUnavailableError
  | StorageUnavailableError;
