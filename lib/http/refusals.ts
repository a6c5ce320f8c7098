import { NoCredentialsError, TryRefreshError } from '../errors/session.errors.js';
import { withoutStackTrace } from '../util/without-stack-trace.js';

/** The most frequent errors. They have no stack trace, because they are answers to requests. */
export const noCredentials = () => withoutStackTrace(() => new NoCredentialsError());
export const tryRefresh = () => withoutStackTrace(() => new TryRefreshError());
