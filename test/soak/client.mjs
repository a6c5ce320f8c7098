import { request as httpRequest } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

/** As many as browsers have to one host over HTTP/1.1. */
const CONNECTIONS = 6;
const MAX_REDIRECTS = 5;

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
    const { url, agent, counts } = this.#world;
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
            if (life !== this.#life) return resolve({ status: 0 });
            this.#keep(answer.headers['set-cookie'] ?? []);
            if (answer.statusCode >= 500) {
              counts.errors++;
              console.log(`ANSWER ${answer.statusCode} ${text.slice(0, 200)}`);
            }
            resolve({ status: answer.statusCode, code: /"code":"(\w+)"/.exec(text)?.[1] });
          });
          answer.once('error', () => resolve({ status: 0 }));
        },
      );
      outgoing.once('error', () => {
        counts.lost++;
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
