// Requests with forged access tokens against a real process: each must be answered 401 with a code, cost no more than an
// honest request, and leave nothing behind. Usage:
//   npm run build && npm run soak:junk [-- --requests 100000 --algorithms HS256,ES256 --seconds 2 --rounds 5]
// What is wrong with a token is tried one by one in test/attacks; this is about what many of them cost.
import { fork } from 'node:child_process';
import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
} from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import libsql from 'libsql';

const CONNECTIONS = 16;
/** How many requests are made ready at a time: making them must not take the processor from those who answer. */
const BATCH = 5_000;
/** Unknown keys cause one look at the database in this time. */
const COOLDOWN = 10_000;
/** A hundred bytes for each of 50,000 tokens would be 5 MB. */
const MAX_GROWTH = 2.5e6;
/** Less than this share of what is theirs: something holds honest requests up. */
const STARVED = 0.7;
const ISSUER = 'https://accounts.example';
const AUDIENCE = 'https://shop.example';

const own = {
  HS256: randomBytes(32),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
};
const ownJwk = own.ES256.publicKey.export({ format: 'jwk' });

const part = (value) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const hmac = (input, key) => createHmac('sha256', key).update(input).digest('base64url');
const ecdsa = (input, key) =>
  sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');

/** The process that is attacked. */
async function serve(database, algorithm) {
  await import('reflect-metadata');
  const { Controller, Get, Module, Post, Req, Res, UseGuards } = await import('@nestjs/common');
  const { NestFactory } = await import('@nestjs/core');
  const { SessionGuard, SessionModule, SessionService, attachedSession } =
    await import('nestjs-session-tokens');
  let keyQueries = 0;
  const logger = Object.fromEntries(
    ['logQueryError', 'logQuerySlow', 'logSchemaBuild', 'logMigration', 'log'].map((name) => [
      name,
      () => {},
    ]),
  );
  logger.logQuery = (query) => {
    if (/^\s*select\b.*user_session_key/i.test(query)) keyQueries++;
  };

  class AppController {
    #sessions;
    constructor(sessions) {
      this.#sessions = sessions;
    }
    async login(request, response) {
      await this.#sessions.create(request, response, { userId: 'alice' });
      return {};
    }
    me(request) {
      return { userId: attachedSession(request).userId };
    }
  }
  // What a compiler makes of the decorators in TypeScript.
  const method = (name, ...decorators) => {
    const descriptor = Object.getOwnPropertyDescriptor(AppController.prototype, name);
    for (const decorate of decorators) decorate(AppController.prototype, name, descriptor);
  };
  Req()(AppController.prototype, 'login', 0);
  Res({ passthrough: true })(AppController.prototype, 'login', 1);
  Req()(AppController.prototype, 'me', 0);
  method('login', Post('login'));
  method('me', Get('me'), UseGuards(SessionGuard));
  Controller()(AppController);
  Reflect.defineMetadata('design:paramtypes', [SessionService], AppController);
  // oxlint-disable-next-line no-extraneous-class -- that is what a module is
  class AppModule {}
  Module({
    imports: [
      SessionModule.forRoot({
        database: { type: 'better-sqlite3', driver: libsql, database, logging: true, logger },
        accessToken: { algorithm, issuer: ISSUER, audience: AUDIENCE, ttl: '1h' },
        cookies: { secure: false },
      }),
    ],
    controllers: [AppController],
  })(AppModule);

  const app = await NestFactory.create(AppModule, { logger: ['error'] });
  await app.listen(0, '127.0.0.1');
  process.on('message', (message) => {
    if (message === 'end') {
      void app.close().then(() => process.disconnect());
      return;
    }
    globalThis.gc();
    globalThis.gc();
    const { user, system } = process.cpuUsage();
    process.send({ heap: process.memoryUsage().heapUsed, cpu: user + system, keyQueries });
  });
  process.send({ port: app.getHttpServer().address().port });
}

