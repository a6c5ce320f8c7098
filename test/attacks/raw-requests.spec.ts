import { randomInt } from 'node:crypto';
import { connect } from 'node:net';
import { inspect } from 'node:util';
import { Controller, Get, type Type, UseGuards } from '@nestjs/common';
import { decodeJwt } from 'jose';
import {
  Session,
  type SessionErrorCode,
  type SessionEvent,
  SessionGuard,
  type SessionModuleExtras,
  type SessionModuleOptions,
} from 'nestjs-session-tokens';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { cookieOf } from '../http/account-app.js';
import { AccountController } from '../http/account.controller.js';
import { type Adapter, adapters, startApp, type TestApp } from '../support/app.js';
import { Browser } from '../support/browser.js';
import { databases } from '../support/databases.js';
import { LogCapture } from '../support/log-capture.js';
import { pass, stopClock } from '../support/time.js';
import { issuing, ServiceController, startService, verifying } from '../verifier/service-app.js';
import { Random } from './junk-tokens-forger.js';
import { described, type Holder, makeRequest, type Pool, type RawRequest, readHead } from './raw-requests.js';

/** How many requests each batch has. */
const REQUESTS = Number(process.env['FUZZ_REQUESTS'] ?? 40);

/** Another seed in each run, unless one is given; and some that are always the same. */
const SEEDS = [7, 2_026, Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 31))];

const FILE = 'test/attacks/raw-requests.spec.ts';
const AT_ONCE = 8;
/** The largest number of faults that one failure shows. */
const SHOWN = 5;
const PATIENCE = 10_000;
const TIMEOUT = 30_000 + 50 * REQUESTS;
/** Node's limit for the head of a request, in bytes. */
const MAX_HEAD = 16_384;
const TRUSTED = 'https://app.example.com';

/** The codes with which the library may refuse these requests, and their statuses. */
const REFUSALS: Partial<Record<SessionErrorCode, readonly number[]>> = {
  no_credentials: [401],
  try_refresh: [401],
  session_over: [401],
  token_theft: [401],
  look_again: [307, 401],
  csrf_failed: [403],
};

interface Configuration {
  readonly name: string;
  readonly options: SessionModuleOptions & SessionModuleExtras;
  readonly trustProxy?: boolean;
  /** Whether the requests go to a service that only verifies the tokens. */
  readonly verifier?: boolean;
}

const CONFIGURATIONS: readonly Configuration[] = [
  { name: 'the defaults', options: { refreshPath: 'refresh' } },
  {
    name: 'CSRF tokens, and a cookie for scripts',
    options: { refreshPath: 'refresh', csrf: { mode: 'token' }, cookies: { indicatorName: 'session_until' } },
  },
  {
    name: 'the endpoint mode, and a CSRF header',
    options: { refreshPath: 'refresh', refresh: 'endpoint', csrf: { mode: 'header' } },
  },
  {
    name: 'ES256, trusted proxies, and a look at the database for each request',
    options: {
      refreshPath: 'refresh',
      revocation: 'database',
      csrf: { trustedOrigins: [TRUSTED] },
      accessToken: { algorithm: 'ES256' },
      cookies: { secure: false, formerDomains: ['example.com'] },
    },
    trustProxy: true,
  },
  { name: 'a service that verifies', options: { refreshPath: 'refresh', ...issuing }, verifier: true },
];

/** A controller that guards every other path, so that odd ones come to the guard, too. */
function anywhere(adapter: Adapter): Type {
  @Controller()
  @UseGuards(SessionGuard)
  class AnywhereController {
    @Get(adapter === 'express' ? '*path' : '*')
    get(@Session('userId') userId: string): object {
      return { userId };
    }
  }
  return AnywhereController;
}

/** An application under attack. */
interface Scene {
  readonly configuration: Configuration;
  readonly app: TestApp;
  /** The server that gets the requests. */
  readonly url: string;
  readonly events: SessionEvent[];
  readonly logs: LogCapture;
  stop(): Promise<void>;
}

async function startScene(adapter: Adapter, configuration: Configuration): Promise<Scene> {
  stopClock();
  const database = await databases[0]!.create();
  const logs = new LogCapture();
  const { options, trustProxy, verifier } = configuration;
  const app = await startApp({
    adapter,
    database,
    options,
    trustProxy,
    metadata: { controllers: verifier ? [AccountController] : [AccountController, anywhere(adapter)] },
    configure: (nest) => nest.useLogger(logs),
  });
  const service = verifier
    ? await startService(
        adapter,
        verifying(app.url),
        { controllers: [ServiceController, anywhere(adapter)] },
        logs,
      )
    : undefined;
  const events: SessionEvent[] = [];
  app.sessions.events.subscribe((event) => events.push(event));
  logs.lines.splice(0);
  return {
    configuration,
    app,
    url: service?.url ?? app.url,
    events,
    logs,
    async stop() {
      vi.useRealTimers();
      await service?.close();
      await app.close();
      await database.remove();
    },
  };
}

