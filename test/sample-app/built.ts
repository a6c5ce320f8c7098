import { type ChildProcess, execFile, spawn } from 'node:child_process';
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

/** A process of the built application. */
export class SampleProcess {
  output = '';
  private readonly child: ChildProcess;
  private readonly exit: Promise<number | NodeJS.Signals>;

  constructor({ folder }: Build, env: Environment) {
    const { PATH = '' } = process.env;
    this.child = spawn(process.execPath, [join(folder, 'dist/sample-app/main.js')], {
      cwd: folder,
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

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exit;
  }
}
