/** Every code that a {@link ForwardError} can have. Codes are stable. */
export type ForwardErrorCode =
  /** A page of another origin may have sent the request that is being rendered: answer it with 403. */
  | 'csrf_failed'
  /** The URL is not one of the API: its server must not get the cookies. */
  | 'foreign_url'
  /** An option is wrong. */
  | 'invalid_option';

/** A call that a {@link ForwardedSession} does not send. The message says what to do. */
export class ForwardError extends Error {
  override readonly name = 'ForwardError';

  constructor(
    readonly code: ForwardErrorCode,
    message: string,
  ) {
    super(message);
  }
}