/** A user with a browser, who does nothing wrong. */
interface Honest {
  readonly userId: string;
  readonly browser: Browser;
  readonly sessionId: string;
  readonly csrfToken: string | undefined;
}

async function signIn({ app }: Scene, userId: string): Promise<Honest> {
  const browser = new Browser(app.url);
  const answer = await browser.post('/login', { userId });
  expect(answer).toMatchObject({ status: 200 });
  const { id } = answer.body as { id: string };
  return { userId, browser, sessionId: id, csrfToken: answer.headers.get('anti-csrf') ?? undefined };
}

/** The user's next request. The client refreshes its session where it has to do that itself. */
async function goOn({ app, url, configuration }: Scene, { userId, browser }: Honest): Promise<string[]> {
  let answer = await browser.get('/me', { at: url });
  if (answer.status === 401 && (configuration.verifier || configuration.options.refresh === 'endpoint')) {
    await browser.post('/refresh', undefined, { at: app.url });
    answer = await browser.get('/me', { at: url });
  }
  const is = (answer.body as { userId?: unknown }).userId;
  return answer.status === 200 && is === userId
    ? []
    : [`${userId} cannot go on: ${JSON.stringify(answer.body)}`];
}

/** The tokens of users who are signed in, and of others whose tokens are over. */
async function poolOf(scene: Scene, honest: readonly Honest[], dead: Pool['dead']): Promise<Pool> {
  const holders = honest.map(({ userId, sessionId, browser, csrfToken }): Holder => ({
    userId,
    sessionId,
    csrfToken,
    accessToken: cookieOf(browser, 'session_access').value,
    refreshToken: cookieOf(browser, 'session_refresh').value,
  }));
  const refreshName = cookieOf(honest[0]!.browser, 'session_refresh').name;
  return {
    holders,
    dead,
    tokenIds: [...holders.map(({ refreshToken }) => refreshToken), ...dead.refreshToken].map(tokenIdOf),
    names: {
      access: cookieOf(honest[0]!.browser, 'session_access').name,
      refresh: refreshName,
      marker: refreshName.replace('refresh', 'look_again'),
    },
    trustedOrigin: TRUSTED,
    host: new URL(scene.url).host,
  };
}

const tokenIdOf = (refreshToken: string) => Buffer.from(refreshToken, 'base64url').toString('hex', 31, 39);

interface RawAnswer {
  readonly status: number;
  /** With names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

/** Sends a request byte by byte. Gives the first answer, or why there is none. */
async function send(
  url: string,
  { bytes, mayLackAnEnd, method }: RawRequest,
): Promise<RawAnswer | 'silence' | 'closed'> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
      .setEncoding('latin1')
      .setNoDelay();
    let received = '';
    const end = (result: RawAnswer | 'silence' | 'closed') => {
      clearTimeout(patience);
      clearTimeout(ending);
      socket.destroy();
      resolve(result);
    };
    const patience = setTimeout(() => end('silence'), PATIENCE);
    // The server may wait for the rest for as long as the connection is there.
    const ending = mayLackAnEnd ? setTimeout(() => socket.end(), 100) : undefined;
    socket.on('data', (chunk: string) => {
      received += chunk;
      const answer = parseAnswer(received, method, false);
      if (answer) end(answer);
    });
    socket.on('error', () => undefined);
    socket.on('close', () => end(parseAnswer(received, method, true) ?? 'closed'));
    socket.write(bytes, 'latin1');
  });
}

/** @returns `undefined` while the answer is not complete */
function parseAnswer(text: string, method: string, isClosed: boolean): RawAnswer | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [statusLine, ...lines] = text.slice(0, end).split('\r\n') as [string, ...string[]];
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]);
  const rest = text.slice(end + 4);
  if (status === 100) return parseAnswer(rest, method, isClosed);
  const headers = lines.map((line) => {
    const [name, value] = line.split(/: (.*)/s);
    return [name!.toLowerCase(), value ?? ''] as const;
  });
  const of = (name: string) => headers.find(([each]) => each === name)?.[1];
  if (method === 'HEAD' || status === 204 || status === 304) return { status, headers, body: '' };
  const length = of('content-length');
  const isComplete =
    length !== undefined
      ? rest.length >= Number(length)
      : of('transfer-encoding') === 'chunked' && rest.endsWith('0\r\n\r\n');
  return isComplete || isClosed ? { status, headers, body: rest } : undefined;
}

