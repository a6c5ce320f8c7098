import { expect } from 'vitest';
import { type Answer, Browser, type Init } from '../support/browser.js';

/**
 * A client that keeps its tokens itself, and has no cookies. It calls itself a browser, so that nothing here depends on what
 * clients call themselves.
 */
export class HeaderClient {
  access: string | undefined;
  refresh: string | undefined;
  readonly #http: Browser;

  constructor(readonly url: string) {
    this.#http = new Browser(url);
  }

  /** The headers with its tokens. */
  get tokens(): Record<string, string> {
    return {
      ...(this.access !== undefined && { authorization: `Bearer ${this.access}` }),
      ...(this.refresh !== undefined && { 'refresh-token': this.refresh }),
    };
  }

  /** Another client with a copy of this one's tokens, such as a thief's. */
  copy(): HeaderClient {
    return Object.assign(new HeaderClient(this.url), { access: this.access, refresh: this.refresh });
  }

  async signIn(input: object = { userId: 'alice' }, init: Init = {}): Promise<Answer> {
    const headers = { ...init.headers, 'session-transport': 'header' };
    const answer = await this.post('/login', input, { ...init, headers });
    expect(answer).toMatchObject({ status: 200, setCookies: [] });
    return answer;
  }

  /** Sends its tokens, and keeps those of the response. A header with the value '' is not sent. */
  async request(method: string, path: string, init: Init = {}): Promise<Answer> {
    const headers = Object.fromEntries(
      Object.entries({ ...this.tokens, ...init.headers }).filter(([, value]) => value !== ''),
    );
    const answer = await this.#http.request(method, path, { ...init, headers });
    if (!init.loseResponse) {
      this.access = answer.headers.get('access-token') ?? this.access;
      this.refresh = answer.headers.get('refresh-token') ?? this.refresh;
    }
    return answer;
  }

  async get(path: string, init?: Init): Promise<Answer> {
    return this.request('GET', path, init);
  }

  async post(path: string, body?: unknown, init?: Init): Promise<Answer> {
    return this.request('POST', path, { ...init, ...(body !== undefined && { body }) });
  }

  /** Looks again: repeats a request with the tokens that it has now, and with what the answer says. */
  async lookAgain(answer: Answer, method: string, path: string): Promise<Answer> {
    expect(answer).toMatchObject({ status: 401, body: { code: 'look_again' } });
    const named = answer.headers.get('look-again')!;
    expect(named).toMatch(/^[0-9a-f]{16}(, [0-9a-f]{16})*$/);
    return this.request(method, path, { headers: { 'look-again': named } });
  }
}

/** Names of the headers with tokens that an answer has. */
export function tokenHeaders({ headers }: Answer): string[] {
  return ['access-token', 'look-again', 'refresh-token', 'set-cookie'].filter((name) => headers.has(name));
}
