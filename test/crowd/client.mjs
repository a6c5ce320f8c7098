import { request as httpRequest } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

/** As many as browsers have to one host over HTTP/1.1. */
const CONNECTIONS = 6;
const MAX_REDIRECTS = 5;

/**
 * What clients share.
 *
 * @typedef {object} World
 * @property {URL} url
 * @property {import('node:http').Agent} agent
 * @property {Record<string, number>} counts
 * @property {number} late the share of requests that are late
 * @property {number} lateness by how much at most, in milliseconds
 * @property {number} remembers for how long a client knows its earlier cookies, in milliseconds
 * @property {(answer: Answer) => void} [answered] is told of each answer, and of each request that got lost
 */
/**
 * @typedef {object} Answer
 * @property {number} status 0 for a request that got lost
 * @property {string} [code] the error's
 * @property {boolean} isProven whether the request needs no database: it only reads, and has a proven access token
 * @property {number} took in milliseconds
 * @property {string} text the body
 */

/**
 * A browser with a cookie jar: it attaches the cookies when a request is made, has few connections, follows a redirection with
 * the cookies of then, and may be killed.
 */
export class Client {
  refreshes = 0;
  /** Whether it does as it is told when its token looks old. */
  looksAgain = true;
  #jar = new Map();
  /** Jars of before, with the time until which each was the present one; for {@link Client.kill}. */
  #earlier = [];
  /** One more each time it is killed: what was under way then reaches nobody. */
  #life = 0;
  #free = CONNECTIONS;
  #waiting = [];
  #world;

  constructor(world) {
    this.#world = world;
  }

  copy() {
    const copy = new Client(this.#world);
    copy.#jar = new Map(this.#jar);
    return copy;
  }

  async signIn() {
    const [username, password] = Math.random() < 0.5 ? ['alice', 'wonderland'] : ['bob', 'builder'];
    const { status } = await this.#send('POST', '/login', { body: JSON.stringify({ username, password }) });
    // Those of the sign-in are on disk: who loses them has not been signed in.
    this.#earlier = [];
    return status === 200;
  }

  /** Several requests at once; their answers, with status 0 for one that got lost. */
  async burst() {
    const count = 1 + Math.floor(Math.random() * 10);
    const { late, lateness } = this.#world;
    return Promise.all(
      Array.from({ length: count }, () =>
        this.#send('GET', '/me', { wait: Math.random() < late ? Math.random() * lateness : 0 }),
      ),
    );
  }

  async get(path) {
    return this.#send('GET', path);
  }

  async post(path) {
    return this.#send('POST', path);
  }

  /** Comes back with the cookies of some time before, as browsers do that have not written the newest to disk. */
  kill(forgets) {
    const since = Date.now() - Math.random() * forgets;
    const jar = this.#earlier.find(({ until }) => until >= since)?.jar;
    this.#life++;
    if (jar) this.#jar = new Map(jar);
    this.#earlier = [];
    this.#world.counts.killed++;
  }

  async #send(method, path, { body, wait = 0 } = {}) {
    const { counts } = this.#world;
    const life = this.#life;
    // The cookies are those of now, however long it takes until they get there.
    let cookie = this.#cookieHeader();
    const due = performance.now() + wait;
    if (wait > 0) counts.late++;
    await this.#connection();
    try {
      // The time in the queue counts: no request is later than it may be.
      await pause(Math.max(0, due - performance.now()));
      for (let redirects = 0; ; redirects++) {
        if (life !== this.#life) return { status: 0 };
        const answer = await this.#exchange(method, path, cookie, body, life);
        if (answer.status !== 307) return answer;
        counts.looksAgain++;
        if (!this.looksAgain || redirects === MAX_REDIRECTS) return answer;
        cookie = this.#cookieHeader();
      }
    } finally {
      this.#free++;
      this.#waiting.shift()?.();
    }
  }

  async #connection() {
    while (this.#free === 0) await new Promise((resolve) => this.#waiting.push(resolve));
    this.#free--;
  }

  #exchange(method, path, cookie, body, life) {
    const { url, agent, counts, answered } = this.#world;
    // Other methods change something, for which they need the database.
    const isProven = method === 'GET' && hasProvenToken(cookie);
    const begun = performance.now();
    const headers = {
      'user-agent': 'Mozilla/5.0 (soak)',
      cookie,
      ...(body !== undefined && {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      }),
    };
    counts.requests++;
    return new Promise((resolve) => {
      const outgoing = httpRequest(
        { host: '127.0.0.1', port: url.port, path, method, headers, agent },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8').on('data', (chunk) => (text += chunk));
          answer.once('end', () => {
            const code = /"code":"(\w+)"/.exec(text)?.[1];
            const took = performance.now() - begun;
            answered?.({ status: answer.statusCode, code, isProven, took, text });
            if (answer.statusCode >= 500) counts.errors++;
            if (life !== this.#life) return resolve({ status: 0 });
            this.#keep(answer.headers['set-cookie'] ?? []);
            resolve({ status: answer.statusCode, code, reason: /"reason":"(\w+)"/.exec(text)?.[1] });
          });
          answer.once('error', () => resolve({ status: 0 }));
        },
      );
      outgoing.once('error', () => {
        counts.lost++;
        answered?.({ status: 0, isProven, took: performance.now() - begun, text: '' });
        resolve({ status: 0 });
      });
      outgoing.end(body);
    });
  }

  #cookieHeader() {
    return [...this.#jar].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  #keep(lines) {
    if (lines.length === 0) return;
    const now = Date.now();
    this.#earlier = this.#earlier.filter(({ until }) => now - until < this.#world.remembers);
    this.#earlier.push({ until: now, jar: new Map(this.#jar) });
    for (const line of lines) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (/max-age=0/i.test(line)) this.#jar.delete(name);
      else this.#jar.set(name, value);
      if (name.includes('session_refresh') && value !== '') {
        this.refreshes++;
        this.#world.counts.refreshes++;
      }
    }
  }
}

/** How long before its end an access token is not counted any more: it may be too old when it arrives. */
const NEARLY_OVER = 1_000;

/** Whether the cookies have an access token that is served without the database: a live one that names no generation. */
function hasProvenToken(cookie) {
  const token = /session_access=([^;]+)/.exec(cookie)?.[1];
  if (token === undefined) return false;
  const { exp, gen } = JSON.parse(Buffer.from(token.split('.')[1] ?? 'e30', 'base64url').toString());
  return gen === undefined && exp * 1_000 - Date.now() > NEARLY_OVER;
}
