import type { Login } from '../servers/peers/support/login.js';

/** An answer, with what its headers weigh. */
export interface Answer {
  readonly status: number;
  readonly setCookies: readonly string[];
  /** Other headers that carry parts of a session, by name. */
  readonly otherHeaders: ReadonlyMap<string, string>;
  /** `{ token }` of a JSON body, for clients without cookies. */
  readonly token: string | undefined;
}

interface Cookie {
  readonly value: string;
  readonly path: string;
}

/**
 * A browser behind a proxy that ends TLS: keeps cookies with their paths, and a bearer token where one is given. Slower than
 * the load generator's client, but it can be copied, as a thief does, and refused.
 */
export class Browser {
  private readonly cookies = new Map<string, Cookie>();
  private token: string | undefined;

  constructor(
    private readonly port: number,
    readonly userId: string,
  ) {}

  /** Another browser with the same credentials. @param port of the server that it asks */
  copy(port = this.port): Browser {
    const copy = new Browser(port, this.userId);
    for (const [name, cookie] of this.cookies) copy.cookies.set(name, cookie);
    copy.token = this.token;
    return copy;
  }

  /** The headers with the credentials that go with requests to this path. */
  headersFor(path: string): Record<string, string> {
    const sent = [...this.cookies]
      // Where a refresh token has the path of its own route, that route is `/renew` here.
      .filter(([, cookie]) => cookie.path === '/' || path === '/renew')
      .map(([name, { value }]) => `${name}=${value}`);
    return {
      ...(sent.length > 0 && { cookie: sent.join('; ') }),
      ...(this.token !== undefined && { authorization: `Bearer ${this.token}` }),
    };
  }

  async login(claims: object): Promise<Answer> {
    const body: Login = { userId: this.userId, claims: { ...claims } };
    return this.expectSuccess(await this.send('POST', '/login', body));
  }

  async me(): Promise<Answer> {
    return this.send('GET', '/me');
  }

  async renew(): Promise<Answer> {
    return this.send('POST', '/renew');
  }

  async logout(): Promise<Answer> {
    return this.expectSuccess(await this.send('POST', '/logout'));
  }

  private async send(method: string, path: string, body?: object, redirects = 5): Promise<Answer> {
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      method,
      redirect: 'manual',
      headers: {
        'x-forwarded-proto': 'https',
        'sec-fetch-site': 'same-origin',
        ...(body && { 'content-type': 'application/json' }),
        ...this.headersFor(path),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const setCookies = response.headers.getSetCookie();
    for (const line of setCookies) this.keep(line);
    // To the same URL, with the cookies that it has now.
    if (response.status === 307 && redirects > 0) return this.send(method, path, body, redirects - 1);
    const token = /^\{"token":"([^"]+)"/.exec(text)?.[1];
    if (token !== undefined) this.token = token;
    const otherHeaders = new Map([...response.headers].filter(([name]) => /token|csrf|session/.test(name)));
    return { status: response.status, setCookies, otherHeaders, token };
  }

  private keep(line: string): void {
    const [pair = '', ...attributes] = line.split('; ');
    const equals = pair.indexOf('=');
    const [name, value] = [pair.slice(0, equals), pair.slice(equals + 1)];
    const path = attributes.find((attribute) => /^path=/i.test(attribute))?.slice('path='.length) ?? '/';
    if (value === '') this.cookies.delete(name);
    else this.cookies.set(name, { value, path });
  }

  private expectSuccess(answer: Answer): Answer {
    if (!isSuccess(answer)) throw new Error(`${this.userId} was answered ${answer.status}.`);
    return answer;
  }
}

export function isSuccess({ status }: Answer): boolean {
  return status >= 200 && status < 300;
}
