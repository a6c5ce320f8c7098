import type { InjectionToken } from '@nestjs/common';

/** What a module is called that has no `name`. */
export const DEFAULT_MODULE = 'default';

/** What {@link SessionGuard} asks, for guards with a constructor of their own. */
export const SESSION_AUTHENTICATOR = Symbol('SESSION_AUTHENTICATOR');

/** Injection token of what the guard of a module asks. @param module its `name`. @default the module without one */
export function sessionAuthenticatorToken(module: string = DEFAULT_MODULE): InjectionToken {
  return module === DEFAULT_MODULE ? SESSION_AUTHENTICATOR : `SESSION_AUTHENTICATOR ${module}`;
}
