import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startApp, type TestApp } from '../support/app.js';
import { databases } from '../support/databases.js';
import { expectPairs, hearLog, type LogLine } from '../support/log-lines.js';
import { TcpGate } from '../support/tcp-gate.js';
import { pass, stopClock } from '../support/time.js';
import { Proxy } from './proxy.js';
import { AUDIENCE, ISSUER, issuing, JWKS_PATH, type ServiceApp, startService } from './service-app.js';

const LIST_PATH = '/.well-known/session-revocations';

/** How long a request waits for news, and a response may take, in milliseconds: where the server hangs, and where it does not. */
const HANGING = { news: 500, timeout: 4_000 };
const PROMPT = { news: 5_000, timeout: 8_000 };
/** What a busy machine may add. */
const SLACK = 2_500;

/** The parts of an issuer that a service asks. */
type Part = 'keys' | 'list';

const parts: Record<Part, { readonly path: string; readonly begins: RegExp; readonly ends: RegExp }> = {
  keys: {
    path: JWKS_PATH,
    begins: /^The public keys could not be fetched; those known stay in use/,
    ends: /^The public keys can be fetched again\. The trouble lasted \d+ s\.$/,
  },
  list: {
    path: LIST_PATH,
    begins: /^The revocations at http:\S+ could not be read\. If that goes on/,
    ends: /^The revocations of the issuer can be read again\. The trouble lasted \d+ s\.$/,
  },
};

interface Cause {
  /** The server … */
  readonly does: string;
  /** What the line says of it. */
  readonly says: RegExp;
  readonly answer?: (response: ServerResponse) => unknown;
  readonly hangs?: true;
  /** Of the server as a whole: both parts have the trouble. @returns what ends it */
  readonly begin?: (gate: TcpGate) => Promise<() => unknown>;
}

