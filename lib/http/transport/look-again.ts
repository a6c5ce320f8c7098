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

/** What browsers say of a request (W3C Fetch Metadata). Plain-http hosts other than localhost get none of it. */
const FETCH_METADATA = ['sec-fetch-site', 'sec-fetch-mode', 'sec-fetch-dest', 'sec-fetch-user'] as const;

/**
 * Tells a client to look again: a browser is sent to the same URL (307), which it follows with the method, the body and the
 * cookies that it has now; anybody else gets 401.
 */
export async function lookAgain(
  request: HttpRequest,
  response: HttpResponse,
  stale: StaleRefreshToken,
  times: Pick<RotationTimes, 'delay'>,
): Promise<LookAgainError> {
  // Whatever the route says of its own answers: this one is for this request alone.
  if (!areHeadersSent(response)) setResponseHeader(response, 'cache-control', 'no-store');
  const error = (location?: string) => withoutStackTrace(() => new LookAgainError(stale, location));
  if (areHeadersSent(response) || !followsWithItsCookies(request)) return error();
  await drain(request);
  // The response with the successor of the sibling that was exchanged may still be on its way.
  if (stale.kind === 'sibling') await delay(times.delay / 5);
  const location = sameUrl(request);
  if (!areHeadersSent(response)) setResponseHeader(response, 'location', location);
  return error(location);
}

/**
 * Whether a request comes from a browser, which follows a redirection with the cookies of then. Others, such as Node's
 * `fetch` with a fixed `Cookie` header, would follow it for ever with the same ones.
 */
export function followsWithItsCookies(request: HttpRequest): boolean {
  const { headers } = request;
  if (headers.upgrade !== undefined) return false;
  if (headers['sec-fetch-site'] !== undefined) return !isPassedOn(request);
  const hasMetadata = FETCH_METADATA.some((name) => headers[name] !== undefined);
  return !hasMetadata && (requestHeader(request, 'user-agent')?.startsWith('Mozilla/') ?? false);
}

/**
 * Whether a rendering server passes a browser's headers on, by `fetch`, which sets `Sec-Fetch-Mode` to its own: documents are
 * only ever navigated to.
 */
function isPassedOn(request: HttpRequest): boolean {
  const mode = requestHeader(request, 'sec-fetch-mode');
  return requestHeader(request, 'sec-fetch-dest') === 'document' && mode !== undefined && mode !== 'navigate';
}

/**
 * A client may look at the answer only when it has sent all of its request, as nginx does with an upload. A connection that
 * closes before that fails the request.
 */
async function drain(request: HttpRequest): Promise<void> {
  const raw = rawRequest(request);
  if (raw.complete !== false || raw.destroyed) return;
  await new Promise((resolve) => {
    raw.once('end', resolve).once('close', resolve).resume();
  });
}

/**
 * The URL of a request as a reference that is relative to itself. It goes on to be right behind a proxy that strips a prefix;
 * and it leads to no other host, also where the path begins with `//`.
 *
 * Where it can, it leaves the path alone, as `?query` does: some proxies decode `%2F`, so that the last segment is not what
 * the browser takes for it. `#` does the same without a query; it would be seen in the address bar, so that navigations get
 * `./last`.
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

/** What Node lets through in a request's target, but not in a header. */
function encoded(text: string): string {
  return text.replace(/[^\x21-\x7e]/g, (char) => encodeURIComponent(char));
}
