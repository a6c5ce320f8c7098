import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  appendFile,
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Browser } from '../support/browser.js';
import { type Build, build, SampleProcess, type StartOptions } from './built.js';
import type { Environment } from './sample.js';

const MINUTE = 60_000;
const MEMORY = { DATABASE_URL: 'sqlite::memory:' };

/** Those that npm can be told to use. Debian's usual one does not replace itself by the last program that it runs. */
const SHELLS = ['/bin/sh', '/bin/dash', '/bin/bash'].filter((path) => existsSync(path));

/** Those of this checkout. */
const PACKAGES = fileURLToPath(new URL('../../node_modules', import.meta.url));

let application: Build;
const processes: SampleProcess[] = [];
const folders: string[] = [];

beforeAll(async () => {
  application = await build();
}, 5 * MINUTE);
afterEach(async () => {
  for (const each of processes.splice(0)) await each.kill();
  for (const each of folders.splice(0)) await rm(each, { recursive: true, force: true });
});
afterAll(() => application?.remove());

function npmStart(from: Build, env: Environment, options: StartOptions = {}): SampleProcess {
  const command = ['npm', 'start', '--no-update-notifier'];
  const started = new SampleProcess(from, env, { command, detached: true, ...options });
  processes.push(started);
  return started;
}

/** What an image has: what was built, and neither sources nor a compiler. */
async function image(): Promise<Build> {
  const folder = await mkdtemp(join(tmpdir(), 'session-tokens-image-'));
  folders.push(folder);
  await mkdir(join(folder, 'sample-app'));
  for (const each of ['dist', 'package.json', 'sample-app/build.mjs', 'sample-app/start.mjs']) {
    await cp(join(application.folder, each), join(folder, each), { recursive: true });
  }
  await symlink(PACKAGES, join(folder, 'node_modules'));
  return { folder, remove: async () => undefined };
}

describe.each(SHELLS)('npm start, with %s', (shell) => {
  const env = { ...MEMORY, npm_config_script_shell: shell };

  it.each([
    ['SIGTERM to npm alone', (sample: SampleProcess) => sample.terminate()],
    ['SIGTERM to the whole group', (sample: SampleProcess) => sample.signalGroup('SIGTERM')],
    [
      'SIGINT to the whole group, as from a terminal',
      (sample: SampleProcess) => sample.signalGroup('SIGINT'),
    ],
  ])('ends with code 0 after %s, and answers what is under way', { timeout: MINUTE }, async (_, send) => {
    const sample = npmStart(application, env);
    const browser = new Browser(await sample.url());
    const login = browser.post('/login', { username: 'alice', password: 'wonderland' });
    send(sample);
    expect(await login).toMatchObject({ status: 200 });
    expect(await sample.ended()).toBe(0);
    expect(sample.output).not.toContain('npm error');
  });
});

describe('npm start', () => {
  it('builds what has changed, and nothing else', { timeout: 5 * MINUTE }, async () => {
    const started = async () => {
      const sample = npmStart(application, MEMORY);
      await sample.url();
      sample.terminate();
      await sample.ended();
      return (await stat(join(application.folder, 'dist/sample-app/main.js'))).mtimeMs;
    };
    const first = await started();
    expect(await started()).toBe(first);
    await appendFile(join(application.folder, 'sample-app/main.ts'), '\n');
    expect(await started()).toBeGreaterThan(first);
  });

  it('runs what was built where sources and compiler are absent', { timeout: MINUTE }, async () => {
    const sample = npmStart(await image(), MEMORY);
    expect(await new Browser(await sample.url()).get('/health')).toMatchObject({ status: 200 });
  });

  it('says what is missing where nothing was built and nothing can be', { timeout: MINUTE }, async () => {
    const empty = await image();
    await rm(join(empty.folder, 'dist'), { recursive: true });
    const sample = npmStart(empty, MEMORY);
    expect(await sample.ended()).toBe(1);
    expect(sample.output).toContain('The application has not been built. The sources are not here.');
  });
});

const NOBODY = { uid: 65_534, gid: 65_534 };

/** Root may write everywhere, and only root can become somebody else. That user has to be able to read the packages. */
function canBeNobody(): boolean {
  if (process.getuid?.() !== 0) return false;
  const program = 'require("node:fs").readdirSync(process.argv[1])';
  return spawnSync(process.execPath, ['-e', program, PACKAGES], { ...NOBODY, cwd: '/' }).status === 0;
}

describe.each(canBeNobody() ? ['another user'] : [])(
  '%s, without a home, in a folder that cannot be written',
  () => {
    const env = { HOME: '/nonexistent' };

    it('starts, and says where the database is', { timeout: MINUTE }, async () => {
      const { folder } = await image();
      await chmod(folder, 0o755);
      const temporary = await mkdtemp(join(tmpdir(), 'session-tokens-tmp-'));
      folders.push(temporary);
      await chmod(temporary, 0o1777);
      const sample = npmStart(
        { folder, remove: async () => undefined },
        { ...env, TMPDIR: temporary },
        NOBODY,
      );
      expect(await new Browser(await sample.url()).get('/health')).toMatchObject({ status: 200 });
      const [own] = await readdir(temporary);
      expect(sample.output).toContain(`The database is ${join(temporary, own!, 'sample.sqlite')},`);
      expect((await stat(join(temporary, own!))).mode & 0o777).toBe(0o700);
      sample.terminate();
      expect(await sample.ended()).toBe(0);
    });

    it('is told in one line that a named file cannot be written', { timeout: MINUTE }, async () => {
      const { folder } = await image();
      await chmod(folder, 0o755);
      await writeFile(join(folder, 'x.sqlite'), '');
      const sample = npmStart(
        { folder, remove: async () => undefined },
        { ...env, DATABASE_URL: 'sqlite:x.sqlite' },
        NOBODY,
      );
      expect(await sample.ended()).toBe(1);
      expect(sample.output).toContain(`The database cannot be used. "${folder}" cannot be written.\n`);
      expect(sample.output).not.toContain('    at ');
    });
  },
);
