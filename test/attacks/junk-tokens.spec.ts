import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { X509Certificate } from 'node:crypto';
import { decodeJwt } from 'jose';
import type { SigningAlgorithm } from 'nestjs-session-tokens';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ACCESS, cookieOf, REFRESH } from '../http/account-app.js';
import { AccountController } from '../http/account.controller.js';
import { type Adapter, adapters, startApp, type TestApp } from '../support/app.js';
import { Browser } from '../support/browser.js';
import { type DatabaseKind, databases } from '../support/databases.js';
import { LogCapture } from '../support/log-capture.js';
import { QueryLog } from '../support/query-log.js';
import { pass, stopClock } from '../support/time.js';
import { ownKeys } from './junk-tokens-forger.js';
import {
  answerOfNode,
  junkFamilies,
  junkRecipes,
  Random,
  type Recipe,
  rightToken,
  type Target,
} from './junk-tokens.js';
import { openKeys } from './stolen-database.js';
import { dumpOf } from './victims.js';

const SEED = 7;
const ISSUER = 'https://accounts.example';
const AUDIENCE = 'https://shop.example';

/** An application, and somebody who is signed in there. */
interface Scene {
  readonly app: TestApp;
  readonly browser: Browser;
  readonly target: Target;
  readonly recipes: readonly Recipe[];
  /** What the application has logged since it started. */
  readonly logs: LogCapture;
  /** Its statements. */
  readonly queries: QueryLog;
  /** The requests to the forger's server. */
  readonly trapped: readonly string[];
  stop(): Promise<void>;
}

async function startScene(
  adapter: Adapter,
  algorithm: SigningAlgorithm,
  kind: DatabaseKind = databases[0]!,
): Promise<Scene> {
  stopClock();
  const [trap, trapped] = await startTrap();
  const database = await kind.create();
  const [logs, queries] = [new LogCapture(), new QueryLog()];
  const app = await startApp({
    adapter,
    database: { ...database, options: { ...database.options, logger: queries } },
    options: { accessToken: { algorithm, issuer: ISSUER, audience: AUDIENCE } },
    metadata: { controllers: [AccountController] },
    configure: (nest) => nest.useLogger(logs),
  });
  const browser = new Browser(app.url);
  expect(await browser.post('/login', { userId: 'alice' })).toMatchObject({ status: 200 });
  const accessToken = cookieOf(browser, 'session_access').value;
  const target: Target = {
    key: (await openKeys(await dumpOf(database))).find(({ purpose }) => purpose === 'access')!,
    payload: decodeJwt(accessToken),
    accessToken,
    refreshToken: cookieOf(browser, 'session_refresh').value,
    trap: `http://127.0.0.1:${(trap.address() as AddressInfo).port}`,
  };
  logs.lines.splice(0);
  return {
    app,
    browser,
    target,
    recipes: junkRecipes(target, new Random(SEED)),
    logs,
    queries,
    trapped,
    async stop() {
      vi.useRealTimers();
      await app.close();
      await database.remove();
      trap.close();
    },
  };
}

