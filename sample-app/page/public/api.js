// All requests of the page. The tokens are in HttpOnly cookies: no script sees them, and the browser sends them by itself.

/** Longer than the server ever takes. Without a limit, a request on a dead network would wait for minutes. */
const TIMEOUT_MS = 20_000;

/** An answer that is not a success, or none. `code` is the stable name of what went wrong. */
export class ApiError extends Error {
  constructor(message, { status = 0, code, reason, retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { status, code, reason, retryAfter });
  }

  /** Whether it says that nobody is signed in here (any more). */
  get meansSignedOut() {
    return ['no_credentials', 'session_over', 'token_theft'].includes(this.code);
  }

  /** Whether the server has refused, so that nothing was done. After any other failure, nobody knows. */
  get isRefusal() {
    return this.status >= 400 && this.status < 500;
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
  const { response, text } = await exchange(path, {
    method,
    headers: {
      // CSRF=token wants the token of this session, CSRF=header any value; the other modes do not look at it.
      [CSRF_HEADER]: localStorage.getItem(CSRF_STORE) ?? '1',
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  compareClocks(response);
  const csrfToken = response.headers.get(CSRF_HEADER);
  if (csrfToken !== null) localStorage.setItem(CSRF_STORE, csrfToken);

  const answer = parse(text);
  if (!response.ok) throw new ApiError(messageOf(response, answer), detailsOf(response, answer));
  // A hotel's network, say, answers everything with its own sign-in page.
  if (text !== '' && answer === undefined) {
    throw new ApiError('Something else than the server answered. Does your network want you to sign in?');
  }
  return answer;
}

/** @returns the response and its whole body: the network may fail before either */
async function exchange(path, init) {
  try {
    const response = await fetch(path, init);
    return { response, text: await response.text() };
  } catch {
    throw new ApiError('No answer came from the server.', { code: 'unreachable' });
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function messageOf({ status }, answer) {
  if (answer?.code === 'csrf_failed') {
    return 'The server refused this, because it could not tell that it came from this page. Reload the page.';
  }
  if (answer?.code === 'too_many_attempts') return 'Too many attempts to sign in have failed.';
  if (status === 429) return 'The server has had too many requests.';
  if (status === 503) return 'The server cannot do this at the moment.';
  if (status >= 500) return `The server had a problem (${status}).`;
  return answer?.message ?? `The server refused this (${status}).`;
}

function detailsOf({ status, headers }, answer) {
  const after = headers.get('retry-after');
  const seconds = /^\d+$/.test(after) ? Number(after) : (Date.parse(after) - serverNow()) / 1_000;
  return {
    status,
    code: answer?.code,
    reason: answer?.reason,
    retryAfter: Math.max(0, Math.ceil(seconds || 0)),
  };
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
