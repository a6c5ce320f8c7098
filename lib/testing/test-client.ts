import { inspect, type InspectOptions } from 'node:util';
import type { SessionInfo } from '../session/session.types.js';

/** What a {@link TestClient} holds. */
export interface ClientParts {
  readonly session: SessionInfo;
  readonly setCookies: readonly string[];
  /** What its requests carry beside cookies. */
  readonly otherHeaders: Readonly<Record<string, string>>;
  readonly csrfToken: string;
  readonly accessToken: string;
  readonly refreshToken: string | undefined;
  readonly newest: TestClient | undefined;
}

/**
 * A client with the tokens of a session, for the requests of a test. It does not change: what responses set, it does not keep.
 * You can inspect it, because its tokens are private.
 */
export class TestClient {
  readonly #parts: ClientParts;

  constructor(parts: ClientParts) {
    this.#parts = parts;
  }

  /** The session. Of an impersonation, that of the user as whom somebody acts. */
  get session(): SessionInfo {
    return this.#parts.session;
  }

  /**
   * The headers of a request with the client's cookies, and in the CSRF modes `token` and `header` with that header; in a module
   * with `transport: 'header'`, those with its tokens:
   * `request(server).get('/me').set(client.headers)`, `app.inject({ url: '/me', headers: client.headers })`,
   * `fetch(url, { headers: client.headers })`.
   */
  get headers(): Record<string, string> {
    const { cookie } = this;
    return { ...(cookie !== '' && { cookie }), ...this.#parts.otherHeaders };
  }

  /** The headers of a request with the access token, for a client without cookies. It has no refresh token then. */
  get bearer(): Record<string, string> {
    return { authorization: `Bearer ${this.#parts.accessToken}` };
  }

  /** The `Cookie` header. */
  get cookie(): string {
    return Object.entries(this.cookies)
      .map(([name, value]) => `${name}=${value}`)
      .join('; ');
  }

  /** The cookies: values by names. */
  get cookies(): Record<string, string> {
    return Object.fromEntries(
      this.#parts.setCookies.map((line) => {
        const pair = line.split(';')[0]!;
        const equals = pair.indexOf('=');
        return [pair.slice(0, equals), pair.slice(equals + 1)];
      }),
    );
  }

  /** The cookies as `Set-Cookie` lines, for a client with a jar: `agent.jar.setCookies(client.setCookies, '127.0.0.1', '/')`. */
  get setCookies(): string[] {
    return [...this.#parts.setCookies];
  }

  get accessToken(): string {
    return this.#parts.accessToken;
  }

  /** `undefined` if somebody acts as the user: there is none then. */
  get refreshToken(): string | undefined {
    return this.#parts.refreshToken;
  }

  /** For CSRF mode `token`. It is in {@link headers}, too. */
  get csrfToken(): string {
    return this.#parts.csrfToken;
  }

  /** The other party, with the newest tokens of the session, if this client is `stale` or `stolen`. */
  get newest(): TestClient | undefined {
    return this.#parts.newest;
  }

  toJSON(): object {
    return { session: this.session };
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `TestClient ${inspect(this.toJSON(), options)}`;
  }
}
