/** Injection tokens of internal parts. The package does not export them. */
export const SESSION_EXTRAS = Symbol('SESSION_EXTRAS');
export const VERIFIER_EXTRAS = Symbol('VERIFIER_EXTRAS');
export const APPLICATION_DATA_SOURCE = Symbol('APPLICATION_DATA_SOURCE');
export const SESSION_RUNTIME = Symbol('SESSION_RUNTIME');
export const REFRESH_CONTROLLER = Symbol('REFRESH_CONTROLLER');