/** Headers with tokens. */
const TOKEN_HEADERS: ReadonlySet<string> = new Set([
  'access-token',
  'anti-csrf',
  'look-again',
  'refresh-token',
  'set-cookie',
]);

/** The headers that Node, the adapters and the library send. */
const KNOWN_HEADERS: ReadonlySet<string> = new Set([
  ...TOKEN_HEADERS,
  'cache-control',
  'connection',
  // Express's last handler, for targets that no router understands.
  'content-security-policy',
  'x-content-type-options',
  'content-length',
  'content-type',
  'date',
  'etag',
  'keep-alive',
  'location',
  'retry-after',
  'transfer-encoding',
  'vary',
  'www-authenticate',
  'x-powered-by',
]);

const COOKIE_VALUES: readonly (readonly [name: RegExp, value: RegExp])[] = [
  [/session_access(_as)?$/, /^(eyJ[\w-]+\.[\w-]+\.[\w-]+)?$/],
  [/session_refresh$/, /^([\w-]{95})?$/],
  [/session_look_again$/, /^([0-9a-f]{16}(\.[0-9a-f]{16})*)?$/],
  [/session_until$/, /^(\d+\.\d+)?$/],
];

const EXPECTED_MESSAGES = [
  "'A client signed in over plain HTTP and then came without cookies.",
  // Who comes back with a dead token, and with a marker that names it, is a thief.
  "'Token theft: session ",
  // In endpoint mode, a request for a refresh with the access cookie alone looks like a wrong path.
  "'A client asked for a refresh at ",
];

const ATTRIBUTES =
  /^(; Max-Age=\d+; Path=\/(refresh)?)(; Domain=example\.com)?(; Expires=Thu, 01 Jan 1970 00:00:00 GMT)?(; HttpOnly)?(; Secure)?; SameSite=Lax$/;

