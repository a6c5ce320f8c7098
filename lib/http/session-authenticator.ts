import type { AuthenticatedSession } from '../session/authenticated-session.js';
import type { HttpRequest, HttpResponse } from './messages.js';

/** How a request is authenticated. */
export interface AuthenticateOptions {
  /** Whether unsafe methods are checked for cross-site forgery. @default true */
  csrf?: boolean;
}

/** What a guard asks: with a database behind it, or with the public keys alone. */
export interface SessionAuthenticator {
  /** Name of the module that it belongs to. */
  readonly module: string;

  /**
   * The session of a request.
   *
   * @returns a promise only where there is something to wait for
   */
  authenticate(
    request: HttpRequest,
    response: HttpResponse,
    options?: AuthenticateOptions,
  ): AuthenticatedSession | Promise<AuthenticatedSession>;

  /** Whether an error says that nobody is signed in, as opposed to: that could not be found out, or must not be ignored. */
  isUnauthenticated(error: unknown): boolean;
}
