import { NoCredentialsError, TryRefreshError } from '../errors/session.errors.js';
import { withoutStackTrace } from '../util/without-stack-trace.js';

/** What most requests that are refused are refused with. */
export const noCredentials = () => withoutStackTrace(() => new NoCredentialsError());
export const tryRefresh = () => withoutStackTrace(() => new TryRefreshError());