async function attack() {
  const { values } = parseArgs({
    options: {
      requests: { type: 'string', default: '100000' },
      algorithms: { type: 'string', default: 'HS256,ES256' },
      seconds: { type: 'string', default: '2' },
      rounds: { type: 'string', default: '5' },
    },
  });
  const algorithms = values.algorithms.split(',');
  const violations = [];
  for (const algorithm of algorithms) {
    console.log(`\n${algorithm}`);
    const victim = await startVictim(algorithm);
    try {
      const requests = Math.ceil(Number(values.requests) / algorithms.length);
      const found = [
        ...(await junkAlone(victim, requests)),
        ...(await junkBesideHonest(victim, Number(values.rounds), Number(values.seconds) * 1_000)),
      ];
      violations.push(...found.map((violation) => `${algorithm}: ${violation}`));
    } finally {
      await victim.stop();
    }
  }
  for (const violation of violations) console.log(`FAILED: ${violation}`);
  if (violations.length === 0) {
    console.log(
      `\n${values.requests} forged tokens were refused, each with a code, and cost nothing but their answers.`,
    );
  }
  process.exitCode = violations.length === 0 ? 0 : 1;
}

/** Nothing but junk: the answers, what the keys were asked for, and what is left in memory. */
async function junkAlone(victim, count) {
  const answers = new Map();
  const tally = (family, answer) => {
    const counts = answers.get(family) ?? {};
    counts[answer] = (counts[answer] ?? 0) + 1;
    answers.set(family, counts);
  };
  // What a process needs once, it has after that.
  for (let n = 0; n < 2; n++) await send(victim.port, makeJunk(victim, BATCH));

  const began = performance.now();
  const first = await victim.measure();
  const heaps = [first.heap];
  let took = 0;
  for (let sent = 0, quarter = 1; sent < count;) {
    const batch = makeJunk(victim, Math.min(BATCH, count - sent));
    const start = performance.now();
    await send(victim.port, batch, tally);
    took += performance.now() - start;
    sent += batch.length;
    if (sent >= (count * quarter) / 4) {
      heaps.push((await victim.measure()).heap);
      quarter++;
    }
  }
  const last = await victim.measure();
  const looks = last.keyQueries - first.keyQueries;
  const allowed = 1 + Math.ceil((performance.now() - began) / COOLDOWN);
  console.table(
    Object.fromEntries([...answers].map(([family, counts]) => [family, { answers: JSON.stringify(counts) }])),
  );
  console.table([
    {
      requests: count,
      'per second': Math.round(count / (took / 1_000)),
      'looks at the keys': looks,
      allowed,
      'heap MB': heaps.map((heap) => (heap / 1e6).toFixed(2)).join(' '),
    },
  ]);

  const violations = [];
  for (const [family, counts] of answers) {
    for (const answer of Object.keys(counts)) {
      if (!/^401 \w+$/.test(answer)) violations.push(`${family}: ${counts[answer]} times ${answer}`);
    }
  }
  if (looks > allowed) violations.push(`${looks} looks at the keys, where ${allowed} are allowed`);
  const growth = heaps.at(-1) - heaps[0];
  if (growth > MAX_GROWTH) violations.push(`the heap has grown by ${(growth / 1e6).toFixed(1)} MB`);
  return violations;
}

/** Honest requests alone, and with as many forged ones between them. */
async function junkBesideHonest(victim, rounds, milliseconds) {
  const honest = Array.from({ length: BATCH }, () => ({
    family: 'honest',
    bytes: requestWith(`cookie: ${victim.cookie}`),
  }));
  const junk = makeJunk(victim, BATCH);
  const mixed = honest.flatMap((request, n) => [request, junk[n]]);
  const phases = { honest, mixed, junk };
  await sendFor(victim, honest, milliseconds);
  const measured = [];
  for (let round = 0; round < rounds; round++) {
    for (const [name, requests] of Object.entries(phases)) {
      measured.push({ name, round, ...(await sendFor(victim, requests, milliseconds)) });
    }
  }
  const of = (name) => measured.filter((each) => each.name === name);
  console.table(
    Object.fromEntries(
      Object.keys(phases).map((name) => [
        name,
        {
          'honest per second': median(of(name).map(({ honestPerSecond }) => honestPerSecond)),
          'all per second': median(of(name).map(({ perSecond }) => perSecond)),
          'server CPU µs per request': median(of(name).map(({ cpu }) => cpu)),
        },
      ]),
    ),
  );
  // In the time that one honest and one forged request take alone, both have to be answered: more the junk must not cost.
  const [alone, forged] = [of('honest'), of('junk')];
  const kept = median(
    of('mixed').map(({ honestPerSecond }, n) => {
      const expected = 1 / (1 / alone[n].honestPerSecond + 1 / forged[n].perSecond);
      return honestPerSecond / expected;
    }),
  );
  const share = `${Math.round(kept * 100)} % of what the junk's own work leaves them`;
  console.log(`Beside as much junk, honest requests get ${share}.`);
  const violations = [];
  // Times vary with whatever else the machine does; this far they do not.
  if (kept < STARVED) violations.push(`beside as much junk, honest requests get only ${share}`);
  const refused = measured.reduce((sum, each) => sum + each.refused, 0);
  if (refused > 0) violations.push(`${refused} honest requests were refused`);
  return violations;
}

