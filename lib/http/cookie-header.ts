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
 * Every value that a `Cookie` header has for a name. A browser sends several when it holds the cookie for several
 * domains or paths; parsers that keep one of them keep an arbitrary one.
 */
export function cookieValues(header: string | undefined, name: string): string[] {
  const values: string[] = [];
  if (header === undefined) return values;
  for (let start = 0; start < header.length;) {
    const semicolon = header.indexOf(';', start);
    const end = semicolon === -1 ? header.length : semicolon;
    while (isSpace(header, start)) start++;
    // Other cookies may be many and long: of them, nothing is copied.
    if (header.startsWith(name, start)) {
      let at = start + name.length;
      while (isSpace(header, at)) at++;
      if (header[at] === '=') {
        const value = header.slice(at + 1, end).trim();
        if (value !== '') values.push(value);
      }
    }
    start = end + 1;
  }
  return values;
}

function isSpace(text: string, at: number): boolean {
  return text[at] === ' ' || text[at] === '\t';
}

/** One `Set-Cookie` line. The value is one of our tokens, whose characters need no encoding. */
export function setCookieLine(
  name: string,
  value: string,
  maxAge: number,
  attributes: CookieAttributes,
): string {
  const { path, domain, httpOnly, secure, sameSite, partitioned } = attributes;
  let line = `${name}=${value}; Max-Age=${maxAge}; Path=${path}`;
  if (domain !== undefined) line += `; Domain=${domain}`;
  if (maxAge === 0) line += '; Expires=Thu, 01 Jan 1970 00:00:00 GMT';
  if (httpOnly) line += '; HttpOnly';
  if (secure) line += '; Secure';
  line += `; SameSite=${sameSite[0]!.toUpperCase()}${sameSite.slice(1)}`;
  if (partitioned) line += '; Partitioned';
  return line;
}

/** `Set-Cookie` lines with new ones added; one that sets the same cookie (name, domain, path) again replaces the old. */
export function mergeSetCookieLines(present: readonly string[], added: readonly string[]): string[] {
  if (present.length === 0) return [...added];
  const replaced = new Set(added.map(identity));
  return [...present.filter((line) => !replaced.has(identity(line))), ...added];
}

function identity(line: string): string {
  const attribute = (name: string) => new RegExp(`;\\s*${name}=([^;]*)`, 'i').exec(line)?.[1]?.trim() ?? '';
  return [line.slice(0, line.indexOf('=')).trim(), attribute('domain').toLowerCase(), attribute('path')].join(
    ';',
  );
}
