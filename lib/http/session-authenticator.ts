import type { SessionError } from '../errors/session.errors.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';
import type { HttpRequest, HttpResponse } from './messages.js';

/** How a request is authenticated. */
export interface AuthenticateOptions {
  /** Whether requests with unsafe methods are checked for cross-site request forgery. @default true */
  csrf?: boolean;
  /**
   * Whether sessions in which somebody acts as the user are accepted. Where {@link maxAge} is given they never are, because
   * their user has proved nothing. @default true
   */
  impersonated?: boolean;
  /**
   * Whether a refresh token of the request may be exchanged. With `false`, a client whose access token has expired is told to
   * refresh (`try_refresh`), as in endpoint mode: for routes whose responses lose their cookies, such as those for a server that
   * renders a page and cannot set any. @default true
   */
  refresh?: boolean;
  /** How long ago the user may have proved who they are at most, in milliseconds. @default any time */
  maxAge?: number | undefined;
}

/** What stays open in the name of sessions, and ends with them. */
export interface ConnectionRegistry {
  /**
   * Registers a connection or a stream.
   *
   * @param end closes it. It is called once, when the session is over: with {@link SessionOverError}; or with
   *   {@link TryRefreshError} when the client may connect again with a new access token. It is never called during this call
   * @returns forgets it, because it has been closed
   */
  add(session: AuthenticatedSession<unknown>, end: (error: SessionError) => void): () => void;
}

/** Is told of each response to a request that has been accepted, because it may go on for long. */
export interface ResponseFollower {
  follow(response: HttpResponse, session: AuthenticatedSession): void;
}

/** Authenticates requests for a guard, with the database or with public keys alone. */
export interface SessionAuthenticator {
  /** Name of its module. */
  readonly module: string;

  /** Connections that have been accepted. */
  readonly connections: ConnectionRegistry;

  /**
   * The session of a request.
   *
   * @returns a promise only if something must be waited for
   */
  authenticate(
    request: HttpRequest,
    response: HttpResponse,
    options?: AuthenticateOptions,
  ): AuthenticatedSession | Promise<AuthenticatedSession>;

  /**
   * Checks the session of a connection once more, for another message: whether it is known to be over, and the options. Its
   * access token may have expired.
   *
   * @returns a promise only if something must be waited for
   */
  readmit(
    session: AuthenticatedSession,
    options?: AuthenticateOptions,
  ): AuthenticatedSession | Promise<AuthenticatedSession>;

  /**
   * Applies the options of another handler to the session of a request: one request runs several resolvers of GraphQL.
   *
   * @param session what {@link authenticate} has found for this request
   * @throws what {@link authenticate} throws because of its options
   */
  recheck(session: AuthenticatedSession, request: HttpRequest, options?: AuthenticateOptions): void;

  /** Whether an error means that nobody is signed in. Other errors mean that this is unknown, or must not be ignored. */
  isUnauthenticated(error: unknown): boolean;
}
