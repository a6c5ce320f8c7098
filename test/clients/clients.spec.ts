import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { promisify } from 'node:util';
import { Controller, Get, HttpCode, Param, Post, Req, Res } from '@nestjs/common';
import { type HttpRequest, type HttpResponse, SessionService } from 'nestjs-session-tokens';
import { afterEach, describe, expect, it } from 'vitest';
import { ownKeys } from '../attacks/junk-tokens-forger.js';
import { accountApps } from '../http/account-app.js';
import { type Adapter, adapters } from '../support/app.js';
import { pass } from '../support/time.js';

const execute = promisify(execFile);
const file = (name: string) => join(import.meta.dirname, name);

@Controller()
class StepsController {
  /** The cookies of a request that a client has made. */
  private remembered: string[] = [];

  constructor(private readonly sessions: SessionService) {}

  @Post('sign-in')
  @HttpCode(204)
  async signIn(@Req() request: HttpRequest, @Res({ passthrough: true }) response: HttpResponse) {
    await this.sessions.create(request, response, { userId: 'alice' });
  }

  @Get('pass/:time')
  pass(@Param('time') time: string): string {
    pass(time);
    return time;
  }

  /** 204 for a client whose jar has no cookie. */
  @Get('jar')
  jar(@Req() request: HttpRequest, @Res({ passthrough: true }) response: { status(code: number): unknown }) {
    response.status(request.headers.cookie === undefined ? 204 : 200);
  }

  @Get('remember')
  remember(@Req() { headers: { cookie } }: HttpRequest): void {
    this.remembered = cookie!.split('; ');
  }

  /** Puts the remembered cookies back into the client's jar. */
  @Get('put-back')
  putBack(@Res({ passthrough: true }) response: { header(name: string, values: string[]): unknown }): void {
    const attributes = 'Max-Age=86400; Path=/; HttpOnly; SameSite=Lax';
    response.header(
      'set-cookie',
      this.remembered.map((pair) => `${pair}; ${attributes}${pair.startsWith('__') ? '; Secure' : ''}`),
    );
  }
}

type Step = [method: string, path: string, status: number];

interface Client {
  readonly name: string;
  /** Commands of which one ends with 0 where the client is installed. */
  readonly requires: readonly (readonly [program: string, ...string[]])[];
  /** The command before the URL, by the program of `requires` that was found. */
  readonly command: (program: string) => [program: string, ...string[]];
  /** Whether its jar treats 127.0.0.1 as secure, so that it sends secure cookies there over plain http. */
  readonly trustsLoopback: boolean;
}

// It runs a source file, so that it needs the compiler.
const JAVA: Client['requires'] = [['javac', '-version']];
const java = (kind: string): Client['command'] => {
  return () => ['java', file('Client.java'), kind];
};
const python = (library: string): Client['command'] => {
  return (program) => [program, file('client.py'), library];
};
/** Debian's Python has Debian's packages, even if another Python comes first in the path. */
const pythons = (library: string): Client['requires'] =>
  ['python3', '/usr/bin/python3'].map((program) => [program, '-c', `import ${library}`]);

/** Clients with a cookie jar that are no browsers. Those run that are installed. */
const CLIENTS: Client[] = [
  {
    name: 'Java’s HttpClient',
    requires: JAVA,
    command: java('http-client'),
    trustsLoopback: false,
  },
  {
    name: 'Java’s HttpURLConnection',
    requires: JAVA,
    command: java('url-connection'),
    trustsLoopback: false,
  },
  {
    name: 'Python’s http.cookiejar',
    requires: pythons('http.cookiejar'),
    command: python('urllib'),
    trustsLoopback: false,
  },
  {
    name: 'Python’s requests',
    requires: pythons('requests'),
    command: python('requests'),
    trustsLoopback: false,
  },
  { name: 'Python’s httpx', requires: pythons('httpx'), command: python('httpx'), trustsLoopback: false },
  {
    name: 'Go’s cookiejar',
    requires: [['go', 'version']],
    command: (program) => [program, 'run', file('client.go')],
    trustsLoopback: false,
  },
  {
    name: 'tough-cookie with Node’s fetch',
    requires: [['node', '--version']],
    command: (program) => [program, file('client.mjs')],
    trustsLoopback: true,
  },
  {
    name: 'curl with a jar',
    requires: [['curl', '--version']],
    command: () => ['curl'],
    trustsLoopback: true,
  },
];

/** The first program that is installed, and what it has printed. */
function find({ requires }: Client): { readonly program: string; readonly version: string } | undefined {
  for (const [program, ...parameters] of requires) {
    try {
      const version = execFileSync(program, parameters, { stdio: ['ignore', 'pipe', 'ignore'] });
      return { program, version: version.toString() };
    } catch {
      // It is not installed, or lacks the library.
    }
  }
  return undefined;
}

const installed = CLIENTS.flatMap((client) => {
  const found = find(client);
  return found ? [{ ...client, ...found }] : [];
});
type Installed = (typeof installed)[number];

