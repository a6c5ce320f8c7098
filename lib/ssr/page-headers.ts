/** The headers of a page's request: `Headers`, what frameworks have in its place, or those of Node's `IncomingMessage`. */
export type PageHeaders =
  | { get(name: string): string | null; forEach(call: (value: string, name: string) => void): void }
  | { readonly [name: string]: string | string[] | undefined };

/** Headers that speak of one hop or of the page's request, and not of a call to the API. */
const LEFT_OUT =
  /^(?:cookie|host|origin|connection|keep-alive|transfer-encoding|upgrade|content-length|sec-fetch-.*)$/;

/** The header that tells a page behind a middleware, which has renewed the cookies, until when they are used: epoch milliseconds. */
export const USED_UNTIL = 'x-session-used-until';

/** A copy of the headers of a page's request. */
export function copyOf(page: PageHeaders): Headers {
  const copy = new Headers();
  if (isHeaders(page)) {
    page.forEach((value, name) => copy.append(name, value));
    return copy;
  }
  for (const [name, value] of Object.entries(page)) {
    // The pseudo-headers of HTTP/2 are no headers for `Headers`.
    if (value === undefined || name.startsWith(':')) continue;
    for (const each of Array.isArray(value) ? value : [value]) copy.append(name, each);
  }
  return copy;
}

/** The headers of a call without those that must not be the page's, in case all of the page's are given. */
export function headersOfCall(init: ConstructorParameters<typeof Headers>[0]): Headers {
  const headers = new Headers(init);
  const leftOut = [...headers.keys()].filter((name) => LEFT_OUT.test(name));
  for (const name of leftOut) headers.delete(name);
  return headers;
}

function isHeaders(page: PageHeaders): page is Extract<PageHeaders, { forEach: unknown }> {
  return typeof page.get === 'function' && typeof page['forEach'] === 'function';
}
