import { type HttpRequest, requestHeader } from './exchange.js';

/** The token of an `Authorization: Bearer` header (RFC 6750, 2.1), by which clients without cookies authenticate. */
export function bearerToken(request: HttpRequest): string | undefined {
  const value = requestHeader(request, 'authorization');
  if (value === undefined || !/^bearer /i.test(value)) return undefined;
  return value.slice('bearer '.length).trim();
}