/** What is wrong with the answer to a request. */
function* faultsOf(
  { configuration }: Scene,
  pool: Pool,
  phase: Phase,
  request: RawRequest,
  answer: Awaited<ReturnType<typeof send>>,
): Generator<string> {
  if (answer === 'silence') return yield 'no answer';
  if (answer === 'closed') {
    // The reset of a connection whose request is too large can overtake the answer.
    const isTooLarge = request.bytes.length > MAX_HEAD;
    if (!request.mayLackAnEnd && !isTooLarge) yield 'closed without an answer';
    return;
  }
  const { status, headers, body } = answer;
  const valuesOf = (header: string) => headers.filter(([name]) => name === header).map(([, value]) => value);
  if (!(status >= 200 && status < 500)) yield `status ${status}`;

  // Whose valid tokens the server may have found.
  const { cookies, ...inHeaders } = readHead(request.bytes);
  const refreshHeaders = configuration.verifier ? [] : inHeaders.refreshTokens;
  const known = new Set([...pool.holders.map(({ accessToken }) => accessToken), ...pool.dead.accessToken]);
  // The headers decide alone if they have a token of the module's form. Of damaged tokens, this is not known here.
  const mayDecide = refreshHeaders.length > 0 || inHeaders.bearers.some((each) => each.startsWith('ey'));
  const decide =
    request.isWellFormed && (refreshHeaders.length > 0 || inHeaders.bearers.some((each) => known.has(each)));
  const isRefreshing = decoded(request.target).includes('refresh');
  const exchanges = !configuration.verifier && (configuration.options.refresh !== 'endpoint' || isRefreshing);
  const holdersIn = (accessTokens: readonly string[], refreshTokens: readonly string[]) => {
    const isIn = (holder: Holder) => ({
      access: phase !== 'access tokens have expired' && accessTokens.includes(holder.accessToken),
      refresh: refreshTokens.includes(holder.refreshToken),
    });
    return {
      users: pool.holders.filter((each) => isIn(each).access || (exchanges && isIn(each).refresh)),
      owners: pool.holders.filter((each) => isIn(each).refresh || (isIn(each).access && !isRefreshing)),
    };
  };
  const byHeaders = holdersIn(inHeaders.bearers, refreshHeaders);
  const byAll = holdersIn(
    [...inHeaders.bearers, ...cookies(pool.names.access)],
    [...refreshHeaders, ...cookies(pool.names.refresh)],
  );
  // Those who may be let in, and those who must be.
  const present = decide ? byHeaders.users : byAll.users;
  const owed = mayDecide ? byHeaders.users : byAll.users;
  const isSigningIn = decoded(request.target).includes('login');

  // Nobody becomes anybody else.
  const parsed = parsedBody(body);
  const found = [
    parsed?.['userId'] as string | null | undefined,
    pool.holders.find(({ sessionId }) => sessionId === (parsed?.['orderedBy'] ?? parsed?.['calledBy']))
      ?.userId,
    ...valuesOf('access-token').map((token) => decodeJwt(token).sub),
    ...valuesOf('set-cookie')
      .flatMap((line) => /_access=(ey[^;]+)/.exec(line)?.[1] ?? [])
      .map((token) => decodeJwt(token).sub),
  ].filter((userId) => userId !== undefined && userId !== null);
  for (const userId of found) {
    const may = isSigningIn ? userId === 'mallory' : present.some((each) => each.userId === userId);
    if (!may) yield `signed in as ${userId}`;
  }
  if (status === 200 && present.length === 0 && /^\/(me|orders|hook|data)$/.test(request.route ?? '')) {
    yield 'signed in as nobody knows whom';
  }

  // Nobody is refused, or loses cookies, because of junk beside a valid token.
  const isUpgrade = /^upgrade:/im.test(request.bytes);
  const isRefused = status >= 400 && ![400, 413, 431].includes(status);
  if (
    request.isWellFormed &&
    request.route === '/me' &&
    owed.length > 0 &&
    !isUpgrade &&
    (isRefused || status === 307)
  ) {
    yield `refused in spite of a valid token: ${status} ${String(parsed?.['code'])}`;
  }
  // A line with a domain, or one that is partitioned, clears a duplicate of another kind.
  const isClearing = valuesOf('set-cookie').some(
    (line) => /session_refresh=; Max-Age=0/.test(line) && !/Domain|Partitioned/.test(line),
  );
  // The refresh route judges by refresh tokens alone. Where the headers decide, no cookie is cleared.
  const isEnding = isSigningIn || decoded(request.target).includes('sign-out');
  if (isClearing && request.isWellFormed && (byAll.owners.length > 0 || (decide && !isEnding))) {
    yield 'cookies were cleared in spite of a valid token';
  }

  // Refusals have a code.
  if ([307, 401, 403].includes(status)) {
    const code = parsed?.['code'] as SessionErrorCode | undefined;
    if (
      request.method !== 'HEAD' &&
      !(code && REFUSALS[code]?.includes(status) && parsed?.['statusCode'] === status)
    ) {
      yield `status ${status} with the body ${body.slice(0, 200)}`;
    }
    if (status === 401 && !valuesOf('www-authenticate')[0]?.startsWith('Bearer')) yield 'no challenge';
  }
  if (status === 307) yield* faultsOfLocation(request.target, valuesOf('location'));

  // Nothing comes back but what the library has made.
  for (const [name, value] of headers) {
    if (!KNOWN_HEADERS.has(name)) yield `the header ${name}`;
    if (/[^\x20-\x7e]/.test(value)) yield `the value of ${name}`;
    if (name === 'set-cookie') yield* faultsOfCookie(value);
  }
  const text = body + headers.filter(([name]) => !TOKEN_HEADERS.has(name)).join('\n');
  for (const presented of request.presented) {
    if (text.includes(presented))
      yield `the response has ${presented.length} characters in it that were sent as a token`;
  }
}

function* faultsOfCookie(line: string): Generator<string> {
  const [, name = '', value = '', attributes = ''] = /^([^=;]*)=([^;]*)(.*)$/.exec(line) ?? [];
  const kind = COOKIE_VALUES.find(([is]) => is.test(name));
  const expected = value === '' ? attributes.replace(/; Partitioned$/, '') : attributes;
  if (!kind?.[1].test(value) || !ATTRIBUTES.test(expected)) yield `the cookie ${line}`;
}

/** The browser must come back to the URL that it has asked for. */
function* faultsOfLocation(target: string, [location = '', ...others]: readonly string[]): Generator<string> {
  if (others.length > 0 || /[^\x21-\x7e]/.test(location))
    yield `the locations ${[location, ...others].join(', ')}`;
  if (!target.startsWith('/')) return;
  // As a browser has written the target: with its own host in front.
  const asked = new URL(`http://host.example${target.split('#', 1)[0]}`);
  const next = new URL(location, asked);
  next.hash = '';
  if (next.href !== asked.href && !target.includes('\\')) yield `the location ${location} for ${target}`;
  if (next.origin !== asked.origin) yield `the location ${location}, which leads away`;
}

