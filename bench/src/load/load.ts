/** Loads: what the load generator is told to send. All answers are checked; one wrong answer fails the run. */

/**
 * Requests whose bytes are known before, sent in turn over keep-alive connections: each connection sends the next request
 * when it has its answer. The cheapest load there is for the generator.
 */
export interface Requests {
  readonly kind: 'requests';
  /** Connections, spread over the contender's processes. @default 16 */
  readonly connections?: number;
  /** Sent in turn, over and over. */
  readonly requests: readonly FixedRequest[];
  /**
   * Sends each request at most once, in rounds of this many requests instead of for a time: for tokens that must not have
   * been seen before. There have to be enough of them: `count × (rounds + 2)`, the warm-up included.
   */
  readonly count?: number;
  /** Whether each request is sent once to each process before the warm-up. @default false */
  readonly primed?: boolean;
}

/** A request without a body, and its answer. */
export interface FixedRequest {
  /** @default 'GET' */
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The answer's status. @default 200 */
  readonly status?: number;
  /** The whole body of the answer, to the byte. */
  readonly body: string;
}

/** What a client can do; each is one request to the route of that name. */
export type Step = 'login' | 'me' | 'renew' | 'logout' | 'devices';

/**
 * Clients with sessions of their own: each has a cookie jar, or the token that its login or renewal answered as JSON
 * (`{ token }`), which it sends as bearer. One request per connection at a time.
 */
export interface Flow {
  readonly kind: 'flow';
  /** @default 16 */
  readonly connections?: number;
  /** What is measured. */
  readonly step: Step;
  /**
   * - `login`: a new client each time.
   * - `me`, `renew`, `devices`: one client per connection, logged in before.
   * - `logout`: a new client each time, logged in before its slice; a slice ends when all are logged out.
   *
   * The number is that of clients that `logout` has in a slice. @default 500
   */
  readonly clients?: number;
  /** Clients that share a user, so that `devices` has something to list. @default 1 */
  readonly devicesPerUser?: number;
  /** Claims given at login. @default about 100 bytes of JSON */
  readonly claims?: object;
  /** Whether each client asks `GET /me` after each slice, outside of the measurement, and must be known. @default true */
  readonly verified?: boolean;
}
