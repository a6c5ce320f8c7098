import { IncomingMessage } from 'node:http';
import cookieParser from 'cookie-parser';
import type { HttpRequest } from '../http/messages.js';
import { isGuarded } from './attached-session.js';

type WithCookies = HttpRequest & { cookies?: unknown };

const parse = cookieParser();

/** Prototypes whose requests have the property from them. */
const prepared = new WeakSet<object>();

const PARSED_LATER: PropertyDescriptor & ThisType<WithCookies> = {
  configurable: true,
  enumerable: true,
  get() {
    // Others have none, so that a parser of the application's own, which looks for some first, does its work.
    if (!isGuarded(this)) return undefined;
    // cookie-parser wants Express's request, but looks at its headers alone; it calls back before it returns.
    const parsed = { headers: this.headers } as Parameters<typeof parse>[0];
    parse(parsed, undefined as never, () => undefined);
    setCookies(this, parsed.cookies);
    return parsed.cookies as unknown;
  },
  set(value: unknown) {
    if (!isMissing(value)) setCookies(this, value);
  },
};

/**
 * Gives requests `req.cookies`, once the guard lets them through, where the application has not installed a parser of its own.
 * The header is parsed when a handler looks, not before.
 *
 * The property is defined once, on what the adapter's requests inherit from, which is how Express and Fastify have requests
 * extended: on each request it would cost more than verifying its token.
 */
export function provideCookies(request: WithCookies): void {
  const prototype = Object.getPrototypeOf(request) as object;
  if (prepared.has(prototype) || !isMissing(request.cookies)) return;
  const isShared = prototype === Object.prototype || prototype === IncomingMessage.prototype;
  if (isShared || 'cookies' in request) {
    Object.defineProperty(request, 'cookies', PARSED_LATER);
  } else {
    prepared.add(prototype);
    Object.defineProperty(prototype, 'cookies', PARSED_LATER);
  }
}

function setCookies(request: WithCookies, value: unknown): void {
  Object.defineProperty(request, 'cookies', { configurable: true, enumerable: true, writable: true, value });
}

function isMissing(cookies: unknown): boolean {
  return cookies === undefined || cookies === null;
}
