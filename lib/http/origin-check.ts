import { CsrfError } from '../errors/session.errors.js';
import { type HttpRequest, requestHeader } from './messages.js';

/** Values of `Sec-Fetch-Site` that a page of another site cannot have its visitor's browser send. */
const OWN_SITE: ReadonlySet<string> = new Set(['same-origin', 'none']);

/**
 * Refuses requests that come from a page of another origin, as browsers tell by `Origin` and `Sec-Fetch-Site`. A request with
 * neither header does not come from a browser, and passes.
 *
 * @param trustedOrigins other origins that may send such requests
 * @throws {@link CsrfError}; its message says what to do where the origin is one's own
 */
export function checkOrigin(request: HttpRequest, trustedOrigins: ReadonlySet<string>): void {
  const origin = single(requestHeader(request, 'origin'));
  if (origin !== undefined && trustedOrigins.has(origin)) return;
  const site = single(requestHeader(request, 'sec-fetch-site'));
  if (site !== undefined) {
    if (OWN_SITE.has(site)) return;
    throw new CsrfError(
      `The request comes from another origin (Sec-Fetch-Site: ${shorten(site)}). ${remedy(origin, site)}`,
    );
  }
  // Every browser in use sends Origin with unsafe methods; what sends neither is no browser and holds no victim's cookies.
  if (origin === undefined || isOwnOrigin(origin, request)) return;
  throw new CsrfError(`The request comes from another origin. ${remedy(origin, site)}`);
}

/** Proxies have been seen to send a header twice. Both have to say the same, otherwise neither is believed. */
function single(value: string | undefined): string | undefined {
  if (value === undefined || !value.includes(',')) return value;
  const [first, ...others] = value.split(',').map((each) => each.trim());
  return others.every((each) => each === first) ? first : '';
}

function isOwnOrigin(origin: string, request: HttpRequest): boolean {
  let url: URL;
  try {
    url = new URL(origin);
  } catch {
    return false; // "null", as sandboxed frames send it
  }
  // Another scheme's "localhost" is another origin: an app's own pages, not those of this server.
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return false;
  return hostsOf(request).some((host) => host === url.host || host.replace(/:(80|443)$/, '') === url.host);
}

/** The hosts that the client may have asked for, in lower case: several where proxies have each added one that the adapter believes. */
function hostsOf(request: HttpRequest): string[] {
  const host = (request.host ?? requestHeader(request, 'host'))?.toLowerCase();
  if (host === undefined) return [];
  const forwarded = (requestHeader(request, 'x-forwarded-host') ?? '').toLowerCase().split(/\s*,\s*/);
  // Adapters differ in which of several they take.
  return forwarded.length > 1 && forwarded.includes(host) ? forwarded : [host];
}

function remedy(origin: string | undefined, site: string | undefined): string {
  if (origin === 'null') {
    return 'Its origin is "null": the page is sandboxed, or its Referrer-Policy is "no-referrer". Use "strict-origin-when-cross-origin".';
  }
  if (site === undefined) {
    return 'If it is yours, add it to csrf.trustedOrigins; behind a proxy, see that Host keeps name and port, or trust the proxy.';
  }
  return 'If it is yours, add it to csrf.trustedOrigins.';
}

function shorten(text: string): string {
  return text.replace(/[^\w-]/g, '').slice(0, 20);
}
