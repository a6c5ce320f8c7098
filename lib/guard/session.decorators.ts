import { createParamDecorator, type CustomDecorator, type ExecutionContext } from '@nestjs/common';
import { InvalidOptionError, UnguardedRouteError } from '../errors/session.errors.js';
import { type Duration, parseDuration } from '../options/duration.js';
import { AuthenticatedSession } from '../session/authenticated-session.js';
import { attachmentOf } from './attached-session.js';
import { guardedRequest } from './guarded-request.js';
import { setRule } from './session.metadata.js';

/** The properties that {@link CurrentSession} can give instead of the whole session. */
export type SessionProperty =
  'id' | 'userId' | 'claims' | 'tokenIssuedAt' | 'tokenExpiresAt' | 'authenticatedAt' | 'amr' | 'actor';

/** Selects what {@link CurrentSession} gives, if the application has several modules. */
export interface SessionSelector {
  /** Name of the session's module. @default the module whose guard ran last */
  module?: string;
  /** @default the whole session */
  property?: SessionProperty;
}

const decorate = createParamDecorator(
  (selector: SessionProperty | SessionSelector | undefined, context: ExecutionContext): unknown => {
    const { module, property } = typeof selector === 'string' ? { property: selector } : (selector ?? {});
    const attachment = attachmentOf(guardedRequest(context), module);
    if (!attachment) throw new UnguardedRouteError(module);
    const { session } = attachment;
    return property === undefined ? session : session?.[property];
  },
);

/**
 * The session of the request, or one property of it. It is `undefined` on a route with {@link OptionalSession} when nobody
 * is signed in.
 *
 * @throws {@link UnguardedRouteError} on a route without the guard
 * @example
 * ```ts
 * @Get('me')
 * me(@CurrentSession() session: ActiveSession, @CurrentSession('userId') userId: string) {}
 * ```
 */
export const CurrentSession =
  (selector?: SessionProperty | SessionSelector): ParameterDecorator =>
  (target, key, index) => {
    decorate(selector)(target, key, index);
    hideFromPipes(target, key, index);
  };

/**
 * The same as {@link CurrentSession}. Nest also has a decorator `Session`; that one gives the session of `express-session`.
 */
export const Session = CurrentSession;

/**
 * The guard accepts every request, and does not look for a session. `SkipSession(false)` undoes that for one handler.
 *
 * @param module name of the module, if the application has several. @default all modules
 */
export const SkipSession = (skip = true, module?: string): CustomDecorator => setRule('skip', skip, module);

/**
 * The guard also accepts requests without a session. `@CurrentSession()` then gives `undefined`.
 *
 * @param module name of the module, if the application has several. @default all modules
 */
export const OptionalSession = (optional = true, module?: string): CustomDecorator =>
  setRule('optional', optional, module);

/**
 * The guard accepts only sessions whose user has proved who they are in the last time: at sign-in, or by
 * `sessions.reauthenticate()`. It refuses others with `insufficient_user_authentication` (401), and the session goes on. Who acts
 * as the user is always refused, as by {@link NoImpersonation}.
 *
 * @param maxAge such as `'5m'`, or seconds. `false` undoes the controller's for one handler
 * @param module name of the module, if the application has several. @default all modules
 * @throws {@link InvalidOptionError} when `maxAge` is no duration
 */
export const RequireFresh = (maxAge: Duration | false, module?: string): CustomDecorator => {
  const milliseconds = maxAge === false ? false : parseDuration(maxAge);
  if (milliseconds === undefined) {
    throw new InvalidOptionError('RequireFresh', 'needs a duration, such as "5m", or a number of seconds.');
  }
  return setRule('maxAge', milliseconds, module);
};

/**
 * The guard refuses sessions in which somebody acts as the user, with `impersonation_refused` (403): for what is the user's alone,
 * such as to change the password, to pay, or to delete the account. `NoImpersonation(false)` undoes the controller's for one
 * handler.
 *
 * @param module name of the module, if the application has several. @default all modules
 */
export const NoImpersonation = (refused = true, module?: string): CustomDecorator =>
  setRule('noImpersonation', refused, module);

/**
 * The guard exchanges no refresh token. It tells a client whose access token has expired to refresh (`try_refresh`), as in
 * endpoint mode: for routes whose responses lose their cookies, such as those for a server that renders a page and cannot set
 * any. `NoRefresh(false)` undoes the controller's for one handler.
 *
 * @param module name of the module, if the application has several. @default all modules
 */
export const NoRefresh = (noRefresh = true, module?: string): CustomDecorator =>
  setRule('noRefresh', noRefresh, module);

/**
 * The guard does not check for cross-site request forgery.
 *
 * @param module name of the module, if the application has several. @default all modules
 */
export const SkipCsrf = (skip = true, module?: string): CustomDecorator => setRule('skipCsrf', skip, module);

/**
 * Hides the class of a session parameter from pipes. Pipes validate and transform input of clients, by the parameter's
 * class. A session is not input: `ValidationPipe` with `validateCustomDecorators` would replace it by an empty object.
 * Pipes do not change parameters of type `Object`.
 */
function hideFromPipes(target: object, key: string | symbol | undefined, index: number): void {
  if (key === undefined) return;
  const types: unknown = Reflect.getMetadata('design:paramtypes', target, key);
  if (!Array.isArray(types)) return;
  const type: unknown = types[index];
  const isSession =
    typeof type === 'function' &&
    (type === AuthenticatedSession || type.prototype instanceof AuthenticatedSession);
  if (isSession) Reflect.defineMetadata('design:paramtypes', types.with(index, Object), target, key);
}
