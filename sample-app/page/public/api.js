// All requests of the page. The tokens are in HttpOnly cookies: no script sees them, and the browser sends them by itself.

/** An answer that is not a success. `code` is the stable name of what went wrong. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** Whether it says that nobody is signed in here (any more). */
  get meansSignedOut() {
    return ['no_credentials', 'session_over', 'token_theft'].includes(this.code);
  }
}

const CSRF_HEADER = 'anti-csrf';
const CSRF_STORE = 'anti-csrf';

/** Sends a request; in endpoint mode, refreshes and sends it once more where the server asks for that. */
export async function call(method, path, body) {
  try {
    return await send(method, path, body);
  } catch (error) {
    if (error.code !== 'try_refresh') throw error;
    await refresh();
    return send(method, path, body);
  }
}

let refreshing;

/** One refresh serves all requests that wait for one. */
async function refresh() {
  refreshing ??= send('POST', '/auth/refresh').finally(() => {
    refreshing = undefined;
  });
  return refreshing;
}

async function send(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: {
      // CSRF=token wants the token of this session, CSRF=header any value; the other modes do not look at it.
      [CSRF_HEADER]: localStorage.getItem(CSRF_STORE) ?? '1',
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  }).catch(() => {
    throw new ApiError(0, 'unreachable', 'The server cannot be reached.');
  });
  compareClocks(response);
  const csrfToken = response.headers.get(CSRF_HEADER);
  if (csrfToken !== null) localStorage.setItem(CSRF_STORE, csrfToken);

  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') ?? false;
  const answer = isJson && text !== '' ? JSON.parse(text) : undefined;
  if (!response.ok) {
    throw new ApiError(
      response.status,
      answer?.code,
      answer?.message ?? `The server answered ${response.status}.`,
    );
  }
  return answer;
}

/** What the readable indicator cookie tells: two times in epoch milliseconds, or nothing where nobody is signed in. */
export function sessionTimes() {
  const match = /(?:^|; )(?:__Host-|__Secure-)?session_info=(\d+)\.(\d+)/.exec(document.cookie);
  return match ? { accessUntil: match[1] * 1000, sessionUntil: match[2] * 1000 } : undefined;
}

let skew = 0;

/** The server's time. This device's clock may be wrong, and a countdown by it as well. */
export const serverNow = () => Date.now() + skew;

/** The `Date` header has whole seconds: a small difference says nothing. */
function compareClocks(response) {
  const difference = Date.parse(response.headers.get('date')) - Date.now();
  skew = Math.abs(difference) > 3_000 ? difference : 0;
}