/** A target in the form in which routers may compare it. */
function decoded(target: string): string {
  return target
    .toLowerCase()
    .replaceAll(/%([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function parsedBody(body: string): Record<string, unknown> | undefined {
  const start = body.indexOf('{');
  if (start < 0) return undefined;
  try {
    return JSON.parse(body.slice(start, body.lastIndexOf('}') + 1)) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** What state the tokens are in, and how long it takes to come there. */
const PHASES = [
  ['all tokens are new', '1s'],
  ['access tokens have expired', '16m'],
  ['access tokens are not proven yet', '2m'],
] as const;

type Phase = (typeof PHASES)[number][0];

/** Sends a batch of requests; gives what is wrong with the answers. */
async function attack(scene: Scene, pool: Pool, phase: Phase, random: Random): Promise<string[]> {
  const requests = Array.from({ length: REQUESTS }, () => makeRequest(random, pool));
  const faults: string[] = [];
  const clients = Array.from({ length: AT_ONCE }, async () => {
    for (let request = requests.pop(); request; request = requests.pop()) {
      const answer = await send(scene.url, request);
      for (const fault of faultsOf(scene, pool, phase, request, answer)) {
        faults.push(`${phase}: ${fault}: ${described(request, pool)}`);
      }
    }
  });
  await Promise.all(clients);
  return faults;
}

const scenes = adapters.flatMap((adapter) =>
  CONFIGURATIONS.map((configuration) => ({ adapter, configuration })),
);

describe.each(scenes)(
  'raw requests over $adapter, with $configuration.name',
  ({ adapter, configuration }) => {
    let scene: Scene;
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    beforeAll(async () => {
      process.on('unhandledRejection', note);
      scene = await startScene(adapter, configuration);
    });
    afterAll(async () => {
      await scene.stop();
      process.off('unhandledRejection', note);
    });

    test.each(SEEDS)(
      'harm nobody (FUZZ_SEED=%i)',
      async (seed) => {
        const random = new Random(seed);
        const faults: string[] = [];
        const dead = await deadTokensIn(scene);
        const honest = [await signIn(scene, 'alice'), await signIn(scene, 'bob')];
        scene.events.splice(0);
        // The clock stands still during a batch, so that all tokens stay as good as they were when it began.
        for (const [phase, pause] of PHASES) {
          pass(pause);
          const pool = await poolOf(scene, honest, dead);
          faults.push(...(await attack(scene, pool, phase, random)));
          for (const each of honest) faults.push(...(await goOn(scene, each)));
        }
        const ids = new Set(honest.map(({ sessionId }) => sessionId));
        for (const event of scene.events.splice(0)) {
          if (event.type !== 'refreshed' && event.sessionId !== undefined && ids.has(event.sessionId))
            faults.push(`the event ${event.type}`);
        }
        faults.push(...unhandled.splice(0).map((reason) => `an unhandled rejection: ${inspect(reason)}`));
        const logged = scene.logs.lines
          .splice(0)
          .filter((line) => !EXPECTED_MESSAGES.some((each) => line.startsWith(each)));
        faults.push(...logged.map((line) => `logged: ${line}`));
        expect(
          faults.slice(0, SHOWN),
          `again: FUZZ_SEED=${seed} FUZZ_REQUESTS=${REQUESTS} npx vitest run ${FILE}`,
        ).toEqual([]);
      },
      TIMEOUT,
    );
  },
);

/** Tokens that have been superseded, and those of a session that is over. */
async function deadTokensIn(scene: Scene): Promise<Pool['dead']> {
  const [dave, carol] = [await signIn(scene, 'dave'), await signIn(scene, 'carol')];
  const dead: { accessToken: string[]; refreshToken: string[] } = { accessToken: [], refreshToken: [] };
  const note = ({ browser }: Honest) => {
    dead.accessToken.push(cookieOf(browser, 'session_access').value);
    dead.refreshToken.push(cookieOf(browser, 'session_refresh').value);
  };
  note(dave);
  note(carol);
  pass('16m');
  await goOn(scene, dave);
  await goOn(scene, carol);
  note(carol);
  pass('2m');
  await goOn(scene, dave);
  await scene.app.sessions.revoke(carol.sessionId);
  // The access token of the revoked session expires, where a service cannot know of the revocation.
  pass('16m');
  return dead;
}
