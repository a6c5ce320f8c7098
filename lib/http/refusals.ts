import { NoCredentialsError, TryRefreshError } from '../errors/session.errors.js';
import { withoutStackTrace } from '../util/without-stack-trace.js';

/**
 * A request has only the token of somebody else, such as a platform's in front of the application. Where signing in is
 * optional, nobody is signed in. Elsewhere the client is told to refresh, because it may have damaged its own token.
 */
export class ForeignTokenError extends TryRefreshError {}

/**
 * The client has a refresh token, which this request may not exchange. It is not signed out, so that signing in being optional
 * does not let it through.
 */
export class NotExchangedError extends TryRefreshError {}

/** The most frequent errors. They have no stack trace, because they are answers to requests. */
export const noCredentials = () => withoutStackTrace(() => new NoCredentialsError());
export const tryRefresh = () => withoutStackTrace(() => new TryRefreshError());
export const notExchanged = () => withoutStackTrace(() => new NotExchangedError());
export const foreignToken = () => withoutStackTrace(() => new ForeignTokenError());
