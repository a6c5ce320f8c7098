import cookieParser from 'cookie-parser';
import type { HttpRequest } from './exchange.js';

type WithCookies = HttpRequest & { cookies?: unknown };

const parse = cookieParser();

/** One for all requests: nothing is allocated for a request whose cookies no handler looks at. */
const PARSED_LATER: PropertyDescriptor & ThisType<WithCookies> = {
  configurable: true,
  enumerable: true,
  get() {
    // cookie-parser wants Express's request, but looks at its headers alone; it calls back before it returns.
    const parsed = { headers: this.headers } as Parameters<typeof parse>[0];
    parse(parsed, undefined as never, () => undefined);
    setCookies(this, parsed.cookies);
    return parsed.cookies as unknown;
  },
  set(value: unknown) {
    setCookies(this, value);
  },
};

/**
 * Gives guarded handlers `req.cookies` where the application has not installed a parser of its own. The header is parsed
 * when a handler looks, not before.
 */
export function ensureCookies(request: WithCookies): void {
  if (request.cookies === undefined || request.cookies === null) {
    Object.defineProperty(request, 'cookies', PARSED_LATER);
  }
}

function setCookies(request: WithCookies, value: unknown): void {
  Object.defineProperty(request, 'cookies', { configurable: true, enumerable: true, writable: true, value });
}
