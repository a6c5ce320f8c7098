/** Attributes of a cookie; see RFC 6265bis. */
export interface CookieAttributes {
  readonly path: string;
  readonly domain: string | undefined;
  readonly httpOnly: boolean;
  readonly secure: boolean;
  readonly sameSite: 'strict' | 'lax' | 'none';
  readonly partitioned: boolean;
}

/**
 * Every value that a `Cookie` header has for a name. A browser sends several values if it has the cookie for several domains
 * or paths. A usual parser keeps only one of them, and it is not defined which.
 */
export function cookieValues(header: string | undefined, name: string): string[] {
  const values: string[] = [];
  if (header === undefined) return values;
  for (let at = startOfValue(header, name, 0); at !== -1; at = startOfValue(header, name, at)) {
    const value = valueAt(header, at);
    if (value !== '') values.push(value);
  }
  return values;
}

/** The first of these values. Called for every request. */
export function firstCookieValue(header: string | undefined, name: string): string | undefined {
  if (header === undefined) return undefined;
  for (let at = startOfValue(header, name, 0); at !== -1; at = startOfValue(header, name, at)) {
    const value = valueAt(header, at);
    if (value !== '') return value;
  }
  return undefined;
}

/**
 * The start of the next value of a name, or -1. This does not copy or parse other cookies, which may be many and long.
 */
function startOfValue(header: string, name: string, from: number): number {
  for (let at = header.indexOf(name, from); at !== -1; at = header.indexOf(name, at + 1)) {
    let equals = at + name.length;
    while (isSpace(header.charCodeAt(equals))) equals++;
    if (header.charCodeAt(equals) === EQUALS && beginsPair(header, at)) return equals + 1;
  }
  return -1;
}

/** Removes the white space that HTTP knows (RFC 9110, 5.6.3). `trim()` also removes U+00A0, a byte that a header may have. */
export function trimSpaces(text: string, start = 0, end = text.length): string {
  while (start < end && isSpace(text.charCodeAt(start))) start++;
  while (start < end && isSpace(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function valueAt(header: string, at: number): string {
  const semicolon = header.indexOf(';', at);
  const value = trimSpaces(header, at, semicolon === -1 ? header.length : semicolon);
  // Quotes around a value are not part of it (RFC 6265, 4.1.1). Java's HttpCookie sends them.
  const isQuoted =
    value.length >= 2 && value.charCodeAt(0) === QUOTE && value.charCodeAt(value.length - 1) === QUOTE;
  return isQuoted ? value.slice(1, -1) : value;
}

const [EQUALS, SEMICOLON, SPACE, TAB, QUOTE] = ['=', ';', ' ', '\t', '"'].map((char) => char.charCodeAt(0));

function isSpace(code: number): boolean {
  return code === SPACE || code === TAB;
}

/** Whether a name-value pair begins at this place: only white space is between it and the previous pair. */
function beginsPair(header: string, at: number): boolean {
  let before = at - 1;
  while (isSpace(header.charCodeAt(before))) before--;
  return before < 0 || header.charCodeAt(before) === SEMICOLON;
}

/**
 * One `Set-Cookie` line. The value must need no encoding, as is true of tokens.
 *
 * @param maxAge in seconds. Without it, the browser forgets the cookie when it is closed
 */
export function setCookieLine(
  name: string,
  value: string,
  maxAge: number | undefined,
  attributes: CookieAttributes,
): string {
  const { path, domain, httpOnly, secure, sameSite, partitioned } = attributes;
  let line = `${name}=${value}`;
  if (maxAge !== undefined) line += `; Max-Age=${maxAge}`;
  line += `; Path=${path}`;
  if (domain !== undefined) line += `; Domain=${domain}`;
  if (maxAge === 0) line += '; Expires=Thu, 01 Jan 1970 00:00:00 GMT';
  if (httpOnly) line += '; HttpOnly';
  if (secure) line += '; Secure';
  line += `; SameSite=${sameSite[0]!.toUpperCase()}${sameSite.slice(1)}`;
  if (partitioned) line += '; Partitioned';
  return line;
}

/**
 * Adds `Set-Cookie` lines. A new line replaces an old one that sets the same cookie: with the same name, domain and path, both
 * partitioned or neither.
 */
export function mergeSetCookieLines(present: readonly string[], added: readonly string[]): string[] {
  if (present.length === 0) return [...added];
  const replaced = new Set(added.map(identity));
  return [...present.filter((line) => !replaced.has(identity(line))), ...added];
}

/** The name of the cookie that a `Set-Cookie` line sets. */
export function cookieNameOf(line: string): string {
  return line.slice(0, line.indexOf('=')).trim();
}

function identity(line: string): string {
  const attribute = (name: string) => new RegExp(`;\\s*${name}=([^;]*)`, 'i').exec(line)?.[1]?.trim() ?? '';
  const isPartitioned = /;\s*partitioned\s*(?:;|$)/i.test(line);
  return [cookieNameOf(line), attribute('domain').toLowerCase(), attribute('path'), isPartitioned].join(';');
}
