import { createParamDecorator, type CustomDecorator, type ExecutionContext } from '@nestjs/common';
import { UnguardedRouteError } from '../errors/session.errors.js';
import { AuthenticatedSession } from '../session/authenticated-session.js';
import { attachmentOf } from './attached-session.js';
import { guardedRequest } from './guarded-request.js';
import { setRule } from './session.metadata.js';

/** What {@link CurrentSession} can give instead of the whole session. */
export type SessionProperty = 'id' | 'userId' | 'claims' | 'tokenIssuedAt' | 'tokenExpiresAt';

/** What {@link CurrentSession} is to give, where an application has several modules. */
export interface SessionSelector {
  /** Name of the module whose session is meant. @default the one whose guard came last */
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
 * The session of the request, or one property of it. `undefined` on a route with {@link OptionalSession} when nobody is
 * signed in.
 *
 * @throws {@link UnguardedRouteError} on a route that no guard has seen
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

/** The same as {@link CurrentSession}. Nest has a `Session` of its own, which gives what `express-session` leaves. */
export const Session = CurrentSession;

/**
 * The guard lets everybody through, and looks for no session. `SkipSession(false)` undoes that for one handler.
 *
 * @param module where the application has several: the name of the one that is meant. @default all
 */
export const SkipSession = (skip = true, module?: string): CustomDecorator => setRule('skip', skip, module);

/**
 * The guard lets through who is not signed in; `@CurrentSession()` then gives `undefined`.
 *
 * @param module where the application has several: the name of the one that is meant. @default all
 */
export const OptionalSession = (optional = true, module?: string): CustomDecorator =>
  setRule('optional', optional, module);

/**
 * The guard does not check for cross-site request forgery.
 *
 * @param module where the application has several: the name of the one that is meant. @default all
 */
export const SkipCsrf = (skip = true, module?: string): CustomDecorator => setRule('skipCsrf', skip, module);

/**
 * Pipes validate and transform what clients send, by the parameter's class. A session is none of it: `ValidationPipe` with
 * `validateCustomDecorators` would make an empty one. Pipes leave parameters of no class alone.
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
