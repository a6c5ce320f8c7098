import { ForwardError } from './forward-error.js';
import { type CookieNames, PageCookies } from './page-cookies.js';
import { copyOf, headersOfCall, type PageHeaders, USED_UNTIL } from './page-headers.js';
import { checkPageOrigin } from './page-origin.js';

/** How a page's session is forwarded. */
export interface ForwardOptions {
  /** URL of the API, with its path if it has one: `https://api.example.com`, `http://localhost:3000/api`. Only its origin gets cookies. */
  baseUrl: string | URL;
  /**
   * Whether nothing can be handed back to the browser, as in a server component. Calls then carry no refresh token, so that
   * nothing is exchanged that would be lost. If the access token has expired, the API answers `try_refresh`. @default false
   */
  readOnly?: boolean;
  /** Names of the session's cookies, if the module's option `cookies` changes them: the same object fits. */
  cookies?: {
    accessName?: string;
    refreshName?: string;
    lookAgainName?: string;
    indicatorName?: string | false;
  };
  /** Full names of further cookies that the API gets. @default none */
  passOn?: readonly string[];
  /** The module's option `reuseWindow`, in seconds. Needed where that is shorter than its default. @default 90 */
  reuseWindow?: number;
  /** Name of the CSRF header, if the page's request has it. @default 'anti-csrf' */
  csrfHeader?: string;
  /** Other origins whose pages may have calls sent that change something. @default none */
  trustedOrigins?: readonly string[];
  /**
   * Whether the API is told the browser's `User-Agent` and `X-Forwarded-For`, so that the list of devices is right. It believes
   * the address only if it trusts this server as a proxy. @default true
   */
  device?: boolean;
  /** The address of the page request's socket. It is added to `X-Forwarded-For`, as a proxy does. @default nothing is added */
  address?: string;
  /** @default the global `fetch` */
  fetch?: (input: string | URL | Request, init?: RequestInit) => Promise<Response>;
}

/** For how long a call waits for another one that renews the cookies, in milliseconds. */
const PATIENCE = 3_000;

/** How soon an access token ends that {@link ForwardedSession.renew} renews, in milliseconds. A page is rendered in that time. */
const SOON = 30_000;

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/**
 * Makes the calls of one page with the cookies of its request.
 *
 * @param headers of the request of the page
 * @throws {@link ForwardError} `invalid_option`
 * @example
 * ```ts
 * const session = forwardSession(request.headers, { baseUrl: 'http://localhost:3000' });
 * const [me, orders] = await Promise.all([session.fetch('/me'), session.fetch('/orders')]);
 * const response = new Response(render(await me.json(), await orders.json()));
 * session.applyTo(response.headers);
 * ```
 */
export function forwardSession(headers: PageHeaders, options: ForwardOptions): ForwardedSession {
  return new ForwardedSession(copyOf(headers), options);
}

/** The session of one page's request, for as long as the page is rendered. Made by {@link forwardSession}. */
export class ForwardedSession {
  readonly #page: Headers;
  readonly #options: ForwardOptions;
  readonly #base: URL;
  readonly #cookies: PageCookies;
  readonly #reuseWindow: number;
  /** Ends when the response to the call that may renew the cookies is there. */
  #renewal: Promise<void> | undefined;