/** The statuses that a client gets. */
async function statusesOf(client: Installed, url: string, steps: readonly Step[]): Promise<string> {
  const [program, ...parameters] = client.command(client.program);
  if (program === 'curl') return curl(url, steps);
  const paths = steps.map(([method, path]) => `${method}:${path}`);
  const { stdout } = await execute(program, [...parameters, url, ...paths], {
    env: { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0', GO111MODULE: 'off' },
  });
  return stdout.trim();
}

async function curl(url: string, steps: readonly Step[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'session-tokens-curl-'));
  try {
    const jar = join(folder, 'jar');
    const statuses: string[] = [];
    for (const [method, path] of steps) {
      const options = ['-sk', '-o', join(folder, 'body'), '-w', '%{http_code}', '-b', jar, '-c', jar];
      statuses.push((await execute('curl', [...options, '-X', method, url + path])).stdout);
    }
    return statuses.join(' ');
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The statuses that a client should get, as a pattern. */
function expected({ version }: Installed, steps: readonly Step[]): RegExp {
  // Of cookies that are cleared at once, curl 7.88 keeps all but the last (curl/curl#10677).
  const keepsSome = version.startsWith('curl 7.88');
  const statuses = steps.map(([, path, status]) => (keepsSome && path === '/jar' ? '20[04]' : status));
  return new RegExp(`^${statuses.join(' ')}$`);
}

const LIFE: Step[] = [
  ['GET', '/me', 401],
  ['GET', '/jar', 204],
  ['POST', '/sign-in', 204],
  ['GET', '/jar', 200],
  ['GET', '/me', 200],
  ['POST', '/orders', 200],
  // Its access token expires, and is refreshed on the way.
  ['GET', '/pass/16m', 200],
  ['GET', '/me', 200],
  ['GET', '/pass/91s', 200],
  ['GET', '/me', 200],
  ['GET', '/pass/16m', 200],
  ['POST', '/orders', 200],
  ['POST', '/sign-out', 204],
  ['GET', '/jar', 204],
  ['GET', '/me', 401],
];

/** A client that goes back to the cookies of before is told to look again, without a redirect, and is a thief the second time. */
const OLD_COOKIES: Step[] = [
  ['POST', '/sign-in', 204],
  ['GET', '/remember', 200],
  ['GET', '/pass/16m', 200],
  ['GET', '/me', 200],
  ['GET', '/pass/91s', 200],
  ['GET', '/me', 200],
  ['GET', '/put-back', 200],
  ['GET', '/me', 401],
  ['GET', '/jar', 200],
  ['GET', '/me', 401],
  ['GET', '/jar', 204],
];

const SIGN_IN: Step[] = [
  ['POST', '/sign-in', 204],
  ['GET', '/me', 200],
];

describe('a client with a cookie jar', { timeout: 120_000 }, () => {
  const apps = { express: accountApps('express'), fastify: accountApps('fastify') };
  const closes: (() => void)[] = [];
  afterEach(() => {
    for (const close of closes.splice(0)) close();
  });

  const overHttp = async (secure: boolean, adapter: Adapter = 'express') => {
    const { url } = await apps[adapter](
      { cookies: { secure } },
      { metadata: { controllers: [StepsController] } },
    );
    return url;
  };

  /** With the options' defaults. */
  const overHttps = async (adapter: Adapter = 'express') => {
    const { port } = new URL(await overHttp(true, adapter));
    const { private: key, certificate } = ownKeys('ES256');
    const cert = `-----BEGIN CERTIFICATE-----\n${certificate!.toString('base64')}\n-----END CERTIFICATE-----\n`;
    const server = createServer({ key: key.export({ type: 'pkcs8', format: 'pem' }), cert }, (outer) => {
      const inner = connect(Number(port), '127.0.0.1');
      for (const each of [outer, inner]) each.on('error', () => inner.destroy());
      outer.pipe(inner).pipe(outer);
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    closes.push(() => server.close());
    return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };

  describe.each(installed)('$name', (client) => {
    it.each(adapters)(
      'signs in, refreshes and signs out over https with the defaults, on %s',
      async (adapter) => {
        expect(await statusesOf(client, await overHttps(adapter), LIFE)).toMatch(expected(client, LIFE));
      },
    );

    it('does so over http with cookies that are not secure', async () => {
      expect(await statusesOf(client, await overHttp(false), LIFE)).toMatch(expected(client, LIFE));
    });

    it('is told to look again with the cookies of before, and is caught then', async () => {
      const statuses = await statusesOf(client, await overHttps(), OLD_COOKIES);
      expect(statuses).toMatch(expected(client, OLD_COOKIES));
    });

    it(`${client.trustsLoopback ? 'sends' : 'does not send'} secure cookies to this machine over http`, async () => {
      const statuses = await statusesOf(client, await overHttp(true), SIGN_IN);
      expect(statuses).toBe(client.trustsLoopback ? '204 200' : '204 401');
    });
  });
});
