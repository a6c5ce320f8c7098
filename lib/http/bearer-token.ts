/** The token of an `Authorization: Bearer` header (RFC 6750, 2.1), by which clients without cookies authenticate. */
export function bearerToken(authorization: string | undefined): string | undefined {
  if (authorization === undefined || !/^bearer /i.test(authorization)) return undefined;
  return authorization.slice('bearer '.length).trim();
}
