import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Controller, Get, HttpCode, Param, Post, Req, Res } from '@nestjs/common';
import { type HttpRequest, type HttpResponse, SessionService } from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { accountApps } from '../http/account-app.js';
import { pass } from '../support/time.js';
import { adapters } from '../support/app.js';

const run = promisify(execFile);
const file = (name: string) => join(import.meta.dirname, name);

@Controller()
class StepsController {
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
}

type Client = [name: string, requires: [command: string, ...string[]], start: (url: string) => string[]];

/** Clients with a cookie jar that are no browsers. Those run that are installed. */
const CLIENTS: Client[] = [
  ['Java’s HttpClient', ['java', '-version'], (url) => ['java', file('Client.java'), 'http-client', url]],
  [
    'Java’s HttpURLConnection',
    ['java', '-version'],
    (url) => ['java', file('Client.java'), 'url-connection', url],
  ],
  [
    'Python’s http.cookiejar',
    ['python3', '--version'],
    (url) => ['python3', file('client.py'), 'urllib', url],
  ],
  [
    'Python’s requests',
    ['python3', '-c', 'import requests'],
    (url) => ['python3', file('client.py'), 'requests', url],
  ],
];

const CURL: Client = ['curl with a jar', ['curl', '--version'], () => []];

function isInstalled([, [command, ...parameters]]: Client): boolean {
  try {
    execFileSync(command, parameters, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** What each client does: method, path, and the status that it should get. */
const STEPS: [method: string, path: string, status: number][] = [
  ['GET', '/me', 401],
  ['POST', '/sign-in', 204],
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
  ['GET', '/me', 401],
];

describe.each(adapters)('a client with a cookie jar over %s', (adapter) => {
  const apps = accountApps(adapter);
  // Their jars keep secure cookies from plain http.
  const start = () => apps({ cookies: { secure: false } }, { metadata: { controllers: [StepsController] } });
  const steps = STEPS.map(([method, path]) => `${method}:${path}`);
  const statuses = STEPS.map(([, , status]) => status).join(' ');

  it.each(CLIENTS.filter(isInstalled))(
    '%s signs in, refreshes and signs out',
    async (_name, _requires, command) => {
      const app = await start();
      const [program, ...parameters] = command(app.url);
      const { stdout } = await run(program!, [...parameters, ...steps]);
      expect(stdout.trim()).toBe(statuses);
    },
  );

  it.each([CURL].filter(isInstalled))('%s signs in, refreshes and signs out', async () => {
    const app = await start();
    const folder = await mkdtemp(join(tmpdir(), 'session-tokens-curl-'));
    try {
      const jar = join(folder, 'jar');
      const seen: string[] = [];
      for (const [method, path] of STEPS) {
        const options = ['-s', '-o', join(folder, 'body'), '-w', '%{http_code}', '-b', jar, '-c', jar];
        seen.push((await run('curl', [...options, '-X', method, app.url + path])).stdout);
      }
      expect(seen.join(' ')).toBe(statuses);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
