import { Inject, type InjectionToken, type Provider } from '@nestjs/common';
import { InvalidOptionError } from '../errors/session.errors.js';
import {
  DEFAULT_MODULE,
  SESSION_AUTHENTICATOR,
  sessionAuthenticatorToken,
} from '../guard/injection-tokens.js';
import { SessionGuard } from '../guard/session.guard.js';
import { SessionVerifier } from '../http/session-verifier.js';
import { SessionService } from './session.service.js';

/** Injection token of the {@link SessionService} of a module. @param module its `name` */
export function sessionServiceToken(module: string): InjectionToken {
  return module === DEFAULT_MODULE ? SessionService : `SessionService ${module}`;
}

/** Injection token of the {@link SessionVerifier} of a module. @param module its `name` */
export function sessionVerifierToken(module: string): InjectionToken {
  return module === DEFAULT_MODULE ? SessionVerifier : `SessionVerifier ${module}`;
}

/** Injects the {@link SessionService} of a module. @param module its `name`. @default the module without one */
export const InjectSessionService = (
  module: string = DEFAULT_MODULE,
): PropertyDecorator & ParameterDecorator => Inject(sessionServiceToken(module));

/** Injects the {@link SessionVerifier} of a module. @param module its `name`. @default the module without one */
export const InjectSessionVerifier = (
  module: string = DEFAULT_MODULE,
): PropertyDecorator & ParameterDecorator => Inject(sessionVerifierToken(module));

/** Checks and returns the name of a module. */
export function nameOf({ name = DEFAULT_MODULE }: { readonly name?: string }): string {
  if (typeof name !== 'string' || name === '') {
    throw new InvalidOptionError(
      'name',
      'must be a non-empty string. Leave it out where there is one module.',
    );
  }
  return name;
}

/**
 * The exports of a module. A module without a name exports its classes. A module with a name exports only tokens with that
 * name, because otherwise its guard could be mistaken for the guard of another module.
 *
 * @param service the service class and its token
 */
export function namedExports(
  module: string,
  service: { readonly type: typeof SessionService | typeof SessionVerifier; readonly token: InjectionToken },
): { providers: Provider[]; exports: InjectionToken[] } {
  if (module === DEFAULT_MODULE) {
    return { providers: [], exports: [service.type, SESSION_AUTHENTICATOR, SessionGuard] };
  }
  const aliases = [
    { provide: service.token, useExisting: service.type },
    { provide: sessionAuthenticatorToken(module), useExisting: SESSION_AUTHENTICATOR },
  ];
  const guard = SessionGuard.of(module);
  return { providers: [...aliases, guard], exports: [...aliases.map(({ provide }) => provide), guard] };
}
