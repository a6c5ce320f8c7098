import { setTimeout as delay } from 'node:timers/promises';
import { LookAgainError, type StaleRefreshToken } from '../errors/session.errors.js';
import { withoutStackTrace } from '../errors/without-stack-trace.js';
import type { RotationTimes } from '../rotation/rotation.js';
import {
  areHeadersSent,
  type HttpRequest,
  type HttpResponse,
  requestHeader,
  setResponseHeader,
} from './exchange.js';

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
 * The URL of a request as a reference that is relative to itself, such as `./last?query`. It goes on to be right behind a
 * proxy that strips a prefix; and it leads to no other host, also where the path begins with `//`.
 */
export function sameUrl({ originalUrl, url = '/' }: HttpRequest): string {
  const target = originalUrl ?? url;
  const query = target.indexOf('?');
  const end = query === -1 ? target.length : query;
  const last = target.slice(target.lastIndexOf('/', end - 1) + 1);
  // What Node lets through in a request's target, but not in a header.
  return `./${last.replace(/[^\x21-\x7e]/g, (char) => encodeURIComponent(char))}`;
}
