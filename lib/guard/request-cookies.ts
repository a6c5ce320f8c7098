import { IncomingMessage } from 'node:http';
import cookieParser from 'cookie-parser';
import type { HttpRequest } from '../http/messages.js';
import { isGuarded } from './attached-session.js';

type WithCookies = HttpRequest & { cookies?: unknown };

const parse = cookieParser();

/** Prototypes on which the property is defined. */
const prepared = new WeakSet<object>();

const PARSED_LATER: PropertyDescriptor & ThisType<WithCookies> = {
  configurable: true,
  enumerable: true,
  get() {
    // Without a guard there are no cookies here. An application's own parser does nothing if it finds cookies.
    if (!isGuarded(this)) return undefined;
    // The type of cookie-parser asks for Express's request, but it reads only the headers. It is synchronous.
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
 * Gives accepted requests `req.cookies`, unless the application has its own cookie parser. The header is parsed only when a
 * handler reads the property.
 *
 * The property is defined once, on the prototype of the adapter's requests. Express and Fastify extend requests in the same
 * way. To define it on each request would cost more than to verify the token.
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
