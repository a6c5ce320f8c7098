import type { ExecutionContext } from '@nestjs/common';
import { UnguardedRouteError } from '../errors/session.errors.js';
import { exchangeOf } from './exchange-of.js';

/** Requests that guards with a `getExchange()` of their own have found, by what their contexts have. */
const found = new WeakMap<object, object>();

/** Remembers which request a guard has found in a context, for decorators: they get a context of their own. */
export function rememberRequest(context: ExecutionContext, request: object): void {
  for (const argument of context.getArgs<unknown[]>()) {
    if (isObject(argument)) found.set(argument, request);
  }
}

/**
 * The request of a context, as the guard has found it.
 *
 * @throws {@link UnsupportedContextError} | {@link UnguardedRouteError}
 */
export function guardedRequest(context: ExecutionContext): object {
  for (const argument of context.getArgs<unknown[]>()) {
    const request = isObject(argument) ? found.get(argument) : undefined;
    if (request) return request;
  }
  const { request } = exchangeOf(context);
  if (!isObject(request)) throw new UnguardedRouteError();
  return request;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
