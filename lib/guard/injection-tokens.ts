import type { InjectionToken } from '@nestjs/common';

/** The name of a module without the option `name`. */
export const DEFAULT_MODULE = 'default';

/** Injection token of the {@link SessionAuthenticator}, for guards with their own constructor. */
export const SESSION_AUTHENTICATOR = Symbol('SESSION_AUTHENTICATOR');

/**
 * Injection token of the {@link SessionAuthenticator} of a module.
 *
 * @param module its `name`. @default the module without one
 */
export function sessionAuthenticatorToken(module: string = DEFAULT_MODULE): InjectionToken {
  return module === DEFAULT_MODULE ? SESSION_AUTHENTICATOR : `SESSION_AUTHENTICATOR ${module}`;
}
