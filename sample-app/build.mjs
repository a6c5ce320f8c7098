// Builds the library and the sample: `npm run build`. `npm start` does so only if the sources have changed.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, constants, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DIST = join(ROOT, 'dist');
const PROJECTS = ['lib', 'sample-app'];
const CONFIGURATION = [
  'nest-cli.json',
  'package.json',
  'tsconfig.json',
  'lib/tsconfig.lib.json',
  'sample-app/tsconfig.app.json',
];

/** What the sources were when they were built. Times of files would not tell: copies and checkouts change them. */
const STAMP = join(DIST, 'sources.sha256');

/** The program that `npm start` runs. */
export const MAIN = join(DIST, 'sample-app/main.js');

/** Builds if that is needed and possible. @returns a sentence on why what is there is older than the sources, if it is */
export async function buildIfChanged() {
  const isBuilt = existsSync(MAIN);
  const sources = fingerprint();
  if (sources === undefined && isBuilt) return undefined;
  if (isBuilt && existsSync(STAMP) && readFileSync(STAMP, 'utf8') === sources) return undefined;
  const obstacle = sources === undefined ? 'The sources are not here.' : obstacleToBuild();
  if (obstacle === undefined) {
    await build();
    return undefined;
  }
  if (isBuilt)
    return `The sources have changed since the last build. ${obstacle} What was built before runs.`;
  throw new Error(`The application has not been built. ${obstacle}`);
}

async function build() {
  const compiler = compilerPath();
  if (compiler === undefined) throw new Error(NO_COMPILER);
  const sources = fingerprint();
  // A build that does not end leaves no stamp.
  rmSync(STAMP, { force: true });
  for (const project of PROJECTS) await run(compiler, ['build', project]);
  writeFileSync(STAMP, sources ?? '');
}

/** Runs a program of Node. A signal ends it before this process, so that it does not go on alone. */
async function run(...parameters) {
  const child = spawn(process.execPath, parameters.flat(), { cwd: ROOT, stdio: 'inherit' });
  const pass = (signal) => child.kill(signal);
  const signals = ['SIGINT', 'SIGTERM'];
  for (const each of signals) process.on(each, pass);
  const [status, signal] = await once(child, 'close');
  for (const each of signals) process.off(each, pass);
  if (signal !== null) process.kill(process.pid, signal);
  if (status !== 0) throw new Error('The build has failed.');
}

const NO_COMPILER = 'The compiler is not installed (npm install, with the development dependencies).';

function obstacleToBuild() {
  if (compilerPath() === undefined) return NO_COMPILER;
  try {
    accessSync(ROOT, constants.W_OK);
    if (existsSync(DIST)) accessSync(DIST, constants.W_OK);
    return undefined;
  } catch {
    return 'The folder cannot be written.';
  }
}

/** @returns the path of Nest's command, or `undefined` where it or TypeScript is not installed */
function compilerPath() {
  const { resolve } = createRequire(import.meta.url);
  try {
    resolve('typescript');
    return resolve('@nestjs/cli/bin/nest.js');
  } catch {
    return undefined;
  }
}

/** @returns a hash of all that is compiled or copied, or `undefined` where it is not here */
function fingerprint() {
  if (CONFIGURATION.some((name) => !existsSync(join(ROOT, name)))) return undefined;
  const files = PROJECTS.flatMap((project) =>
    readdirSync(join(ROOT, project), { recursive: true }).map((name) => join(project, name)),
  );
  const sources = files.filter(
    (name) => /\.(?:ts|js|css|html|svg)$/.test(name) && !name.endsWith('.spec.ts'),
  );
  const hash = createHash('sha256');
  // The length keeps the end of a file apart from the beginning of the next.
  for (const name of [...CONFIGURATION, ...sources.toSorted()]) {
    const content = readFileSync(join(ROOT, name));
    hash.update(`${name}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    await build();
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
