import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { Browser } from '../support/browser.js';
import { connect as connectDatabase, databases, type TestDatabase } from '../support/databases.js';
import { type Build, build, SampleProcess } from './built.js';
import { databaseUrl, type Environment } from './sample.js';

const ALICE = { username: 'alice', password: 'wonderland' };
const MINUTES = 60_000;

let application: Build;
const processes: SampleProcess[] = [];
const used: TestDatabase[] = [];

beforeAll(async () => {
  application = await build();
}, 5 * MINUTES);
afterEach(async () => {
  for (const each of processes.splice(0)) await each.kill();
  for (const each of used.splice(0)) await each.remove();
});
afterAll(() => application?.remove());

function start(env: Environment = {}): SampleProcess {
  const started = new SampleProcess(application, env);
  processes.push(started);
  return started;
}

async function emptyDatabase(kind = databases[0]!): Promise<TestDatabase> {
  const database = await kind.create();
  used.push(database);
  return database;
}

describe.each(adapters)('the built sample on %s', (adapter) => {
  it('starts, serves the page and ends cleanly', { timeout: MINUTES }, async () => {
    const database = await emptyDatabase();
    const sample = start({ HTTP_ADAPTER: adapter, DATABASE_URL: databaseUrl(database) });
    const browser = new Browser(await sample.url());
    expect((await browser.get('/')).body).toContain('<h1>');
    expect(await browser.get('/page/app.js')).toMatchObject({ status: 200 });
    expect(await browser.post('/login', ALICE)).toMatchObject({ status: 200 });
    sample.terminate();
    expect(await sample.ended()).toBe(0);
  });

  it('answers a request under way before it ends', { timeout: MINUTES }, async () => {
    const sample = start({ HTTP_ADAPTER: adapter, DATABASE_URL: 'sqlite::memory:' });
    const url = new URL(await sample.url());
    const idle = await open(url);
    idle.write('GET /health HTTP/1.1\r\nHost: x\r\n\r\n'); // and then stays open, as browsers leave connections
    await once(idle, 'data');

    const busy = await open(url);
    const answer = text(busy);
    const body = JSON.stringify(ALICE);
    busy.write(
      `POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n`,
    );
    await once(busy, 'data'); // "100 Continue": the server has the request
    sample.terminate();
    await untilRefused(url);
    busy.write(body);
    expect(await answer).toContain('HTTP/1.1 200');
    expect(await sample.ended()).toBe(0);
  });

  it(
    'cuts no connection off that clients have kept, but tells them to close it',
    { timeout: MINUTES },
    async () => {
      const sample = start({ HTTP_ADAPTER: adapter, DATABASE_URL: 'sqlite::memory:' });
      const url = await sample.url();
      const clients = Array.from({ length: 10 }, () => keepAsking(`${url}/health`));
      await Promise.all(clients.map(({ begun }) => begun));
      sample.terminate();
      expect(await Promise.all(clients.map(({ told }) => told))).toEqual(clients.map(() => 'close'));
      expect(await sample.ended()).toBe(0);
    },
  );
});

it('keeps sessions over a restart', { timeout: MINUTES }, async () => {
  const env = { DATABASE_URL: databaseUrl(await emptyDatabase()), SESSION_SECRET: 'x'.repeat(40) };
  const first = start(env);
  const before = new Browser(await first.url());
  await before.post('/login', ALICE);
  first.terminate();
  expect(await first.ended()).toBe(0);

  const after = new Browser(await start(env).url());
  for (const cookie of before.cookies) after.set(cookie);
  expect(await after.get('/me')).toMatchObject({ status: 200 });
});

it('uses a SQLite file in the current folder where nothing is set', { timeout: MINUTES }, async () => {
  const sample = start();
  expect(await new Browser(await sample.url()).get('/health')).toMatchObject({ status: 200 });
  const header = await readFile(join(application.folder, 'sample.sqlite'));
  expect(header.subarray(0, 15).toString()).toBe('SQLite format 3');
});

it.each([
  ['a wrong setting', { PORT: '80a' }, 'PORT is "80a". Allowed: a whole number from 0 to 65535.'],
  [
    'a setting that does not fit another',
    { ACCESS_TOKEN_TTL: '10s', REUSE_WINDOW: '6s' },
    'REUSE_WINDOW is "6s". Allowed:',
  ],
  [
    'a host that is not here',
    { HOST: 'nowhere.invalid', DATABASE_URL: 'sqlite::memory:' },
    'nowhere.invalid',
  ],
  ['a database file that cannot be', { DATABASE_URL: `sqlite:${tmpdir()}` }, 'is no file.'],
])('ends with code 1 and says why for %s', { timeout: MINUTES }, async (_, env, message) => {
  const sample = start(env);
  expect(await sample.ended()).toBe(1);
  expect(sample.output).toContain(message);
  expect(sample.output).not.toContain('    at ');
});

