import type { HttpRequest, HttpResponse, SessionService } from 'nestjs-session-tokens';
import { Browser } from '../support/browser.js';

/** A browser whose requests are handed to a service directly, so that a scheduler can decide on every step between. */
export class Client {
  private readonly jar = new Browser('');

  /** What the browser would send now. */
  request(): HttpRequest {
    return { method: 'GET', headers: { cookie: this.jar.cookieHeader('/') } };
  }

  /** A response that has arrived. */
  receive(setCookies: readonly string[]): void {
    for (const line of setCookies) this.jar.receive(line);
  }

  /** Somebody with a copy of the cookies. */
  copy(): Client {
    const copy = new Client();
    for (const cookie of this.jar.cookies) copy.jar.set(cookie);
    return copy;
  }

  get isSignedIn(): boolean {
    return this.jar.cookie('session_refresh') !== undefined;
  }
}

/** What a service answers: the cookies that it sets, and the error that it refuses with. */
export interface Served {
  readonly setCookies: string[];
  readonly error: unknown;
}

export async function serve(
  sessions: SessionService,
  request: HttpRequest,
  handle: (response: HttpResponse) => Promise<unknown> = (response) =>
    sessions.authenticate(request, response),
): Promise<Served> {
  const headers = new Map<string, string | string[]>();
  const response: HttpResponse = {
    headersSent: false,
    getHeader: (name) => headers.get(name),
    setHeader: (name, value) => headers.set(name, value),
  };
  let error: unknown;
  try {
    await handle(response);
  } catch (thrown) {
    error = thrown;
  }
  return { setCookies: [headers.get('set-cookie') ?? []].flat(), error };
}
