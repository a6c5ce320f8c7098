/**
 * For pages of applications with `refresh: 'endpoint'`, or with a CSRF token or header. In transparent mode with the CSRF check by
 * origin, pages need nothing of this.
 */
export {
  createSessionFetch,
  type SessionEnd,
  type SessionFetch,
  type SessionFetchOptions,
} from './session-fetch.js';
