import { request as httpRequest } from 'node:http';

/** A browser with a cookie jar. */
export class Client {
  refreshes = 0;
  #jar = new Map();
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
    return (await this.#send('POST', '/login', JSON.stringify({ username, password }))) === 200;
  }

  /** One to six requests at once; their statuses, 0 for a response that got lost. */
  async burst() {
    const count = 1 + Math.floor(Math.random() * 6);
    return Promise.all(Array.from({ length: count }, () => this.#send('GET', '/me')));
  }

  #send(method, path, body) {
    const { url, agent, counts } = this.#world;
    const headers = {
      cookie: [...this.#jar].map(([name, value]) => `${name}=${value}`).join('; '),
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
          answer.resume();
          answer.once('end', () => {
            for (const line of answer.headers['set-cookie'] ?? []) this.#keep(line);
            if (answer.statusCode >= 500) counts.errors++;
            resolve(answer.statusCode);
          });
          answer.once('error', () => resolve(0));
        },
      );
      outgoing.once('error', () => {
        counts.lost++;
        resolve(0);
      });
      outgoing.end(body);
    });
  }

  #keep(line) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    if (/max-age=0/i.test(line)) this.#jar.delete(name);
    else this.#jar.set(name, value);
    if (name.includes('session_refresh') && value !== '') {
      this.refreshes++;
      this.#world.counts.refreshes++;
    }
  }
}
