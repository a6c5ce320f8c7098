import { setTimeout as delay } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import type { ModuleState } from '../diagnostics/channels.js';
import type { Vitals } from '../diagnostics/vitals.js';
import { InvalidOptionError } from '../errors/session.errors.js';
import { DEFAULT_MODULE } from '../guard/injection-tokens.js';
import { partsOf } from '../module/session-modules.js';
import type { Duration } from '../options/duration.js';
import { checkNames, duration, fail } from '../options/option-checks.js';
import { SYSTEM_CLOCK } from '../util/clock.js';

/** What {@link SessionHealthIndicator.isHealthy} asks, and how much may be wrong. Durations are seconds, or strings such as `'15m'`. */
export interface SessionHealthOptions {
  /** Name of the session module, if the application has several. @default the module without one */
  readonly module?: string;
  /** How long the database may take, at most 30 s. @default '1s' */
  readonly timeout?: Duration;
  /**
   * For how long no read of the revocations may have succeeded although one was tried.
   * @default '1m'; in a service without the database, `revocations.maxStaleness` if it then refuses tokens, else any time
   */
  readonly maxFeedLag?: Duration;
  /**
   * For how long a next key may be missing, after the newest one has been signing for its time. Not for keys that the application
   * provides. @default '1h'
   */
  readonly maxKeyOverdue?: Duration;
}

/** What is known of a session module. Nothing in it is secret, and it names no host. Times are in seconds. */
export interface SessionHealth {
  readonly status: 'up' | 'down';
  /** What is wrong, in sentences. Only if something is. */
  readonly message?: string;
  /** Whether the tables answer. Not in a service without the database. */
  readonly database?: 'up' | 'down';
  /** For how long no read of the revocations has succeeded although one was tried. Not in modes without a feed. */
  readonly feedLag?: number;
  /** For how long the present keys have been in use, by purpose. Not for keys that the application provides. */
  readonly keyAge: { readonly access?: number; readonly refresh?: number };
}

/** In milliseconds. However many probes come, the database is asked at most once in this time. */
const SHARED = 500;

/** In milliseconds. A statement that has not come back by then never may. The next probe sends another one. */
const GIVEN_UP = 30_000;

const SECOND = 1_000;
const LONGEST_TIMEOUT = 30_000;
const HOUR = 3_600_000;

/**
 * Tells whether the sessions of the application work: whether the database answers, whether revocations are heard of, whether
 * keys are replaced. For `@nestjs/terminus` 11 and 12, which it does not import: it can be used alone as well.
 *
 * A probe costs one small statement, and is answered within {@link SessionHealthOptions.timeout} even if the database hangs.
 *
 * @example
 * ```ts
 * @Get('health')
 * check() {
 *   return this.health.check([() => this.sessions.isHealthy('sessions')]);
 * }
 * ```
 */
@Injectable()
export class SessionHealthIndicator {
  readonly #modules: ModulesContainer;
  readonly #checks = new Map<Vitals, DatabaseCheck>();

  constructor(@Inject(ModulesContainer) modules: ModulesContainer) {
    this.#modules = modules;
  }