  /** @internal */
  constructor(page: Headers, options: ForwardOptions) {
    this.#page = page;
    this.#options = options;
    this.#base = baseOf(options.baseUrl);
    this.#reuseWindow = windowOf(options.reuseWindow);
    const until = Number(page.get(USED_UNTIL) ?? Number.NaN);
    this.#cookies = new PageCookies(page.get('cookie'), {
      names: namesOf(options.cookies),
      passedOn: options.passOn ?? [],
      isReadOnly: options.readOnly ?? false,
      reuseWindow: this.#reuseWindow,
      ownUntil: Number.isNaN(until) ? Number.POSITIVE_INFINITY : until,
    });
  }

  /**
   * Calls the API. If the access token has expired, one call goes first, and the others wait until its response has brought the
   * new cookies (3 seconds at most).
   *
   * Redirects are not followed: the response is the redirect itself.
   *
   * @param input a path of the API, or an absolute URL with its origin
   * @param init the options of `fetch`, also those of a framework. `Cookie`, `Origin`, `Host` and `Sec-Fetch-*` among its headers
   *   are left out
   * @throws {@link ForwardError} `foreign_url`; `csrf_failed` when a page of another origin may have sent the page's request, and
   *   the method of the call is not a safe one
   */
  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const isRequest = typeof input === 'object' && 'headers' in input;
    const url = this.#urlOf(isRequest ? input.url : input);
    const method = init.method ?? (isRequest ? input.method : 'GET');
    if (!SAFE_METHODS.has(method.toUpperCase())) {
      checkPageOrigin(this.#page, new Set(this.#options.trustedOrigins));
    }
    const headers = headersOfCall(init.headers ?? (isRequest ? input.headers : undefined));
    return this.#send(isRequest ? input : url, init, headers);
  };

  /**
   * Refreshes the session by the API's refresh route if the access token has expired, or ends within 30 seconds. For middleware
   * in front of pages that cannot set cookies.
   *
   * @param refreshPath the module's `refreshPath`
   * @returns whether there was something to renew
   */
  async renew(refreshPath: string): Promise<boolean> {
    const now = Date.now();
    if (!this.#cookies.endsBefore(now + SOON, now)) return false;
    // A refresh does nothing that a page of another site could want.
    const response = await this.#send(this.#urlOf(refreshPath), { method: 'POST' }, new Headers());
    await response.body?.cancel();
    return true;
  }

  /** Whether the access token has expired, and the page's request has something to renew it with. */
  get isExpired(): boolean {
    const now = Date.now();
    return this.#cookies.endsBefore(now, now);
  }

  /**
   * Whether the API has told the browser to look again: the page's request was made with cookies that the browser has replaced
   * by newer ones since, or that somebody else has used. Answer it with {@link lookAgainResponse}.
   */
  get looksAgain(): boolean {
    return this.#cookies.looksAgain;
  }

  /**
   * The response that makes the browser repeat the page's request with the cookies that it has by then: a redirect (307) to the
   * same URL. It comes after 2 seconds (a 45th of the reuse window), as the newer cookies may still be on their way.
   *
   * @param url of the page's request; only its path and query are used
   */
  async lookAgainResponse(url: string | URL): Promise<Response> {
    await new Promise((resolve) => setTimeout(resolve, this.#reuseWindow / 45));
    const headers = new Headers({ location: sameUrl(new URL(url, 'http://localhost')) });
    this.applyTo(headers);
    return new Response(null, { status: 307, headers });
  }

  /**
   * The `Set-Cookie` lines that the browser must get with the response, as the API has sent them. Ask for them when the headers
   * of the response leave: renewed cookies are left out after 10 seconds (a ninth of the reuse window), because the browser may
   * have newer ones by then.
   */
  cookies(): string[] {
    return this.#cookies.lines(Date.now());
  }

  /** Adds {@link cookies} to the headers of a response. If there are any, the response must not be stored by caches. */
  applyTo(headers: Headers): void {
    const lines = this.cookies();
    for (const line of lines) headers.append('set-cookie', line);
    if (lines.length > 0) headers.set('cache-control', 'private, no-store');
  }

  /** The headers of the page's request, as if it had come with the cookies of now: for what is behind a middleware. */
  requestHeaders(): Headers {
    const now = Date.now();
    const headers = new Headers(this.#page);
    headers.set('cookie', this.#cookies.forPage(now));
    const until = this.#cookies.usedUntil(now);
    if (Number.isFinite(until)) headers.set(USED_UNTIL, String(until));
    else headers.delete(USED_UNTIL);
    return headers;
  }

  async #send(input: URL | Request, init: RequestInit, headers: Headers): Promise<Response> {
    const { fetch = globalThis.fetch } = this.#options;
    const done = await this.#waitForTurn();
    try {
      const sentAt = Date.now();
      this.#describe(headers, sentAt);
      // A redirect must not be followed with the same cookies: "look again" would be a theft.
      const response = await fetch(input, { ...init, headers, redirect: 'manual' });
      this.#cookies.take(response.headers.getSetCookie(), response.status, sentAt);
      return response;
    } finally {
      done?.();
    }
  }

  /** @returns what to call afterwards if this call is the one that goes first */
  async #waitForTurn(): Promise<(() => void) | undefined> {
    const deadline = performance.now() + PATIENCE;
    while (this.isExpired && !this.#options.readOnly) {
      if (!this.#renewal) return this.#goFirst();
      if (!(await endsWithin(this.#renewal, deadline - performance.now()))) return undefined;
    }
    return undefined;
  }

  #goFirst(): () => void {
    let end!: () => void;
    this.#renewal = new Promise((resolve) => {
      end = resolve;
    });
    return () => {
      this.#renewal = undefined;
      end();
    };
  }

  #describe(headers: Headers, now: number): void {
    const { csrfHeader = 'anti-csrf', device = true, address } = this.#options;
    const cookie = this.#cookies.forApi(now);
    if (cookie !== '') headers.set('cookie', cookie);
    // Says that this is no browser, in runtimes whose fetch does not. Otherwise the API would redirect instead of answering.
    headers.set('sec-fetch-mode', 'cors');
    const passOn = (name: string, value = this.#page.get(name)) => {
      if (value !== null && !headers.has(name)) headers.set(name, value);
    };
    passOn(csrfHeader);
    if (!device) return;
    passOn('user-agent');
    const forwarded = [this.#page.get('x-forwarded-for'), address].filter(Boolean).join(', ');
    passOn('x-forwarded-for', forwarded === '' ? null : forwarded);
  }

  #urlOf(input: string | URL): URL {
    const text = String(input);
    const isAbsolute = /^[a-z][a-z\d+.-]*:/i.test(text);
    const base = this.#base.href.replace(/\/*$/, '/');
    // A path that begins with "//" is one of the API, too.
    const url = isAbsolute ? new URL(text) : new URL(base + text.replace(/^\//, ''));
    if (url.origin === this.#base.origin) return url;
    throw new ForwardError(
      'foreign_url',
      `${url.origin} is not the origin of baseUrl, and does not get the cookies of its session. Call it with fetch().`,
    );
  }
}

/** @returns whether a promise ends within some milliseconds */
async function endsWithin(promise: Promise<void>, time: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const isOver = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), time);
  });
  try {
    return await Promise.race([promise.then(() => true), isOver]);
  } finally {
    clearTimeout(timer);
  }
}

function namesOf(input: ForwardOptions['cookies'] = {}): CookieNames {
  const { accessName = 'session_access', refreshName = 'session_refresh' } = input;
  const { lookAgainName = 'session_look_again', indicatorName } = input;
  return { accessName, refreshName, lookAgainName, indicatorName: indicatorName || undefined };
}

function baseOf(input: string | URL): URL {
  const url = URL.canParse(String(input)) ? new URL(input) : undefined;
  if (url && /^https?:$/.test(url.protocol) && url.search === '' && url.hash === '') return url;
  throw new ForwardError(
    'invalid_option',
    'baseUrl must be the absolute http(s) URL of the API, such as "http://localhost:3000", without query.',
  );
}

/** @returns milliseconds */
function windowOf(seconds = 90): number {
  if (Number.isFinite(seconds) && seconds >= 0) return seconds * 1_000;
  throw new ForwardError('invalid_option', 'reuseWindow must be a number of seconds: that of the API.');
}

/** A reference to the URL of a request that is right behind a proxy that has changed the path, and leads to no other host. */
function sameUrl({ pathname, search }: URL): string {
  return search === '' ? `./${pathname.slice(pathname.lastIndexOf('/') + 1)}` : search;
}
