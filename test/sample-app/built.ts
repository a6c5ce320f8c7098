import { type ChildProcess, execFile, spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { handToSearch } from '../support/log-search.js';
import type { Environment } from './sample.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SOURCES = ['lib', 'sample-app', 'package.json', 'tsconfig.json', 'nest-cli.json'];

/** The sample application as `npm start` builds it, in a separate folder, so that other builds do not interfere. */
export interface Build {
  readonly folder: string;
  remove(): Promise<void>;
}

export async function build(): Promise<Build> {
  const folder = await mkdtemp(join(tmpdir(), 'session-tokens-build-'));
  for (const source of SOURCES) await cp(join(ROOT, source), join(folder, source), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  await promisify(execFile)('npm', ['run', 'build'], { cwd: folder });
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

export interface StartOptions extends SpawnOptions {
  readonly command?: readonly string[];
}

/** A process of the built application. */
export class SampleProcess {
  output = '';
  private readonly child: ChildProcess;
  private readonly isGroup: boolean;
  private readonly exit: Promise<number | NodeJS.Signals>;

  /** @param options the command, if it is another one, and what `spawn()` takes */
  constructor({ folder }: Build, env: Environment, { command, ...options }: StartOptions = {}) {
    const { PATH = '' } = process.env;
    const [program, ...parameters] = command ?? [process.execPath, join(folder, 'dist/sample-app/main.js')];
    this.isGroup = options.detached === true;
    this.child = spawn(program!, parameters, {
      cwd: folder,
      ...options,
      env: { PATH, NO_COLOR: '1', HOST: '127.0.0.1', PORT: '0', ...env },
    });
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
    // "close" comes when the output is complete, "exit" may come earlier.
    this.exit = once(this.child, 'close').then(([code, signal]) => {
      handToSearch('the sample application', this.output);
      return code ?? signal;
    });
  }

  /** Waits until it listens. */
  async url(): Promise<string> {
    for (;;) {
      const port = /Open http:\/\/localhost:(\d+)/.exec(this.output)?.[1];
      if (port !== undefined) return `http://127.0.0.1:${port}`;
      const ended = await Promise.race([this.exit, once(this.child.stdout!, 'data').then(() => undefined)]);
      if (ended !== undefined) throw new Error(`The sample ended with ${ended}:\n${this.output}`);
    }
  }

  /** @returns its exit code, or the signal that killed it */
  async ended(): Promise<number | NodeJS.Signals> {
    return this.exit;
  }

  terminate(): void {
    this.child.kill('SIGTERM');
  }

  /** As a terminal does. The process must have been started `detached`, as the first one of its group. */
  signalGroup(signal: NodeJS.Signals): void {
    process.kill(-this.child.pid!, signal);
  }

  async kill(): Promise<void> {
    // Of npm, what it has started as well.
    if (this.isGroup && this.child.exitCode === null) this.signalGroup('SIGKILL');
    this.child.kill('SIGKILL');
    await this.exit;
  }
}