it('says in one line what is wrong with a setting, without a stack', { timeout: MINUTES }, async () => {
  const sample = start({ CSRF: 'yes' });
  expect(await sample.ended()).toBe(1);
  expect(sample.output).toBe('Wrong settings:\n  CSRF is "yes". Allowed: origin, token, header, off.\n');
});

describe.each(databases)('four processes on one empty $name database', (kind) => {
  it(
    'start at once without a line that alarms, and one makes the tables',
    { timeout: 2 * MINUTES },
    async () => {
      const database = await emptyDatabase(kind);
      const env = { DATABASE_URL: databaseUrl(database), SESSION_SECRET: 'x'.repeat(40) };
      const four = [1, 2, 3, 4].map(() => start(env));
      await Promise.all(four.map((each) => each.url()));
      for (const each of four) each.terminate();
      expect(await Promise.all(four.map((each) => each.ended()))).toEqual([0, 0, 0, 0]);
      const lines = four.flatMap(({ output }) => output.split('\n'));
      expect(lines.filter((line) => /WARN|ERROR|FATAL|error|^ +at /i.test(line))).toEqual([]);
      expect(lines.filter((line) => line.includes('Migrations:'))).toHaveLength(1);
    },
  );
});

describe.each(databases)('three processes on one empty $name database', (kind) => {
  it('that start at once are one application', { timeout: 2 * MINUTES }, async () => {
    const database = await emptyDatabase(kind);
    const env = { DATABASE_URL: databaseUrl(database), REVOCATION_INTERVAL: '1ms' };
    const [a, b, c] = await Promise.all([1, 2, 3].map(() => start(env).url()));

    // A session made by one works on the others: they agree on keys and tables.
    const browser = new Browser(a!);
    const login = await browser.post('/login', ALICE);
    const elsewhere = [b!, c!].map((url) => {
      const same = new Browser(url);
      for (const cookie of browser.cookies) same.set(cookie);
      return same;
    });
    for (const same of elsewhere) {
      expect(await same.get('/me')).toMatchObject({ status: 200, body: login.body });
      same.delete('session_access'); // makes it use the refresh token
      expect(await same.get('/me')).toMatchObject({ status: 200, body: login.body });
    }
    expect(await elsewhere[0]!.post('/logout')).toMatchObject({ status: 204 });
    await expect.poll(async () => (await browser.get('/me')).status, { timeout: 10_000 }).toBe(401);

    const dataSource = await connectDatabase(database);
    try {
      const keys = await dataSource.query<unknown[]>('SELECT kid FROM user_session_key');
      expect(keys).toHaveLength(2); // one to sign with, one for refresh tokens
    } finally {
      await dataSource.destroy();
    }
    for (const each of processes) each.terminate();
    expect(await Promise.all(processes.map((each) => each.ended()))).toEqual([0, 0, 0]);
  });
});

describe.each(databases.filter(({ name }) => name !== 'sqlite'))('when $name is gone', (kind) => {
  it('health answers 503, and a session nobody looked up goes on', { timeout: MINUTES }, async () => {
    const database = await kind.create();
    const sample = start({ DATABASE_URL: databaseUrl(database) });
    const browser = new Browser(await sample.url());
    await browser.post('/login', ALICE);
    await database.remove();
    expect(await browser.get('/health')).toMatchObject({
      status: 503,
      body: { status: 'error', error: { sessions: { status: 'down', database: 'down' } } },
    });
    expect(await browser.get('/me')).toMatchObject({ status: 200 });
    expect(await browser.get('/sessions')).toMatchObject({ status: 503 });
  });
});

/** Sends one request after the other over a connection that it keeps, until it is told to close it. */
function keepAsking(url: string): {
  readonly begun: Promise<unknown>;
  readonly told: Promise<string | undefined>;
} {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = async () =>
    new Promise<string | undefined>((resolve, reject) => {
      const request = get(url, { agent }, (response) => {
        const { connection } = response.headers;
        response
          .resume()
          .once('end', () => resolve(connection))
          .once('error', reject);
      });
      request.once('error', reject);
    });
  const begun = ask();
  const told = (async () => {
    try {
      for (let connection = await begun; ; connection = await ask()) {
        if (connection === 'close') return connection;
      }
    } finally {
      agent.destroy();
    }
  })();
  return { begun, told };
}

async function open({ hostname, port }: URL): Promise<Socket> {
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  return socket;
}

/** Waits until the server takes no more connections. */
async function untilRefused(url: URL): Promise<void> {
  await expect
    .poll(
      () =>
        open(url).then(
          (socket) => socket.destroy() && 'open',
          () => 'refused',
        ),
      { timeout: 10_000 },
    )
    .toBe('refused');
}
