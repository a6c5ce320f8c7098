import { ForwardError } from './forward-error.js';

/** Values of `Sec-Fetch-Site` that a page of another site cannot have its visitor's browser send. */
const OWN_SITE: ReadonlySet<string> = new Set(['same-origin', 'none']);

/**
 * Refuses calls that change something, for a page's request that comes from another origin. The API cannot compare that itself:
 * the call has another `Host`.
 *
 * Browsers send `Origin` with every request that is not `GET` or `HEAD`. A request without it shows a page, also to somebody who
 * has followed a link from another site. What the page calls then is what it always calls.
 *
 * @throws {@link ForwardError} `csrf_failed`
 */
export function checkPageOrigin(page: Headers, trustedOrigins: ReadonlySet<string>): void {
  const origin = page.get('origin');
  if (origin === null || trustedOrigins.has(origin)) return;
  const site = page.get('sec-fetch-site');
  if (site === null ? hostsOf(page).includes(hostOf(origin)) : OWN_SITE.has(site)) return;
  throw new ForwardError(
    'csrf_failed',
    'The page was requested by a page of another origin, so this call is not sent. If that origin is yours, add it to trustedOrigins; behind a proxy, see that it keeps Host or sets X-Forwarded-Host.',
  );
}

/** The hosts that the browser may have asked for: proxies say it in another header. */
function hostsOf(page: Headers): string[] {
  const forwarded = page.get('x-forwarded-host')?.split(',')[0];
  return [forwarded, page.get('host')].flatMap((host) => host?.trim().toLowerCase() ?? []);
}

/** @returns a host that no request has, for an origin that is not of a page (`null`, as sandboxed frames send it) */
function hostOf(origin: string): string {
  try {
    const { protocol, host } = new URL(origin);
    return protocol === 'https:' || protocol === 'http:' ? host : '?';
  } catch {
    return '?';
  }
}
