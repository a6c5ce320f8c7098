import { Connection } from './connection.js';
import type { HttpResponse } from './http-response.js';
import type { FixedRequest, Step } from './load.js';

/** About 100 bytes of JSON: what an application would put into its tokens. */
export const CLAIMS = {
  role: 'editor',
  tenant: 'acme-corporation',
  plan: 'business',
  locale: 'en-GB',
  features: ['export', 'audit'],
};

const METHODS: Readonly<Record<Step, 'GET' | 'POST'>> = {
  login: 'POST',
  me: 'GET',
  renew: 'POST',
  logout: 'POST',
  devices: 'GET',
};

const USER_AGENT =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36';

/** A user's client: keeps cookies, or a token, as a browser or an app does, and checks what it is answered. */
export class Client {
  private readonly cookies = new Map<string, string>();
  /** From `{ token }` in the answer to a login or renewal. */
  token: string | undefined;
  /** The answer to the last step. */
  lastResponse: HttpResponse | undefined;

  constructor(
    readonly userId: string,
    private readonly claims: object = CLAIMS,
  ) {}

  /** What a browser would send as `Cookie`; empty when it has none. */
  get cookieHeader(): string {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  /** The headers that tell the server who asks. */
  get credentials(): Record<string, string> {
    const { token, cookieHeader } = this;
    return {
      ...(cookieHeader !== '' && { cookie: cookieHeader }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    };
  }

  /**
   * Takes one step over a connection.
   *
   * @throws Error when the answer is not what it has to be: another status than 2xx, another user, other devices
   */
  async take(step: Step, connection: Connection, devices?: number): Promise<void> {
    const response = await connection.exchange(this.requestFor(step));
    this.lastResponse = response;
    const fail = (why: string) => {
      const answer = `${response.status} ${response.body.slice(0, 300)}`;
      throw new Error(`${METHODS[step]} /${step} of ${this.userId}: ${why}: ${answer}`);
    };
    if (response.status < 200 || response.status > 299) fail('not a success');
    this.keepCookies(response);
    const body = parseJson(response.body);
    if (step === 'login' || step === 'renew') {
      if (typeof body?.['token'] === 'string') this.token = body['token'];
    }
    if (step === 'login' && Object.keys(this.credentials).length === 0) fail('no credentials');
    if (step === 'me' && body?.['userId'] !== this.userId) fail('another user');
    if (step === 'devices' && devices !== undefined && body?.['length'] !== devices)
      fail(`not ${devices} devices`);
  }

  /** `GET /me` with the client's present credentials, for a load of fixed requests. */
  fixedMe(): FixedRequest {
    return {
      path: '/me',
      headers: this.credentials,
      body: JSON.stringify({ userId: this.userId }),
    };
  }

  private requestFor(step: Step): Buffer {
    const method = METHODS[step];
    const body = step === 'login' ? JSON.stringify({ userId: this.userId, claims: this.claims }) : undefined;
    return requestBytes(method, `/${step}`, { 'user-agent': USER_AGENT, ...this.credentials }, body);
  }

  private keepCookies(response: HttpResponse): void {
    for (const line of response.headers('set-cookie')) {
      const [pair = '', ...attributes] = line.split(';');
      const equals = pair.indexOf('=');
      const name = pair.slice(0, equals).trim();
      const value = pair.slice(equals + 1).trim();
      const isGone = value === '' || attributes.some((attribute) => /^ *max-age=0$/i.test(attribute));
      if (isGone) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
  }
}

/** The bytes of a request; with a body it is JSON. */
export function requestBytes(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  body?: string,
): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, 'host: 127.0.0.1'];
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  if (body !== undefined) lines.push('content-type: application/json');
  if (method !== 'GET') lines.push(`content-length: ${Buffer.byteLength(body ?? '')}`);
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body ?? ''}`);
}

/** Signs clients in, 16 at a time. @param userIds one client each */
export async function signIn(
  port: number,
  userIds: readonly string[],
  claims: object = CLAIMS,
): Promise<Client[]> {
  const clients = userIds.map((userId) => new Client(userId, claims));
  await overConnections([port], 16, clients, (client, connection) => client.take('login', connection));
  return clients;
}

/** Does something with each of some items, over so many connections at a time. */
export async function overConnections<T>(
  ports: readonly number[],
  count: number,
  items: readonly T[],
  act: (item: T, connection: Connection) => Promise<void>,
): Promise<void> {
  const connections = Array.from(
    { length: count },
    (_, index) => new Connection(ports[index % ports.length]!),
  );
  const rest = items.values();
  try {
    await Promise.all(
      connections.map(async (connection) => {
        await connection.open();
        // One iterator for all: each takes what the others have left.
        for (const item of rest) await act(item, connection);
      }),
    );
  } finally {
    for (const connection of connections) connection.close();
  }
}

function parseJson(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
