import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { HttpRequest, SessionService } from 'nestjs-session-tokens';
import { Browser } from '../support/browser.js';

/** A browser whose requests are handed to a service directly, so that a scheduler can decide on every step between. */
export class Client {
  private jar = new Browser('');
  /** The jar as it was before each change, for a browser that is killed before it has written that to disk. */
  private earlier: { readonly changedAt: number; readonly jar: Browser }[] = [];
  /** How often it has been killed: what was sent before that is answered to nobody. */
  life = 0;
  /** How many refreshes long the chain is that has led to the tokens in the jar. */
  refreshed = 0;

  /** What the browser would send now. It says of itself nothing that would have it redirected: the suite follows by itself. */
  request(): HttpRequest {
    return { method: 'GET', headers: { cookie: this.jar.cookieHeader('/') } };
  }

  /**
   * A response that has arrived.
   *
   * @param refreshed how long the chain was when the request was sent
   */
  receive(setCookies: readonly string[], refreshed = this.refreshed): void {
    this.earlier.push({ changedAt: Date.now(), jar: this.jar.copy() });
    for (const line of setCookies) this.jar.receive(line);
    if (setCookies.some((line) => /session_refresh=[^;]/.test(line))) {
      this.refreshed = Math.max(this.refreshed, refreshed + 1);
    }
  }

  /** Comes back with the cookies of that long ago, in milliseconds. */
  kill(lost: number): void {
    const first = this.earlier.find(({ changedAt }) => Date.now() - changedAt < lost);
    if (first) this.jar = first.jar;
    this.earlier = [];
    this.life++;
  }

  /** Somebody with a copy of the cookies. */
  copy(): Client {
    const copy = new Client();
    copy.jar = this.jar.copy();
    return copy;
  }

  get isSignedIn(): boolean {
    return this.jar.cookie('session_refresh') !== undefined;
  }
}

/** What a service answers. */
export interface Served {
  /** What it refuses with. */
  readonly error: unknown;
  /** Has the headers leave. @returns the cookies that are still among them then */
  readonly leave: () => string[];
}

export async function serve(
  sessions: SessionService,
  request: HttpRequest,
  handle: (response: ServerResponse) => Promise<unknown> = (response) =>
    sessions.authenticate(request, response),
): Promise<Served> {
  // Node's own, without a connection: what is taken back from a late response is taken from its headers.
  const response = new ServerResponse(new IncomingMessage(new Socket()));
  let error: unknown;
  try {
    await handle(response);
  } catch (thrown) {
    error = thrown;
  }
  return {
    error,
    leave() {
      response.writeHead(error === undefined ? 200 : 401);
      return [response.getHeader('set-cookie') ?? []].flat().map(String);
    },
  };
}
