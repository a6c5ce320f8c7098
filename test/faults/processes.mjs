import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';

const APPLICATION = fileURLToPath(new URL('application.mjs', import.meta.url));

/** A place where a process of the application runs: when it dies, the next one runs there. */
export class Application {
  /** Lines of its log, of all processes that ran here. */
  log = [];
  thefts = 0;
  /** `undefined` while nobody listens here. */
  port;
  #settings;
  #child;

  /** @param {{ database: object, options: object }} settings TypeORM's, and those of the module */
  constructor(settings) {
    this.#settings = settings;
  }

  async start() {
    const child = fork(APPLICATION, {
      env: {
        PATH: process.env.PATH,
        FAULTS_APPLICATION: JSON.stringify(this.#settings),
      },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#child = child;
    this.log.push({ level: 'start', message: `process ${child.pid}` });
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.log.push(parse(line)));
    }
    const died = once(child, 'exit').then(([code, signal]) => {
      if (this.#child === child) this.port = undefined;
      return `A process ended (${code ?? signal}):\n${this.log.map(({ message }) => message).join('\n')}`;
    });
    const ready = new Promise((resolve) => {
      child.on('message', ({ port, theft }) => {
        if (theft) this.thefts++;
        if (port === undefined) return;
        this.port = port;
        resolve();
      });
    });
    const problem = await Promise.race([ready, died]);
    if (problem !== undefined) throw new Error(problem);
  }

  /** `kill -9`. */
  async kill() {
    this.port = undefined;
    await this.#end('SIGKILL');
  }

  /** Ends it as a deployment does. It is known to the balancer for as long as it listens. */
  async terminate() {
    await this.#end('SIGTERM');
    this.port = undefined;
  }

  async #end(signal) {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
  }
}

/** A line of Nest's logger, or one that somebody has written past it. */
function parse(line) {
  try {
    const { level, context, message, stack, error } = JSON.parse(line);
    // The cause is an error, or a text.
    const cause = error === undefined ? stack : causeOf(error);
    if (typeof level === 'string') return { level, context, message: String(message), cause, at: Date.now() };
  } catch {
    // Not JSON.
  }
  return { level: 'stray', message: line, at: Date.now() };
}

/** What an error says, and those that it was caused by. */
function causeOf({ message, code, cause }) {
  const text = code === undefined ? message : `${message} (${code})`;
  return cause === undefined ? text : `${text}: ${causeOf(cause)}`;
}
