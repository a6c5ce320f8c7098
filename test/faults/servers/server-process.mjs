// Programs that run until a scenario ends or kills them.
import { execFile, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { atExit } from './at-exit.mjs';

/** How long a server may take to start or to stop, in milliseconds. */
const PATIENCE = 60_000;
/** The last part of what a server has said, in characters. It is for messages of errors. */
const KEPT_OUTPUT = 4_000;

/** Runs a program to its end. @returns what it has written */
export async function run(command, args, owner = {}) {
  const { stdout } = await promisify(execFile)(command, args, { ...owner, cwd: '/' });
  return stdout;
}

/** Tries until it works. @throws the last error, or where the process has ended meanwhile */
export async function untilItWorks(action, server) {
  for (const end = Date.now() + PATIENCE; ; await pause(50)) {
    try {
      return await action();
    } catch (error) {
      if (Date.now() < end && (server?.isRunning ?? true)) continue;
      throw new Error(`A server did not start.\n${server?.output ?? ''}`, { cause: error });
    }
  }
}

/** A process of a server, with all that it has started. */
export class ServerProcess {
  output = '';
  #child;
  #exit;

  /** @param options of `spawn` */
  constructor(command, args, options = {}) {
    const child = spawn(command, args, { cwd: '/', ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk) => {
        this.output = (this.output + chunk).slice(-KEPT_OUTPUT);
      });
    }
    child.once('error', (error) => {
      this.output += error.message;
    });
    this.#exit = new Promise((resolve) => {
      child.once('exit', resolve);
      child.once('error', resolve);
    }).then(atExit(() => void this.kill()));
  }

  get isRunning() {
    const { pid, exitCode, signalCode } = this.#child;
    return pid !== undefined && exitCode === null && signalCode === null;
  }

  /** Asks it to end, and waits until it has. If it does not, it is killed. */
  async stop(signal) {
    if (!this.isRunning) return;
    this.#child.kill(signal);
    const hasEnded = await Promise.race([
      this.#exit.then(() => true),
      pause(PATIENCE, false, { ref: false }),
    ]);
    if (hasEnded) return;
    await this.kill();
    throw new Error(`A server did not stop.\n${this.output}`);
  }

  signal(signal) {
    this.#child.kill(signal);
  }

  /** Kills it and all that it has started, as a loss of power does. @returns when it is gone */
  kill() {
    if (this.isRunning) {
      const { pid } = this.#child;
      // It must not start anything meanwhile.
      process.kill(pid, 'SIGSTOP');
      const family = [pid, ...descendantsOf(pid)];
      for (const each of family) signalTo(each, 'SIGKILL');
    }
    return this.#exit;
  }
}

/** The processes that a process has started, and those that they have started. */
function descendantsOf(pid) {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => [Number(name), parentOf(name)]);
  const family = [pid];
  for (const each of family) {
    for (const [child, parent] of parents) if (parent === each) family.push(child);
  }
  return family.slice(1);
}

function parentOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the program, in parentheses, may have any character.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    // It has ended.
    return undefined;
  }
}

/** Sends a signal to a process, which may have ended. */
export function signalTo(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}
