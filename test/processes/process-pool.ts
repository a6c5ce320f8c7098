import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, vi } from 'vitest';
import type { TestDatabase } from '../support/databases.js';
import { MINUTE } from '../support/time.js';
import type { ChildCommands } from './child.js';

type Answer = { id: number; result?: unknown; error?: { message: string } };

/** A separate process that runs the library. */
export class LibraryProcess {
  private requests = 0;

  private constructor(private readonly child: ChildProcess) {
    child.setMaxListeners(100);
  }

  static async spawn(): Promise<LibraryProcess> {
    const child = fork(new URL('child.mjs', import.meta.url), ['child.ts']);
    const ready = once(child, 'message');
    const died = once(child, 'exit').then(() => {
      throw new Error('The process ended before it was ready.');
    });
    await Promise.race([ready, died]);
    died.catch(() => undefined);
    return new LibraryProcess(child);
  }

  async call<C extends keyof ChildCommands>(
    command: C,
    ...parameters: Parameters<ChildCommands[C]>
  ): Promise<Awaited<ReturnType<ChildCommands[C]>>> {
    const id = ++this.requests;
    const answered = this.answer(id);
    this.child.send({ id, command, parameters });
    const { result, error } = await answered;
    if (error) throw Object.assign(new Error(error.message), error);
    return result as Awaited<ReturnType<ChildCommands[C]>>;
  }

  /** Waits for a message that the process sends without a call. */
  async event(name: string): Promise<void> {
    for (;;) {
      const [message] = (await once(this.child, 'message')) as [{ event?: string }];
      if (message.event === name) return;
    }
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const exited = once(this.child, 'exit');
    this.child.kill(signal);
    await exited;
  }

  private async answer(id: number): Promise<Answer> {
    return new Promise((resolve) => {
      const listen = (message: Answer) => {
        if (message.id !== id) return;
        this.child.off('message', listen);
        resolve(message);
      };
      this.child.on('message', listen);
    });
  }
}

/** Processes for the tests of the describe block that this is called in, there from its first `beforeAll` on. */
export function useProcesses(count: number): readonly LibraryProcess[] {
  const processes: LibraryProcess[] = [];
  beforeAll(async () => {
    processes.push(...(await Promise.all(Array.from({ length: count }, () => LibraryProcess.spawn()))));
  }, MINUTE);
  afterAll(async () => {
    await Promise.all(processes.map((each) => each.end()));
  });
  return processes;
}

/** Moves the stopped clocks of these processes and of this one to a time. */
export async function setClocks(processes: readonly LibraryProcess[], time: number): Promise<void> {
  vi.setSystemTime(time);
  await Promise.all(processes.map((each) => each.call('setTime', time)));
}

/** The options of a database as they can be sent to another process, which adds the driver itself. */
export function plainOptions({ options }: TestDatabase): TestDatabase['options'] {
  const { driver: _, ...plain } = options as TestDatabase['options'] & { driver?: unknown };
  return plain as TestDatabase['options'];
}