async function startVictim(algorithm) {
  const folder = await mkdtemp(join(tmpdir(), 'session-tokens-junk-'));
  const file = join(folder, 'junk.sqlite');
  const child = fork(new URL(import.meta.url), ['serve', file, algorithm], { execArgv: ['--expose-gc'] });
  const [{ port }] = await once(child, 'message');
  const answer = await fetch(`http://127.0.0.1:${port}/login`, { method: 'POST' });
  const cookies = answer.headers.getSetCookie().map((line) => line.split(';', 1)[0]);
  const access = cookies.find((cookie) => /session_access=/.test(cookie));
  if (!access) throw new Error(`Nobody could sign in: ${answer.status} ${await answer.text()}`);
  const database = new libsql(file);
  const { kid, material } = database
    .prepare(`SELECT kid, material FROM user_session_key WHERE purpose = 'access'`)
    .get();
  database.close();
  const [name, token] = access.split(/=(.*)/s);
  return {
    port,
    algorithm,
    kid,
    /** The application's own: nobody but a test can make a token that is right but for one claim. */
    jwk: JSON.parse(material),
    cookieName: name,
    cookie: access,
    token,
    payload: JSON.parse(Buffer.from(token.split('.')[1], 'base64url')),
    async measure() {
      child.send('measure');
      return (await once(child, 'message'))[0];
    },
    async stop() {
      const exit = once(child, 'exit');
      child.send('end');
      await exit;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const random = () => randomBytes(12).toString('base64url');

/** One forged token of each family, another one at each call. */
function familiesAgainst({ algorithm, kid, jwk, token, payload }) {
  const isSymmetric = algorithm === 'HS256';
  const key = isSymmetric ? Buffer.from(jwk.k, 'base64url') : createPrivateKey({ key: jwk, format: 'jwk' });
  const pem = isSymmetric ? '' : createPublicKey(key).export({ type: 'spki', format: 'pem' });
  const claims = (changes) => ({ ...payload, jti: randomBytes(6).toString('hex'), ...changes });
  const header = (changes) => ({ alg: algorithm, typ: 'at+jwt', kid, ...changes });
  const signed = (input) => `${input}.${isSymmetric ? hmac(input, key) : ecdsa(input, key)}`;
  const right = (changes, headerChanges) => signed(`${part(header(headerChanges))}.${part(claims(changes))}`);
  const rightText = (text) => signed(`${part(header())}.${part(text)}`);
  const forged = (headerChanges, changes) => {
    const input = `${part(header(headerChanges))}.${part(claims(changes))}`;
    return `${input}.${isSymmetric ? hmac(input, own.HS256) : ecdsa(input, own.ES256.privateKey)}`;
  };
  const [head, body, signature] = token.split('.');
  return {
    'random kid': () => forged({ kid: random() }),
    'our kid, another key': () => forged(),
    'alg none': () => `${part(header({ alg: 'none' }))}.${part(claims())}.`,
    'HMAC with the public key': () => {
      const input = `${part(header({ alg: 'HS256' }))}.${part(claims())}`;
      return `${input}.${hmac(input, pem || 'secret')}`;
    },
    'another algorithm': () => {
      const input = `${part(header({ alg: isSymmetric ? 'ES256' : 'HS256' }))}.${part(claims())}`;
      return `${input}.${isSymmetric ? ecdsa(input, own.ES256.privateKey) : hmac(input, own.HS256)}`;
    },
    'embedded jwk': () => forged({ jwk: ownJwk }),
    jku: () => forged({ jku: 'http://127.0.0.1:9/jwks.json', kid: random() }),
    x5u: () => forged({ x5u: 'http://127.0.0.1:9/certificate.pem', kid: random() }),
    'crit, right but for it': () => right({}, { crit: ['exp'], exp: payload.exp }),
    'wrong typ, right but for it': () => right({}, { typ: 'JWT' }),
    'wrong iss, right but for it': () => right({ iss: 'https://evil.example' }),
    'wrong aud, right but for it': () => right({ aud: random() }),
    'exp as a string, right but for it': () => right({ exp: String(payload.exp) }),
    'expired, right but for it': () => right({ iat: payload.iat - 7_200, exp: payload.iat - 3_600 }),
    'duplicate claims, right but for them': () =>
      rightText(JSON.stringify(claims()).replace('{', '{"sub":"mallory",')),
    truncated: () => {
      const whole = right();
      return whole.slice(0, 10 + Math.floor(Math.random() * (whole.length - 11)));
    },
    'another payload under a signature': () => `${head}.${part(claims({ sub: 'mallory' }))}.${signature}`,
    'another signature': () => `${head}.${body}.${randomBytes(isSymmetric ? 32 : 64).toString('base64url')}`,
    oversized: () => `${head}.${part(claims({ filling: random().repeat(450) }))}.${signature}`,
    'no token': () => random(),
  };
}

function makeJunk(victim, count) {
  victim.families ??= Object.entries(familiesAgainst(victim));
  const { families, cookieName } = victim;
  return Array.from({ length: count }, (_, n) => {
    const [family, make] = families[n % families.length];
    const isCookie = Math.floor(n / families.length) % 2 === 0;
    const token = make();
    return {
      family,
      bytes: requestWith(isCookie ? `cookie: ${cookieName}=${token}` : `authorization: Bearer ${token}`),
    };
  });
}

function requestWith(header) {
  return Buffer.from(`GET /me HTTP/1.1\r\nhost: localhost\r\n${header}\r\n\r\n`, 'latin1');
}

/** Sends all of these, a few at a time, and tells of each answer. */
async function send(port, requests, tally = () => {}) {
  let next = 0;
  await converse(port, () => requests[next++], tally);
}

async function sendFor(victim, requests, milliseconds) {
  const before = await victim.measure();
  const start = performance.now();
  let next = 0;
  let [honest, all, refused] = [0, 0, 0];
  await converse(
    victim.port,
    () => (performance.now() - start < milliseconds ? requests[next++ % requests.length] : undefined),
    (family, answer) => {
      all++;
      if (family !== 'honest') return;
      honest++;
      if (!answer.startsWith('200')) refused++;
    },
  );
  const seconds = (performance.now() - start) / 1_000;
  const { cpu } = await victim.measure();
  return {
    honestPerSecond: Math.round(honest / seconds),
    perSecond: Math.round(all / seconds),
    cpu: Math.round((cpu - before.cpu) / all),
    refused,
  };
}

/** Several connections, on each of which a request follows the answer to the one before. */
async function converse(port, nextRequest, tally) {
  await Promise.all(
    Array.from(
      { length: CONNECTIONS },
      () =>
        new Promise((resolve, reject) => {
          const socket = connect(port, '127.0.0.1').setEncoding('latin1').setNoDelay();
          let current;
          let received = '';
          const go = () => {
            current = nextRequest();
            if (current) socket.write(current.bytes);
            else socket.end(resolve);
          };
          socket.on('connect', go);
          socket.on('data', (chunk) => {
            received += chunk;
            const end = received.indexOf('\r\n\r\n');
            if (end < 0) return;
            const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0);
            if (received.length < end + 4 + length) return;
            const code = /"code":"(\w+)"/.exec(received.slice(end))?.[1] ?? '';
            tally(current.family, `${received.slice(9, 12)} ${code}`);
            received = '';
            go();
          });
          socket.on('error', reject);
          socket.on('close', () =>
            current ? reject(new Error(`Closed after "${current.family}".`)) : resolve(),
          );
        }),
    ),
  );
}

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

if (process.argv[2] === 'serve') await serve(process.argv[3], process.argv[4]);
else await attack();
