import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { HttpRequest, SessionService } from 'nestjs-session-tokens';
import { Browser } from '../support/browser.js';

/** A browser whose requests go directly to a service, so that a scheduler can decide on every step. */
export class Client {
  private jar = new Browser('');
  /** The jar before each change, for a browser that is killed before it has written the change to disk. */
  private earlier: { readonly changedAt: number; readonly jar: Browser }[] = [];
  /** How often it has been killed. Nobody gets the response to a request from before a kill. */
  life = 0;
  /** The number of refreshes that led to the tokens in the jar. */
  refreshed = 0;

  /** The request that the browser would send now. It gets no redirect, because it does not look like a browser's. */
  request(): HttpRequest {
    return { method: 'GET', headers: { cookie: this.jar.cookieHeader('/') } };
  }

  /**
   * A response that has arrived.
   *
   * @param refreshed the number of refreshes before the request was sent
   */
  receive(setCookies: readonly string[], refreshed = this.refreshed): void {
    this.earlier.push({ changedAt: Date.now(), jar: this.jar.copy() });
    for (const line of setCookies) this.jar.receive(line);
    if (setCookies.some((line) => /session_refresh=[^;]/.test(line))) {
      this.refreshed = Math.max(this.refreshed, refreshed + 1);
    }
  }

  /** Comes back with the cookies of some time ago, in milliseconds. */
  kill(lost: number): void {
    const first = this.earlier.find(({ changedAt }) => Date.now() - changedAt < lost);
    if (first) this.jar = first.jar;
    this.earlier = [];
    this.life++;
  }

  /** A thief with a copy of the cookies. */
  copy(): Client {
    const copy = new Client();
    copy.jar = this.jar.copy();
    return copy;
  }

  get isSignedIn(): boolean {
    return this.jar.cookie('session_refresh') !== undefined;
  }
}

/** The answer of a service. */
export interface Served {
  /** The error, if it refuses the request. */
  readonly error: unknown;
  /** Sends the headers. @returns the cookies that they still have then */
  readonly leave: () => string[];
}

export async function serve(
  sessions: SessionService,
  request: HttpRequest,
  handle: (response: ServerResponse) => Promise<unknown> = (response) =>
    sessions.authenticate(request, response),
): Promise<Served> {
  // Node's response, without a connection. The module removes the tokens of a late response from its headers.
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
