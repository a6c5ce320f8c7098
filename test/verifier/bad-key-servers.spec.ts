import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import type { JWK } from 'jose';
import { KeysUnavailableError } from 'nestjs-session-tokens';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RemoteKeys } from '../../lib/keys/remote-keys.js';
import { generateJwk } from '../../lib/keys/signing-key.js';
import { KeyServer } from './key-server.js';

const NOW = Date.UTC(2030, 0, 1);
const LIMIT = 256 * 1_024;
const TIMEOUT = 400;

const padded = (length: number, set: object = { keys: [] }) => JSON.stringify(set).padEnd(length, ' ');

/** What a server does, and what the error says of it. */
type Case = [does: string, answer: (response: ServerResponse) => void | Promise<void>, message: RegExp];

/** 64 MiB in few bytes. They are made before, because that takes longer than a response may. */
const LARGE = Buffer.alloc(2 ** 26, ' ');
const BOMBS = {
  gzip: gzipSync(LARGE),
  br: brotliCompressSync(LARGE, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } }),
};

const TOO_LONG = /longer than 262144 bytes/;
const TOO_SLOW = /not complete within 400 ms/;
const NOT_JSON = /not JSON/;
const NO_SET = /not a JSON Web Key Set/;

/** Sends something as often as the client takes it. */
async function sendOn(response: ServerResponse, text: string, pause: number): Promise<void> {
  while (!response.destroyed) {
    if (!response.write(text))
      await Promise.race([delay(20), new Promise((go) => response.once('drain', go))]);
    await delay(pause);
  }
}

const CASES: Case[] = [
  ['sends one byte too many', (response) => void response.end(padded(LIMIT + 1)), TOO_LONG],
  [
    'says itself that it sends too many',
    (response) => void response.writeHead(200, { 'content-length': 1e9 }).write(padded(LIMIT + 1)),
    TOO_LONG,
  ],
  ['sends without end', async (response) => sendOn(response, ' '.repeat(65_536), 0), TOO_LONG],
  ...(['gzip', 'br'] as const).map((encoding): Case => [
    `sends 64 MiB in a few kilobytes of ${encoding}`,
    (response) => void response.writeHead(200, { 'content-encoding': encoding }).end(BOMBS[encoding]),
    TOO_LONG,
  ]),
  ['sends a byte now and then', async (response) => sendOn(response, ' ', 50), TOO_SLOW],
  ['sends nothing but headers', (response) => response.writeHead(200).flushHeaders(), TOO_SLOW],
  ['sends nothing', () => undefined, TOO_SLOW],
  ['stops in the middle', (response) => void response.writeHead(200).write('{"keys":['), TOO_SLOW],
  [
    'breaks off in the middle',
    (response) =>
      void response.writeHead(200).write('{"keys":[', () => {
        response.destroy();
      }),
    /terminated/,
  ],
  ['answers a page', (response) => void response.end('<html>secret</html>'), NOT_JSON],
  ['answers nothing', (response) => void response.end(), NOT_JSON],
  ['answers null', (response) => void response.end('null'), NO_SET],
  ['answers a list', (response) => void response.end('[]'), NO_SET],
  ['answers a set of one key', (response) => void response.end('{"keys":{}}'), NO_SET],
  ['has in its set what is no key', (response) => void response.end('{"keys":[null]}'), NO_SET],
  ['answers 404', (response) => void response.writeHead(404).end('{"keys":[]}'), /the status 404/],
  ['answers 204', (response) => void response.writeHead(204).end(), /the status 204/],
];

describe('a server of keys', () => {
  let server: KeyServer;
  let key: JWK;
  beforeEach(async () => {
    server = await KeyServer.start();
    const { d: _, ...publicHalf } = await generateJwk('ES256');
    key = { ...publicHalf, kid: 'k', alg: 'ES256' };
  });
  afterEach(() => server.close());

  const remote = () =>
    new RemoteKeys({
      jwksUri: new URL(server.uri),
      cacheMaxAge: 30_000,
      cooldown: 100,
      timeout: TIMEOUT,
      patience: 1_000,
    });

  it.each(CASES)(
    'that %s is an error soon, is left alone, and costs no known key',
    async (_, answer, message) => {
      const keys = remote();
      server.publish([key]);
      await keys.lookUp('k', NOW);
      let closed: Promise<unknown> | undefined;
      server.answer((response) => {
        closed = new Promise((resolve) => response.once('close', resolve));
        return answer(response);
      });

      const begin = performance.now();
      const error: unknown = await keys.lookUp('other', NOW + 1_000).catch((each: unknown) => each);
      expect(error).toBeInstanceOf(KeysUnavailableError);
      const { cause } = error as { cause: Error };
      expect(cause.message).toMatch(message);
      expect(cause.message).not.toContain('secret');
      expect(performance.now() - begin).toBeLessThan(TIMEOUT + 2_000);
      await closed;

      expect(keys.find('k')).toBeDefined();
      server.publish([key, { ...key, kid: 'other' }]);
      expect(await keys.lookUp('other', NOW + 2_000)).toBeDefined();
    },
  );

  it('may send as much as is allowed, compressed or not, and nested as deeply as fits', async () => {
    const deep = `{"keys":[{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}},${JSON.stringify(key)}]}`;
    for (const body of [padded(LIMIT, { keys: [key] }), deep]) {
      for (const [encoding, bytes] of [
        ['identity', body],
        ['gzip', gzipSync(body)],
      ] as const) {
        server.answer(
          (response) => void response.writeHead(200, { 'content-encoding': encoding }).end(bytes),
        );
        const keys = remote();
        expect(await keys.lookUp('k', NOW)).toBeDefined();
      }
    }
  });

  it.each([301, 302, 303, 307, 308])('is not followed elsewhere: %i', async (status) => {
    const elsewhere = await KeyServer.start();
    try {
      elsewhere.publish([key]);
      server.answer((response) => void response.writeHead(status, { location: elsewhere.uri }).end());
      const asking = remote().lookUp('k', NOW);
      await expect(asking).rejects.toMatchObject({
        cause: { message: expect.stringContaining(`${status}`) },
      });
      expect(elsewhere.requests).toBe(0);
    } finally {
      await elsewhere.close();
    }
  });
});
