import { request as httpRequest } from 'node:http';

/** A cookie in the jar. */
export interface JarCookie {
  readonly name: string;
  readonly value: string;
  readonly path: string;
  readonly domain: string;
  readonly expiresAt: number;
  /** The attributes of the `Set-Cookie` line, with lower-case names. */
  readonly attributes: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed JSON, or text, or undefined for an empty body. */
  readonly body: unknown;
  readonly setCookies: readonly JarCookie[];
}

export interface Init {
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
  /** Does not change the jar, as if the response were lost. */
  readonly loseResponse?: boolean;
  /** Base URL of another process of the same application, as if a load balancer had chosen it. */
  readonly at?: string;
  /** Whether to follow a redirect with the cookies of that time, as browsers do. @default true */
  readonly follows?: boolean;
}

/** A response as received. */
interface Received {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** The largest number of redirects that Chromium follows. */
const MAX_REDIRECTS = 20;

/**
 * A client with a cookie jar over real HTTP. It keeps cookies as a browser does (paths, expiry, replacement). It sends the
 * headers of a browser on plain http, and follows redirects with the cookies that it has then.
 */
export class Browser {
  private jar: JarCookie[] = [];
  private knowsPartitioned = true;

  constructor(readonly url: string) {}

  get cookies(): readonly JarCookie[] {
    return this.jar.filter(({ expiresAt }) => expiresAt > Date.now());
  }

  /** The cookie with this name, without prefix. */
  cookie(name: string): JarCookie | undefined {
    return this.cookies.find(
      (cookie) => cookie.name.replace(/^__(Host-Http|Host|Http|Secure)-/, '') === name,
    );
  }

  /** Another browser with a copy of this one's cookies, such as a thief's. */
  copy(): Browser {
    const thief = new Browser(this.url);
    thief.jar = [...this.jar];
    return thief;
  }

  /** Makes the client a browser that does not know the attribute `Partitioned`. */
  ignorePartitioned(): void {
    this.knowsPartitioned = false;
  }

  set(received: JarCookie): void {
    const { partitioned: _partitioned, ...known } = received.attributes;
    const cookie = this.knowsPartitioned ? received : { ...received, attributes: known };
    if (!isAcceptable(cookie)) return;
    this.jar = this.jar.filter((each) => !isSame(each, cookie));
    if (cookie.expiresAt > Date.now()) this.jar.push(cookie);
  }

  /** Keeps the cookie of a Set-Cookie line. */
  receive(line: string): void {
    this.set(parseSetCookie(line));
  }

  /** Makes the client keep expired cookies: its clock is wrong, or it is not a browser. */
  keepExpired(): void {
    this.jar = this.jar.map((cookie) => ({ ...cookie, expiresAt: Number.POSITIVE_INFINITY }));
  }

  delete(name: string): void {
    this.jar = this.jar.filter(
      (cookie) => cookie.name.replace(/^__(Host-Http|Host|Http|Secure)-/, '') !== name,
    );
  }

  cookieHeader(path: string): string {
    return this.cookies
      .filter((cookie) => path === cookie.path || path.startsWith(cookie.path.replace(/\/?$/, '/')))
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ');
  }

  async request(method: string, path: string, init: Init = {}): Promise<Answer> {
    let cookie = init.headers?.['cookie'] ?? this.cookieHeader(path.split('?')[0]!);
    for (let redirects = 0; ; redirects++) {
      const received = await this.send(method, path, cookie, init);
      const { status, headers, text } = received;
      const isFollowed = status === 307 && init.follows !== false && redirects < MAX_REDIRECTS;
      const setCookies = headers.getSetCookie().map(parseSetCookie);
      if (isFollowed || !init.loseResponse) setCookies.forEach((each) => this.set(each));
      if (!isFollowed) {
        const isJson = headers.get('content-type')?.includes('json') ?? false;
        return {
          status,
          headers,
          body: text === '' ? undefined : isJson ? JSON.parse(text) : text,
          setCookies,
        };
      }
      const next = new URL(headers.get('location')!, this.url + path);
      path = next.pathname + next.search;
      cookie = this.cookieHeader(next.pathname);
    }
  }

  private async send(method: string, path: string, cookie: string, init: Init): Promise<Received> {
    const body = init.body === undefined ? undefined : JSON.stringify(init.body);
    const headers = {
      'user-agent': 'Mozilla/5.0 (test)',
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }),
      ...init.headers,
      ...(cookie !== '' && { cookie }),
    };
    return new Promise((resolve, reject) => {
      const outgoing = httpRequest((init.at ?? this.url) + path, { method, headers }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        answer.once('error', reject);
        answer.once('end', () => {
          const received = new Headers();
          for (const [name, values] of Object.entries(answer.headersDistinct)) {
            for (const value of values ?? []) received.append(name, value);
          }
          resolve({ status: answer.statusCode!, headers: received, text });
        });
      });
      outgoing.once('error', reject);
      outgoing.end(body);
    });
  }

  async get(path: string, init?: Init): Promise<Answer> {
    return this.request('GET', path, init);
  }

  async post(path: string, body?: unknown, init?: Init): Promise<Answer> {
    return this.request('POST', path, { ...init, ...(body !== undefined && { body }) });
  }
}

export function parseSetCookie(line: string): JarCookie {
  const [pair, ...rest] = line.split(';').map((part) => part.trim());
  const equals = pair!.indexOf('=');
  const attributes: Record<string, string> = {};
  for (const part of rest) {
    const [name, ...value] = part.split('=');
    attributes[name!.toLowerCase()] = value.join('=');
  }
  const maxAge = attributes['max-age'];
  const expires = attributes['expires'];
  return {
    name: pair!.slice(0, equals),
    value: pair!.slice(equals + 1),
    path: attributes['path'] ?? '/',
    domain: attributes['domain'] ?? '',
    expiresAt:
      maxAge !== undefined
        ? Date.now() + Number(maxAge) * 1_000
        : expires !== undefined
          ? Date.parse(expires)
          : Number.POSITIVE_INFINITY,
    attributes,
  };
}

/** Whether a cookie meets the conditions of its name prefix (RFC 6265bis, 4.1.3). */
function isAcceptable({ name, attributes }: JarCookie): boolean {
  if (/^__host-/i.test(name) && (attributes['path'] !== '/' || 'domain' in attributes)) return false;
  if (/^__(host-)?http-/i.test(name) && !('httponly' in attributes)) return false;
  return !/^__(host|secure|http)-/i.test(name) || 'secure' in attributes;
}

function isSame(a: JarCookie, b: JarCookie): boolean {
  const isPartitioned = (cookie: JarCookie) => 'partitioned' in cookie.attributes;
  return (
    a.name === b.name && a.path === b.path && a.domain === b.domain && isPartitioned(a) === isPartitioned(b)
  );
}