  /**
   * @param key name in the result
   * @returns a result as Terminus takes it. `status` is `down` if something is wrong; `message` says what
   * @throws {@link InvalidOptionError} when an option is wrong, or no module has this name
   */
  async isHealthy<Key extends string = 'sessions'>(
    key: Key = 'sessions' as Key,
    options: SessionHealthOptions = {},
  ): Promise<Record<Key, SessionHealth>> {
    checkNames(options, { '': ['module', 'timeout', 'maxFeedLag', 'maxKeyOverdue'] });
    const vitals = this.#find(options.module ?? DEFAULT_MODULE);
    const timeout = duration('timeout', options.timeout, SECOND, 1);
    if (timeout > LONGEST_TIMEOUT)
      fail('timeout', 'must be at most 30 s. Whoever probes does not wait longer.');
    const limits: Limits = {
      feedLag: duration('maxFeedLag', options.maxFeedLag, vitals.maxFeedLag, 0),
      keyOverdue: duration('maxKeyOverdue', options.maxKeyOverdue, HOUR, 0),
    };
    const stop = new AbortController();
    const late = delay(timeout, 'late' as const, { signal: stop.signal }).catch(() => 'late' as const);
    try {
      return { [key]: await this.#diagnose(vitals, limits, timeout, late) } as Record<Key, SessionHealth>;
    } finally {
      stop.abort();
    }
  }

  async #diagnose(
    vitals: Vitals,
    limits: Limits,
    timeout: number,
    late: Promise<'late'>,
  ): Promise<SessionHealth> {
    const problems: string[] = [];
    const database = vitals.ask && (await Promise.race([this.#checkOf(vitals).answer(), late]));
    if (database === 'down') problems.push('The database of the sessions does not answer as it should.');
    if (database === 'late')
      problems.push(`The database of the sessions has not answered within ${timeout / SECOND} s.`);
    // A process that gets no requests reads nothing. So what is wrong may be over.
    if (problems.length === 0 && problemsIn(vitals.state(), limits).length > 0)
      await Promise.race([vitals.freshen(), late]);
    const state = vitals.state();
    problems.push(...problemsIn(state, limits));
    return {
      status: problems.length === 0 ? 'up' : 'down',
      ...(problems.length > 0 && { message: problems.join(' ') }),
      ...(database && { database: database === 'up' ? 'up' : 'down' }),
      ...(state.feed && { feedLag: inSeconds(state.feed.lag) }),
      keyAge: Object.fromEntries(
        state.keys.flatMap(({ purpose, age }) => (age === undefined ? [] : [[purpose, inSeconds(age)]])),
      ),
    };
  }

  #checkOf(vitals: Vitals): DatabaseCheck {
    const known = this.#checks.get(vitals) ?? new DatabaseCheck(vitals);
    this.#checks.set(vitals, known);
    return known;
  }

  #find(module: string): Vitals {
    const all = [...this.#modules.values()].map(partsOf).filter((each) => each !== undefined);
    const found = all.find(({ authenticator }) => authenticator.module === module);
    if (found) return found.vitals;
    const names = all.map(({ authenticator }) => `"${authenticator.module}"`);
    throw new InvalidOptionError(
      'module',
      `no session module has the name "${module}". Those of the application: ${names.join(', ') || 'none'}.`,
    );
  }
}

interface Asked {
  /** Epoch milliseconds. */
  readonly at: number;
  isOver: boolean;
  readonly answer: Promise<'up' | 'down'>;
}

/** Asks the database, for all probes of a short time at once. Probes of a database that hangs do not add up. */
class DatabaseCheck {
  private asked:
    { readonly at: number; isOver: boolean; readonly answer: Promise<'up' | 'down'> } | undefined;

  constructor(private readonly vitals: Vitals) {}

  async answer(): Promise<'up' | 'down'> {
    const now = SYSTEM_CLOCK.now();
    // abs(): if the clock was set back, an old answer must not be given for long.
    const last = this.asked;
    if (last && Math.abs(now - last.at) < (last.isOver ? SHARED : GIVEN_UP)) return last.answer;
    const asked: Asked = { at: now, isOver: false, answer: this.ask().finally(() => (asked.isOver = true)) };
    this.asked = asked;
    return asked.answer;
  }

  private async ask(): Promise<'up' | 'down'> {
    try {
      await this.vitals.ask?.();
      return 'up';
    } catch {
      // The cause may name the host, and answers to probes are public in many applications.
      return 'down';
    }
  }
}

/** In milliseconds. */
interface Limits {
  readonly feedLag: number;
  readonly keyOverdue: number;
}

function problemsIn({ feed, keys }: ModuleState, limits: Limits): string[] {
  const problems: string[] = [];
  if (feed && feed.lag > limits.feedLag) {
    problems.push(
      `Revocations have not been read for ${inSeconds(feed.lag)} s. Sessions that were revoked elsewhere may be accepted.`,
    );
  }
  for (const { purpose, overdue, known } of keys) {
    if (known === 0) problems.push(`No ${purpose} keys are known. Tokens cannot be verified.`);
    if (overdue > limits.keyOverdue) {
      problems.push(`The next ${purpose} key is overdue for ${inSeconds(overdue)} s. Keys are not rotated.`);
    }
  }
  return problems;
}

function inSeconds(milliseconds: number): number {
  return Math.round(milliseconds / SECOND);
}
