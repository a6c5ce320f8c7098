import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Answer, Ready, Request } from '../servers/support/protocol.js';

/** Cores that processes are pinned to, so that the load generator takes nothing from the server. */
export const CORES = { server: 0, generator: 1 } as const;

/** Whether processes can be pinned to cores here. */
export const canPin = availableParallelism() > 1 && hasTaskset();

/** What was printed by a process that failed is shown, up to so many characters. */
const SHOWN = 4_000;

/** A process that answers requests in their order. */
export class Child {
  private readonly process: ChildProcess;
  private readonly waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];
  private readonly becameReady: Promise<Ready>;
  private readonly exited: Promise<unknown>;
  /** The end of what it has printed. */
  output = '';

  /** @param module path of a compiled module, relative to `dist/` */
  constructor(
    private readonly module: string,
    core: number,
    env: Readonly<Record<string, string>> = {},
  ) {
    const flags = ['--expose-gc'];
    this.process = fork(fileURLToPath(new URL(`../${module}`, import.meta.url)), {
      env: { ...process.env, NODE_ENV: 'production', NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      serialization: 'advanced',
      ...(canPin
        ? { execPath: 'taskset', execArgv: ['-c', String(core), process.execPath, ...flags] }
        : { execArgv: flags }),
    });
    for (const stream of [this.process.stdout!, this.process.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output = (this.output + text).slice(-SHOWN);
      });
    }
    this.exited = once(this.process, 'close');
    this.becameReady = new Promise((resolve, reject) => {
      this.waiting.push({ resolve: (value) => resolve(value as Ready), reject });
    });
    this.process.on('message', (answer: Answer) => {
      const { resolve, reject } = this.waiting.shift()!;
      if (answer.type === 'failed') reject(new Error(`${this.module}: ${answer.message}`));
      else resolve(answer.type === 'ready' ? answer : answer.value);
    });
    this.process.on('close', (code, signal) => {
      const error = new Error(`${this.module} ended (${signal ?? code}).\n${this.output}`);
      for (const { reject } of this.waiting.splice(0)) reject(error);
    });
    // Whoever waits sees the error; nobody may be waiting yet.
    this.becameReady.catch(() => undefined);
  }

  async ready(): Promise<Ready> {
    return this.becameReady;
  }

  async ask<T>(request: Request | { readonly type: string }): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (!this.process.connected) {
        reject(new Error(`${this.module} has ended.\n${this.output}`));
        return;
      }
      this.waiting.push({ resolve: resolve as (value: unknown) => void, reject });
      this.process.send(request);
    });
  }

  /** Ends the process, kindly at first. */
  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const impatience = setTimeout(() => this.process.kill('SIGKILL'), 10_000);
    try {
      if (this.process.connected) await this.ask({ type: 'stop' }).catch(() => undefined);
      await this.exited;
    } finally {
      clearTimeout(impatience);
    }
  }
}

function hasTaskset(): boolean {
  try {
    execFileSync('taskset', ['-c', '0,1', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
