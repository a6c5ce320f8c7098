/** The end of the session, as the page is told. */
export interface SessionEnd {
  /** `signed_out`: the indicator cookie is gone, because somebody has signed out here or in another tab. */
  code: 'session_over' | 'token_theft' | 'signed_out';
  /** Why it was revoked, or `expired`, as far as the API says it. */
  reason?: string;
  /** `true` if only the impersonation is over. */
  impersonation?: boolean;
}

export interface SessionFetchOptions {
  /** URL of the refresh route, as browsers request it. Requests to its origin are those of the session. */
  refreshPath: string;
  /** Called once when the session has ended. */
  onSessionEnd?: (end: SessionEnd) => void;
  /** The module's option `cookies.indicatorName`. @default nothing is known before a request */
  indicatorName?: string;
  /**
   * `token`: unsafe requests carry the CSRF token that a response has brought. `header`: they carry the header with any value. The
   * same as the module's option `csrf.mode`; for `origin`, leave it as it is. @default 'token'
   */
  csrf?: 'token' | 'header';
  /** The module's option `csrf.header`. @default 'anti-csrf' */
  csrfHeader?: string;
  /** @default the global `fetch` */
  fetch?: (request: Request) => Promise<Response>;
}

/** `fetch` for the requests of a session. Made by {@link createSessionFetch}. */
export interface SessionFetch {
  (input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** Whether somebody is signed in, by the indicator cookie. `undefined` without {@link SessionFetchOptions.indicatorName}. */
  isSignedIn(): boolean | undefined;
  /** When access token and session end, by the indicator cookie: epoch milliseconds. */
  expiresAt(): { accessToken: number; session: number } | undefined;
}

/** What is used of a page. Declared here, because the library is compiled without the types of browsers. */
interface Page {
  readonly location?: { readonly href: string };
  readonly document?: Listenable & { readonly cookie: string };
  readonly cookieStore?: Listenable;
  readonly navigator?: {
    readonly locks?: {
      request<T>(
        name: string,
        options: { ifAvailable?: boolean; mode?: 'shared' },
        call: (lock: object | null) => T | Promise<T>,
      ): Promise<T>;
    };
  };
}

interface Listenable {
  addEventListener(type: string, listener: () => void): void;
}

interface Refusal extends Partial<Omit<SessionEnd, 'code'>> {
  readonly code?: string;
}

/** How long a response that says why may take after the cookie is gone, in milliseconds. */
const PATIENCE = 500;

/**
 * Makes a `fetch` that refreshes the session when the API says so, once for all requests of all tabs, and then repeats the
 * request. If the refresh is refused, the response is that of the refresh route. An error of the network is one of the request; it
 * says nothing about the session.
 *
 * @example
 * ```ts
 * export const sessionFetch = createSessionFetch({
 *   refreshPath: '/auth/refresh',
 *   onSessionEnd: ({ reason }) => location.assign(`/sign-in?reason=${reason}`),
 * });
 * ```
 */
export function createSessionFetch({
  refreshPath,
  onSessionEnd,
  indicatorName,
  csrf = 'token',
  csrfHeader = 'anti-csrf',
  fetch = (request) => globalThis.fetch(request),
}: SessionFetchOptions): SessionFetch {
  const { location, document, cookieStore, navigator } = globalThis as unknown as Page;
  const refreshUrl = new URL(refreshPath, location?.href);
  let csrfToken = csrf === 'header' ? '1' : undefined;
  let flight: Promise<Response | undefined> | undefined;
  let refreshes = 0;
  let hasEnded = false;
  let trustsClock = true;

  const indicator = () =>
    document?.cookie
      .split('; ')
      .find((each) => each.replace(/^__(Host|Secure)-/, '').startsWith(`${indicatorName}=`))
      ?.split('=')[1];
  let seen = indicator();

  const expiresAt = () => {
    const [accessToken, session] = (indicator() ?? '').split('.').map((seconds) => Number(seconds) * 1_000);
    return session ? { accessToken: accessToken!, session } : undefined;
  };
  const isExpired = () => (expiresAt()?.accessToken ?? Infinity) <= Date.now();

  /** Changes when something has happened after which a request may have another answer. */
  const state = () => [refreshes, csrfToken, indicator()].join();

  const end = (as: SessionEnd) => {
    if (!hasEnded) onSessionEnd?.(as);
    hasEnded = true;
  };

  /** Looks at the indicator cookie, which other tabs may have changed. */
  const follow = () => {
    const before = seen;
    seen = indicator();
    if (seen) hasEnded &&= seen === before;
    else if (before) end({ code: 'signed_out' });
  };

  const send = async (request: Request): Promise<[Response, Refusal]> => {
    const response = await fetch(request);
    csrfToken = response.headers.get(csrfHeader) ?? csrfToken;
    const { status } = response;
    const body: unknown =
      status === 401 || status === 403
        ? await response
            .clone()
            .json()
            .catch(() => 0)
        : 0;
    const { code, reason, impersonation } = (body ?? {}) as Refusal;
    if (code === 'session_over' || code === 'token_theft') end({ code, reason, impersonation });
    return [response, { code }];
  };

  /** While another tab refreshes, waits for that instead. */
  const once = async <T>(task: () => Promise<T>): Promise<T | undefined> => {
    const locks = navigator?.locks;
    if (!locks) return task();
    const name = `session ${refreshUrl.href}`;
    let isMine = true;
    const result = await locks.request(name, { ifAvailable: true }, (lock) => {
      if (lock) return task();
      isMine = false;
    });
    if (!isMine) await locks.request(name, { mode: 'shared' }, () => {});
    return result;
  };

  /** @returns the response if it was refused */
  const refresh = async (): Promise<Response | undefined> =>
    (flight ??= once(async () => {
      const [response] = await send(new Request(refreshUrl, { method: 'POST', credentials: 'include' }));
      if (!response.ok) return response;
      refreshes++;
      hasEnded = false;
    }).finally(() => {
      flight = undefined;
    }));

  const sessionFetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, input instanceof Request ? init : { credentials: 'include', ...init });
    if (new URL(request.url).origin !== refreshUrl.origin) return fetch(request);
    const isUnsafe = !/^(GET|HEAD|OPTIONS)$/.test(request.method);
    if (trustsClock && isExpired()) {
      await refresh().catch(() => {});
      trustsClock = !isExpired();
    }
    for (let tries = 0; ; tries++) {
      const before = state();
      // Its body can be sent again.
      const copy = request.clone();
      if (isUnsafe && csrfToken) copy.headers.set(csrfHeader, csrfToken);
      const [response, { code }] = await send(copy);
      // A sign-in is one of these.
      if (isUnsafe && response.ok) hasEnded = false;
      const isDue = code === 'try_refresh' || (code === 'csrf_failed' && csrf === 'token');
      if (!isDue || tries === 2) return response;
      const refusal = state() === before ? await refresh() : undefined;
      if (refusal) return refusal.clone();
    }
  };

  if (indicatorName) {
    for (const [target, type] of [
      [cookieStore, 'change'],
      [document, 'visibilitychange'],
    ] as const) {
      target?.addEventListener(type, () => setTimeout(follow, PATIENCE));
    }
  }
  return Object.assign(sessionFetch, {
    isSignedIn: () => (indicatorName ? indicator() !== undefined : undefined),
    expiresAt,
  });
}
