import { setTimeout as delay } from 'node:timers/promises';
import { LookAgainError, type StaleRefreshToken } from '../../errors/session.errors.js';
import { withoutStackTrace } from '../../util/without-stack-trace.js';
import type { RotationTimes } from '../../protocol/rotation.js';
import {
  areHeadersSent,
  type HttpRequest,
  type HttpResponse,
  rawRequest,
  requestHeader,
  setResponseHeader,
} from '../messages.js';

/** Headers by which browsers describe a request (W3C Fetch Metadata). Not sent over plain http, except to localhost. */
const FETCH_METADATA = ['sec-fetch-site', 'sec-fetch-mode', 'sec-fetch-dest', 'sec-fetch-user'] as const;

/**
 * Tells a client to look again. A browser gets a redirect to the same URL (307). It repeats the request with the same method
 * and body, and with the cookies that it has then. Every other client gets 401.
 */
export async function lookAgain(
  request: HttpRequest,
  response: HttpResponse,
  stale: StaleRefreshToken,
  times: Pick<RotationTimes, 'delay'>,
): Promise<LookAgainError> {
  // The route may allow caching of its own responses. This response must never be cached.
  if (!areHeadersSent(response)) setResponseHeader(response, 'cache-control', 'no-store');
  const error = (location?: string) => withoutStackTrace(() => new LookAgainError(stale, location));
  if (areHeadersSent(response) || !followsWithItsCookies(request)) return error();
  await drain(request);
  // A sibling of this token was exchanged. The response with the new token may not have arrived yet.
  if (stale.kind === 'sibling') await delay(times.delay / 5);
  const location = sameUrl(request);
  if (!areHeadersSent(response)) setResponseHeader(response, 'location', location);
  return error(location);
}

/**
 * Whether a request comes from a browser. A browser follows a redirect with the cookies that it has at that time. Other
 * clients, such as Node's `fetch` with a fixed `Cookie` header, would send the same cookies again and loop.
 */
export function followsWithItsCookies(request: HttpRequest): boolean {
  const { headers } = request;
  if (headers.upgrade !== undefined) return false;
  if (headers['sec-fetch-site'] !== undefined) return !isPassedOn(request);
  const hasMetadata = FETCH_METADATA.some((name) => headers[name] !== undefined);
  return !hasMetadata && (requestHeader(request, 'user-agent')?.startsWith('Mozilla/') ?? false);
}

/**
 * Whether a rendering server has copied a browser's headers into its own `fetch`. That `fetch` changes `Sec-Fetch-Mode`. A
 * browser requests a document only with mode `navigate`.
 */
function isPassedOn(request: HttpRequest): boolean {
  const mode = requestHeader(request, 'sec-fetch-mode');
  return requestHeader(request, 'sec-fetch-dest') === 'document' && mode !== undefined && mode !== 'navigate';
}

/**
 * Reads the rest of the request. Some clients, such as nginx with an upload, read the response only after they have sent the
 * whole request. If the server closed the connection before that, the request would fail.
 */
async function drain(request: HttpRequest): Promise<void> {
  const raw = rawRequest(request);
  if (raw.complete !== false || raw.destroyed) return;
  await new Promise((resolve) => {
    raw.once('end', resolve).once('close', resolve).resume();
  });
}

/**
 * The URL of a request, as a reference relative to itself. So it is also right behind a proxy that strips a prefix, and it
 * never leads to another host, even if the path begins with `//`.
 *
 * - `?query` if there is a query. It does not change the path. This matters because some proxies decode `%2F`: then the last
 *   path segment at the server is not the last one in the browser.
 * - `#` without a query. It does not change the path either.
 * - `./last` for navigations without a query, because the address bar would show the `#`.
 */
export function sameUrl(request: HttpRequest): string {
  const { originalUrl, url = '/' } = request;
  const target = originalUrl ?? url;
  const query = target.indexOf('?');
  if (query !== -1) return encoded(target.slice(query));
  const slash = target.lastIndexOf('/');
  const mode = requestHeader(request, 'sec-fetch-mode');
  const isSeen = mode === undefined || mode === 'navigate' || mode === 'nested-navigate';
  return slash > 0 && !isSeen ? '#' : `./${encoded(target.slice(slash + 1))}`;
}

/** Encodes characters that Node allows in a request's target, but not in a header. */
function encoded(text: string): string {
  return text.replace(/[^\x21-\x7e]/g, (char) => encodeURIComponent(char));
}
