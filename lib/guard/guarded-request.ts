import type { ExecutionContext } from '@nestjs/common';
import { UnguardedRouteError } from '../errors/session.errors.js';
import { exchangeOf } from './exchange-of.js';
import { handshakeOf } from './handshake.js';

/** Requests that guards with an overridden `getExchange()` have found, by the arguments of their contexts. */
const found = new WeakMap<object, object>();

/** Stores which request a guard has found. Decorators look it up by argument, because they get another context object. */
export function rememberRequest(context: ExecutionContext, request: object): void {
  for (const argument of context.getArgs<unknown[]>()) {
    if (isObject(argument)) found.set(argument, request);
  }
}

/** The request that belongs to a client of a WebSocket gateway. @returns `undefined` for anything else */
export function requestOfClient(client: object): object | undefined {
  return found.get(client) ?? handshakeOf(client);
}

/**
 * The request that the guard has found for a context.
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
