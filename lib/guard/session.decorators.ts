import { createParamDecorator, type CustomDecorator, type ExecutionContext } from '@nestjs/common';
import type { ActiveSession } from '../session/active-session.js';
import { OptionalSessionMetadata, SkipCsrfMetadata, SkipSessionMetadata } from './session.metadata.js';
import { attachedSession } from './request-session.js';

/** What {@link Session} can give instead of the whole session. */
export type SessionProperty = 'id' | 'userId' | 'claims' | 'issuedAt' | 'expiresAt';

/**
 * The session of the request, or one property of it. `undefined` on a route with {@link OptionalSession} when nobody is
 * signed in.
 *
 * @example
 * ```ts
 * @Get('me')
 * me(@Session() session: ActiveSession, @Session('userId') userId: string) {}
 * ```
 */
export const Session: (property?: SessionProperty) => ParameterDecorator = createParamDecorator(
  (property: SessionProperty | undefined, context: ExecutionContext): unknown => {
    const session: ActiveSession | undefined = attachedSession(context.getArgByIndex<object>(0));
    return property === undefined ? session : session?.[property];
  },
);

/** The guard lets everybody through, and looks for no session. `SkipSession(false)` undoes that for one handler. */
export const SkipSession = (skip = true): CustomDecorator => SkipSessionMetadata(skip);

/** The guard lets through who is not signed in; `@Session()` then gives `undefined`. */
export const OptionalSession = (optional = true): CustomDecorator => OptionalSessionMetadata(optional);

/** The guard does not check for cross-site request forgery. */
export const SkipCsrf = (skip = true): CustomDecorator => SkipCsrfMetadata(skip);
