// Packs the library and tries the tarball in new Nest applications outside the repository: their types, their build, their
// unit test, and sessions over HTTP. An argument picks those whose name contains it: npm run package:try -- 'Nest ^11'
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { WebSocket } from 'ws';
import { APPLICATIONS, filesOf } from './applications.mjs';

const run = promisify(execFile);
const repository = new URL('../..', import.meta.url).pathname;
const read = (file) => readFile(join(repository, file), 'utf8');

const chosen = APPLICATIONS.filter((each) => nameOf(each).includes(process.argv[2] ?? ''));
if (chosen.length === 0) throw new Error(`No application's name contains "${process.argv[2]}".`);
const folder = await mkdtemp(join(tmpdir(), 'session-tokens-package-'));
try {
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: repository });
  // Scripts that run before packing print on the same stream; the description is the last thing on it.
  const [{ filename, files, size }] = JSON.parse(stdout.slice(stdout.search(/^\[$/m)));
  console.log(`${filename}: ${files.length} files, ${size} bytes`);
  const context = {
    tarball: join(folder, filename),
    readme: await read('README.md'),
    recipe: await read('test/testing/recipe/account.spec.ts'),
    library: JSON.parse(await read('package.json')),
  };
  // Two at a time: an installation waits for the network and the disk, a compiler for the processor.
  const queue = [...chosen];
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      await tryApplication(next, context).catch((error) => {
        console.error(error.message);
        process.exitCode = 1;
      });
    }
  };
  await Promise.all([worker(), worker()]);
} finally {
  await rm(folder, { recursive: true, force: true });
}

function nameOf({ nest, typeorm, type, http, builder, test, shared }) {
  const database = shared ? '@nestjs/typeorm' : 'own database';
  return `Nest ${nest}, TypeORM ${typeorm}, ${type}, ${http}, ${builder}, ${test}, ${database}`;
}

async function tryApplication(application, context) {
  const { test } = application;
  const name = nameOf(application);
  const started = Date.now();
  const cwd = await mkdtemp(join(folder, 'app-'));
  for (const [file, text] of Object.entries(filesOf(application, context))) {
    await mkdir(dirname(join(cwd, file)), { recursive: true });
    await writeFile(join(cwd, file), text);
  }
  const step = async (what, file, parameters) => {
    await run(file, parameters, { cwd, maxBuffer: 2 ** 26 }).catch((error) => {
      throw new Error(`${name}: ${what} fails\n${error.stdout}\n${error.stderr}`);
    });
  };
  const tool = (what, ...parameters) => step(what, 'npx', ['--no-install', ...parameters]);

  await step('npm install', 'npm', [
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]);
  await checkTypes(cwd, name);
  await tool('nest build', 'nest', 'build');
  await tool(test, test, ...(test === 'vitest' ? ['run'] : []));
  await trySessions(cwd, name);
  await tryWithoutOpenTelemetry(cwd, name);
  console.log(`${name}: works (${Math.round((Date.now() - started) / 1_000)} s)`);
  await rm(cwd, { recursive: true });
}

/**
 * The application's types and the library's declarations. Those of other packages are not looked at: TypeORM's name types of
 * drivers that are not installed.
 */
async function checkTypes(cwd, name) {
  const tsc = ['--no-install', 'tsc', '--noEmit', '--skipLibCheck', 'false', '--pretty', 'false'];
  const { stdout } = await run('npx', tsc, { cwd, maxBuffer: 2 ** 26 }).catch((error) => error);
  const errors = stdout
    .split('\n')
    .filter((line) => /^\S.*\berror TS/.test(line))
    .filter((line) => !/^node_modules\/(?!nestjs-session-tokens\/)/.test(line));
  if (errors.length > 0) throw new Error(`${name}: does not compile\n${errors.join('\n')}`);
}

/** The peer is optional: the application has not got it, and works. The entry that needs it is there, and says what is missing. */
async function tryWithoutOpenTelemetry(cwd, name) {
  const script = "import('nestjs-session-tokens/opentelemetry').catch((error) => console.log(error.message))";
  const { stdout } = await run(process.execPath, ['-e', script], { cwd });
  if (!stdout.includes("'@opentelemetry/api'")) throw new Error(`${name}: without OpenTelemetry: ${stdout}`);
}

async function trySessions(cwd, name) {
  const child = spawn(process.execPath, ['dist/main.js'], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  try {
    const port = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${name}: did not start\n${output}`)), 60_000);
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (chunk) => {
          output += chunk;
          const match = /port (\d+)/.exec(output);
          if (match) {
            clearTimeout(timer);
            resolve(match[1]);
          }
        });
      }
      child.once('exit', (code) => reject(new Error(`${name}: ended with ${code}\n${output}`)));
    });
    const url = `http://127.0.0.1:${port}`;
    const me = (cookie) => fetch(`${url}/me`, { headers: { cookie } });
    const refused = await me('');
    const login = await fetch(`${url}/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'alice' }),
    });
    const cookie = login.headers
      .getSetCookie()
      .map((line) => line.split(';')[0])
      .join('; ');
    const known = await me(cookie);
    const live = await openLive(url, cookie);
    const logout = await fetch(`${url}/logout`, { method: 'POST', headers: { cookie } });
    const over = await me(cookie);
    const statuses = [refused, login, known, logout, over].map(({ status }) => status);
    const seen = JSON.stringify([...statuses, await known.json(), await endOf(live)]);
    const expected = JSON.stringify([
      401,
      204,
      200,
      204,
      401,
      { userId: 'alice', claims: { role: 'admin' } },
      { stranger: 4_401, who: 'alice', socket: 4_401, events: 'complete' },
    ]);
    if (seen !== expected) throw new Error(`${name}: ${seen}, not ${expected}\n${output}`);
  } finally {
    child.kill();
  }
}

/** @returns the close code */
async function closed(socket) {
  return (await once(socket, 'close'))[0];
}

/** What stays open: a WebSocket and an event stream. @returns what has become of them when the session has ended */
async function openLive(url, cookie) {
  const connect = (headers) => new WebSocket(url.replace('http', 'ws'), { headers });
  const stranger = await closed(connect({}));
  const socket = connect({ cookie });
  await once(socket, 'open');
  socket.send(JSON.stringify({ event: 'who' }));
  const who = JSON.parse((await once(socket, 'message'))[0]).data;
  const stream = await fetch(`${url}/beats`, { headers: { cookie } });
  const body = stream.body.getReader();
  await body.read();
  const ends = Promise.all([
    closed(socket),
    (async () => {
      while (!(await body.read()).done);
      return 'complete';
    })(),
  ]);
  return { stranger, who, ends };
}

async function endOf({ stranger, who, ends }) {
  const [socket, events] = await ends;
  return { stranger, who, socket, events };
}