/** A new cause is one more. */
const causes: readonly Cause[] = [
  {
    does: 'is not there',
    says: /fetch failed|ECONNREFUSED/,
    begin: async (gate) => {
      await gate.leave();
      return () => gate.comeBack();
    },
  },
  {
    does: 'hangs',
    hangs: true,
    says: /No answer within 0\.5 s/,
    begin: async (gate) => {
      gate.shut();
      return () => gate.open();
    },
  },
  { does: 'answers nothing', hangs: true, says: /No answer within 0\.5 s/, answer: () => undefined },
  { does: 'breaks off', says: /fetch failed|terminated/, answer: (response) => response.destroy() },
  { does: 'answers 500', says: /status 500/, answer: (response) => response.writeHead(500).end() },
  {
    does: 'answers 404 with a page',
    says: /status 404/,
    answer: (response) => response.writeHead(404, { 'content-type': 'text/html' }).end('<p>no'),
  },
  {
    does: 'answers junk',
    says: /not JSON|no list of revocations/,
    answer: (response) => response.end('junk'),
  },
  {
    does: 'answers a page in the place of data',
    says: /not JSON|no list of revocations/,
    answer: (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>sign in</p>'),
  },
  {
    does: 'answers too much',
    says: /longer than \d+ bytes/,
    answer: (response) => response.end(Buffer.alloc(17 * 1_024 * 1_024, 32)),
  },
  {
    does: 'sends elsewhere',
    says: /status 302/,
    answer: (response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
  },
];

describe('the troubles of a service without the database', () => {
  const cleanups: (() => Promise<unknown>)[] = [];
  let lines: readonly LogLine[];
  beforeEach(() => stopClock());
  afterEach(async () => {
    vi.restoreAllMocks();
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
    vi.useRealTimers();
  });

  const use = <T extends { close(): Promise<unknown> }>(value: T): T => {
    cleanups.push(() => value.close());
    return value;
  };

  async function setUp(whenStale: 'accept' | 'refuse', { news, timeout } = PROMPT) {
    const database = await databases[0]!.create();
    cleanups.push(() => database.remove());
    const options = { ...issuing, revocationsPath: LIST_PATH };
    const issuer = use(await startApp({ adapter: 'express', database, options }));
    const proxy = use(await Proxy.start(issuer.url));
    const gate = use(await TcpGate.before('127.0.0.1', Number(new URL(proxy.url).port)));
    const url = `http://127.0.0.1:${gate.port}`;
    const service = use(
      await startService('express', {
        jwksUri: url + JWKS_PATH,
        issuer: ISSUER,
        audience: AUDIENCE,
        timeout: timeout / 1_000,
        newsTimeout: news / 1_000,
        revocations: { uri: url + LIST_PATH, maxStaleness: 60, whenStale },
      }),
    );
    return { issuer, proxy, gate, service };
  }

  describe.each(Object.keys(parts) as Part[])('with the server of %s', (part) => {
    // A cause of the server as a whole is tried once.
    it.each(causes.filter(({ begin }) => !begin || part === 'keys'))(
      'that $does: what can be served is served in time, the rest is answered 503, and the log has it twice',
      async ({ says, answer, begin, hangs }) => {
        const times = hangs ? HANGING : PROMPT;
        const { issuer, proxy, gate, service } = await setUp('refuse', times);
        const known = await tokenOf(issuer);
        expect(await visit(service, known)).toMatchObject({ status: 200 });
        const later = await tokenAfterRotation(issuer);
        lines = hearLog();

        // The list is signed with the key that cannot be fetched.
        const failing: readonly Part[] = part === 'keys' ? ['keys', 'list'] : ['list'];
        const end = begin ? await begin(gate) : undefined;
        if (answer) {
          proxy.misdeed = (request, response) =>
            request.url!.startsWith(parts[part].path) ? answer(response) : proxy.pass(request, response);
        }
        try {
          // Requests that come together, then one that need not wait for the same answer.
          for (const count of [3, 1, 1]) {
            // The keys are due again, and the list is not too old.
            pass(count === 3 ? '31s' : '11s');
            const asked = proxy.requests;
            const answers = await Promise.all(
              Array.from({ length: count }, async () => visit(service, known)),
            );
            for (const { status, took } of answers) {
              expect(status).toBe(200);
              expect(took).toBeLessThan(Math.min(times.news, HANGING.news) + SLACK);
            }
            expect(proxy.requests - asked).toBeLessThanOrEqual(2);
          }
          const unknown = await visit(service, later);
          expect(unknown).toMatchObject(
            failing.includes('keys')
              ? { status: 503, code: 'keys_unavailable', retryAfter: '1' }
              : { status: 200 },
          );
          expect(unknown.took).toBeLessThan(HANGING.news + SLACK);
          pass('11s');
          const stale = await visit(service, known);
          expect(stale).toMatchObject(
            failing.includes('list')
              ? { status: 503, code: 'revocations_unavailable', retryAfter: '1' }
              : { status: 200 },
          );
          expect(stale.took).toBeLessThan(Math.min(times.news, HANGING.news) + SLACK);
        } finally {
          await end?.();
          proxy.misdeed = undefined;
        }
        // Loads from before may still be under way. Each try is after the cooldown of the one before.
        await vi.waitFor(
          async () => {
            pass('6s');
            expect(await visit(service, known)).toMatchObject({ status: 200 });
            expect(await visit(service, later)).toMatchObject({ status: 200 });
          },
          { timeout: 10_000 },
        );
        pass('31s');
        expect(await visit(service, known)).toMatchObject({ status: 200 });

        expectPairs(lines);
        // A busy machine may take as long as a request waits where a server hangs. Then that is told of the other part, too.
        for (const each of hangs ? [part] : (Object.keys(parts) as Part[])) {
          const { begins, ends } = parts[each];
          const told = lines.filter(({ text }) => begins.test(text) || ends.test(text));
          const steps = told.map(({ text }) => (begins.test(text) ? 'begins' : 'ends'));
          expect(steps).toEqual(failing.includes(each) ? ['begins', 'ends'] : []);
          expect(told[0]?.cause ?? '').toMatch(each === part ? says : /^/);
        }
      },
    );
  });

  it('an issuer without the key of a token is no trouble: the token is refused, and nothing is cleared', async () => {
    const { issuer, proxy, service } = await setUp('accept');
    const known = await tokenOf(issuer);
    expect(await visit(service, known)).toMatchObject({ status: 200 });
    lines = hearLog();
    await issuer.sessions.rotateSigningKeys({ drop: 'current' });
    pass('31s');
    expect(await visit(service, known)).toMatchObject({ status: 401, code: 'try_refresh', cookies: 0 });
    expect(lines).toEqual([]);
    expect(proxy.requests).toBeGreaterThan(0);
  });

  it.each([
    ['speaks no TLS', (url: string) => url.replace('http:', 'https:'), /fetch failed/],
    ['has no such address', (url: string) => `${url}/elsewhere`, /status 404/],
  ])('a start on a server that %s is told once, and requests are answered 503', async (_, at, says) => {
    const database = await databases[0]!.create();
    cleanups.push(() => database.remove());
    const issuer = use(await startApp({ adapter: 'express', database, options: issuing }));
    lines = hearLog();
    const jwksUri = at(issuer.url) + JWKS_PATH;
    const service = use(await startService('express', { jwksUri, issuer: ISSUER, audience: AUDIENCE }));
    const token = await tokenOf(issuer);
    for (let round = 0; round < 3; round++) {
      expect(await visit(service, token)).toMatchObject({ status: 503, code: 'keys_unavailable' });
      pass('6s');
    }
    expect(lines).toMatchObject([
      { level: 'error', text: expect.stringMatching(parts.keys.begins) as string },
    ]);
    expect(lines[0]!.cause).toMatch(says);
  });
});

async function tokenOf({ sessions }: TestApp): Promise<string> {
  return (await sessions.tokens.issue({ userId: 'ann' })).accessToken.token;
}

/** A token of a key that services have not fetched yet. */
async function tokenAfterRotation(issuer: TestApp): Promise<string> {
  await issuer.sessions.rotateSigningKeys();
  return tokenOf(issuer);
}

async function visit({ url }: ServiceApp, token: string) {
  const begun = performance.now();
  const response = await fetch(`${url}/me`, { headers: { authorization: `Bearer ${token}` } });
  const { code } = (await response.json()) as { code?: string };
  const { status, headers } = response;
  const took = performance.now() - begun;
  return {
    status,
    code,
    took,
    retryAfter: headers.get('retry-after'),
    cookies: headers.getSetCookie().length,
  };
}
