export type TokenKind = 'access' | 'refresh';

/** Cookies as somebody keeps them who has stolen them: names and values; paths and domains stop no thief. */
export class CookieJar {
  private readonly cookies = new Map<string, string>();

  constructor(cookieHeader = '') {
    for (const pair of cookieHeader.split('; ')) this.set(pair);
  }

  /** Takes over what `Set-Cookie` lines say. */
  store(setCookieLines: readonly string[]): void {
    for (const line of setCookieLines) {
      const [pair = '', ...attributes] = line.split('; ');
      if (attributes.includes('Max-Age=0')) this.cookies.delete(pair.slice(0, pair.indexOf('=')));
      else this.set(pair);
    }
  }

  /** As a `Cookie` header. */
  toString(): string {
    return [...this.cookies].map((pair) => pair.join('=')).join('; ');
  }

  /** The full name of the cookie with this token: it begins with `__Host-Http-` or `__Secure-` where cookies are secure. */
  nameOf(kind: TokenKind): string | undefined {
    return [...this.cookies.keys()].find((name) => name.endsWith(`session_${kind}`));
  }

  token(kind: TokenKind): string | undefined {
    const name = this.nameOf(kind);
    return name && this.cookies.get(name);
  }

  drop(kind: TokenKind): void {
    const name = this.nameOf(kind);
    if (name) this.cookies.delete(name);
  }

  private set(pair: string): void {
    const equals = pair.indexOf('=');
    if (equals > 0) this.cookies.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
}