/** A server of the forger's, with its keys. */
async function startTrap(): Promise<[Server, string[]]> {
  const asked: string[] = [];
  const keys = ['RS256', 'ES256', 'EdDSA'].map((alg) => Object.assign({ alg, kid: 'own' }, ownKeys(alg).jwk));
  const server = createServer((request, response) => {
    asked.push(request.url!);
    response.end(JSON.stringify({ keys }));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return [server, asked];
}

interface Answer {
  readonly status: number;
  readonly body: { readonly code?: string; readonly userId?: unknown };
  /** `Set-Cookie` lines. */
  readonly cookies: readonly string[];
  /** The header that carries a new token to clients without cookies. */
  readonly isGivenToken: boolean;
}

/** Asks who is signed in, with a header that is sent byte by byte, as no HTTP client would. */
async function ask({ app }: Scene, header: string): Promise<Answer> {
  const { hostname, port, host } = new URL(app.url);
  const text = await new Promise<string>((resolve, reject) => {
    let received = '';
    const socket = connect(Number(port), hostname).setEncoding('latin1');
    socket.on('data', (chunk: string) => (received += chunk));
    // A server that stops reading resets the connection after its response.
    socket.on('error', (error) => (received === '' ? reject(error) : undefined));
    socket.on('close', () => resolve(received));
    socket.write(`GET /me HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n${header}\r\n\r\n`, 'latin1');
  });
  const [head, body] = text.split('\r\n\r\n', 2) as [string, string];
  const cookies = [...head.matchAll(/^set-cookie: (.*)$/gim)].map(([, line]) => line!);
  return {
    status: Number(head.slice('HTTP/1.1 '.length).slice(0, 3)),
    body: body.startsWith('{') ? (JSON.parse(body) as Answer['body']) : {},
    cookies,
    isGivenToken: /^access-token:/im.test(head),
  };
}

const asCookie = (token: string) => `cookie: ${ACCESS}=${token}`;
const asBearer = (token: string) => `authorization: Bearer ${token}`;

/** One line with the status, the code, and everything that should not be in the response. */
function summary({ status, body, cookies, isGivenToken }: Answer): string {
  if (status === 400 || status === 431) return `${status}`;
  const given = cookies.length > 0 || isGivenToken ? ', and a token' : '';
  return `${status} ${body.code}${given}`;
}

/** An empty token looks the same as no token. */
function refusalOf(token: string): string {
  return String(answerOfNode(token) ?? (token === '' ? '401 no_credentials' : '401 try_refresh'));
}

/** Shows junk in both ways; gives the answers that are not as they should be, by name. */
async function surprises(scene: Scene, recipes: readonly Recipe[], expected = refusalOf) {
  expect(recipes).not.toEqual([]);
  const surprising: Record<string, string> = {};
  const attempts = recipes.flatMap((recipe) =>
    [asCookie, asBearer].map(async (show) => {
      const token = recipe.make();
      const answer = summary(await ask(scene, show(token)));
      if (answer !== expected(token)) surprising[`${recipe.name}, ${show('…')}`] = answer;
    }),
  );
  await Promise.all(attempts);
  return surprising;
}

const worlds = adapters.flatMap((adapter) =>
  (['HS256', 'ES256', ...(adapter === 'fastify' ? (['RS256', 'EdDSA'] as const) : [])] as const).map(
    (algorithm) => ({ adapter, algorithm }),
  ),
);

describe.each(worlds)('junk in place of a token of $algorithm, over $adapter', ({ adapter, algorithm }) => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await startScene(adapter, algorithm);
  });
  afterAll(() => scene.stop());

  const recipesOf = (family: string) => scene.recipes.filter((recipe) => recipe.family === family);

  test('what the same hand makes without a mistake is accepted', async () => {
    const { target } = scene;
    for (const token of [target.accessToken, rightToken(target, new Random(SEED))]) {
      for (const show of [asCookie, asBearer]) {
        expect(await ask(scene, show(token))).toMatchObject({ status: 200, body: { userId: 'alice' } });
      }
    }
    const names = scene.recipes.map(({ family, name }) => `${family}: ${name}`);
    expect(new Set(names).size).toBe(names.length);
    expect(new Set(scene.recipes.map(({ family }) => family))).toEqual(new Set(junkFamilies(algorithm)));
  });

  test.each(junkFamilies(algorithm))('%s: 401 with a code, no cookies, nothing logged', async (family) => {
    expect(await surprises(scene, recipesOf(family))).toEqual({});
    expect(scene.logs.lines).toEqual([]);
    expect(scene.trapped).toEqual([]);
  });

  test('oversized, where the HTTP server takes such headers', async () => {
    const server = scene.app.app.getHttpServer() as Server & { maxHeaderSize?: number };
    const before = server.maxHeaderSize;
    server.maxHeaderSize = 131_072;
    try {
      expect(await surprises(scene, recipesOf('oversized'), () => '401 try_refresh')).toEqual({});
    } finally {
      server.maxHeaderSize = before;
    }
  });

  test.each(junkFamilies(algorithm))('%s: a refresh token beside it goes on', async (family) => {
    const { browser } = scene;
    const surprising: Record<string, string> = {};
    for (const { name, make } of recipesOf(family)) {
      const token = make();
      const refreshToken = cookieOf(browser, 'session_refresh').value;
      const answer = await ask(scene, `${asCookie(token)}; ${REFRESH}=${refreshToken}`);
      const isRefreshed = answer.body.userId === 'alice' && answer.cookies[0]?.startsWith(`${ACCESS}=ey`);
      const is = answer.status === 200 && isRefreshed ? 'refreshed' : summary(answer);
      if (is !== String(answerOfNode(token) ?? 'refreshed')) surprising[name] = is;
      for (const line of answer.cookies) browser.receive(line);
    }
    expect(surprising).toEqual({});
    expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
    expect(scene.logs.lines).toEqual([]);
  });
});

test('the certificates that tokens bring along are real', () => {
  for (const alg of ['RS256', 'ES256', 'EdDSA']) {
    const { certificate, jwk } = ownKeys(alg);
    const { publicKey } = new X509Certificate(certificate!);
    expect(new X509Certificate(certificate!).verify(publicKey)).toBe(true);
    expect(publicKey.export({ format: 'jwk' })).toEqual(jwk);
  }
});

describe.each(databases)('junk on $name', (kind) => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await startScene('fastify', 'HS256', kind);
  });
  afterAll(() => scene.stop());

  const randomKids = () => scene.recipes.filter(({ family }) => family === 'a random kid');
  const keyQueries = () => scene.queries.take(/FROM .user_session_key/i).length;
  const show = async (count: number) => {
    const recipes = randomKids();
    const some = Array.from({ length: count }, (_, n) => recipes[n % recipes.length]!);
    expect(await surprises(scene, some)).toEqual({});
  };

  test('one of each family is refused', async () => {
    const some = junkFamilies('HS256').map((name) => scene.recipes.find(({ family }) => family === name)!);
    expect(await surprises(scene, some)).toEqual({});
  });

  test('random kids cause one look at the keys per cooldown, and no other query', async () => {
    await show(1);
    scene.queries.take();
    for (let n = 0; n < 3; n++) {
      pass('10s');
      await show(50);
      for (const wait of [...Array<string>(9).fill('1s'), '999ms']) {
        pass(wait);
        await show(5);
      }
      const queries = scene.queries.take();
      expect(queries).toEqual([expect.stringMatching(/SELECT.*FROM .user_session_key/)]);
    }
  });

  test('beside honest requests they cause none: those look at the keys each second already', async () => {
    await scene.browser.get('/me');
    scene.queries.take();
    for (let second = 1; second <= 15; second++) {
      pass('1s');
      await show(5);
      await scene.browser.get('/me');
      await show(5);
      expect(keyQueries(), `in second ${second}`).toBe(1);
    }
  });
});
