import cookieParser from 'cookie-parser';
import type { HttpRequest } from './exchange.js';

const parse = cookieParser();

/**
 * Gives guarded handlers `req.cookies` where the application has not installed a parser of its own. The header is parsed
 * when a handler looks, not before.
 */
export function ensureCookies(request: HttpRequest & { cookies?: unknown }): void {
  if (request.cookies !== undefined && request.cookies !== null) return;
  Object.defineProperty(request, 'cookies', {
    configurable: true,
    enumerable: true,
    get(): unknown {
      // cookie-parser wants Express's request, but looks at its headers alone; it calls back before it returns.
      const parsed = { headers: request.headers } as Parameters<typeof parse>[0];
      parse(parsed, undefined as never, () => undefined);
      Object.defineProperty(request, 'cookies', {
        configurable: true,
        enumerable: true,
        writable: true,
        value: parsed.cookies,
      });
      return parsed.cookies;
    },
    set(value: unknown) {
      Object.defineProperty(request, 'cookies', {
        configurable: true,
        enumerable: true,
        writable: true,
        value,
      });
    },
  });
}
