import type { CanActivate } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { NoCredentialsError } from '../errors/session.errors.js';
import { DEFAULT_MODULE } from '../guard/injection-tokens.js';
import { SessionGuard } from '../guard/session.guard.js';
import type { HttpRequest, HttpResponse } from '../http/messages.js';
import { checkRules } from '../http/request-authenticator.js';
import type {
  AuthenticateOptions,
  ConnectionRegistry,
  SessionAuthenticator,
} from '../http/session-authenticator.js';
import { createSessionCore } from '../module/session.core.js';
import { resolveOptions } from '../options/resolved-options.js';
import { ActiveSession } from '../session/active-session.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';
import { SYSTEM_CLOCK } from '../util/clock.js';
import { MemoryRows } from './memory-rows.js';
import { issueAt, type TestSessionInput } from './test-session-input.js';

/**
 * A session as `@Session()` gives it, for unit tests of what takes one. Its row is in memory, so all its methods work.
 *
 * @throws the errors of `sessions.create()`
 * @example
 * ```ts
 * const session = await sessionFor({ userId: 'alice', claims: { role: 'admin' } });
 * expect(controller.me(session)).toEqual({ userId: 'alice' });
 * ```
 */
export async function sessionFor(input: TestSessionInput): Promise<ActiveSession> {
  const core = createSessionCore(new MemoryRows(), resolveOptions({ secret: false }).options);
  const { clock, lifecycle, refreshTokens } = core;
  const now = clock.now();
  await Promise.all([core.signingKeys.start(now), refreshTokens.start(now)]);
  const { tokens } = await issueAt(core, input, now);
  return new ActiveSession(tokens.accessToken, core.manager, {
    replace: async (row, present) => lifecycle.reissue(row, present, clock.now()),
    csrfToken: async (id) => refreshTokens.csrfToken(id, clock.now()),
    // There is no client.
    clear: () => undefined,
  });
}

/**
 * A guard in the place of `SessionGuard`, by which somebody is signed in on every request, or nobody. `@SkipSession()`,
 * `@OptionalSession()`, `@RequireFresh()` and `@NoImpersonation()` work as in the application. It needs no `SessionModule`.
 *
 * @param who the user, a session of {@link sessionFor}, or `null` for nobody
 * @param module name of the module, for `@Session({ module })`. @default the module without one
 * @example
 * ```ts
 * Test.createTestingModule({ controllers: [AccountController] })
 *   .overrideGuard(SessionGuard)
 *   .useValue(guardFor({ userId: 'alice' }))
 * ```
 */
export function guardFor(
  who: TestSessionInput | ActiveSession | null,
  module: string = DEFAULT_MODULE,
): CanActivate {
  return new SessionGuard(new FixedAuthenticator(who, module), new Reflector());
}

/** Finds the same session for every request. */
class FixedAuthenticator implements SessionAuthenticator {
  /** What is open stays open: its session ends with the test. */
  readonly connections: ConnectionRegistry = { add: () => () => undefined };
  #session: Promise<ActiveSession> | undefined;

  constructor(
    private readonly who: TestSessionInput | ActiveSession | null,
    readonly module: string,
  ) {}

  async authenticate(
    _request: HttpRequest,
    _response: HttpResponse,
    options: AuthenticateOptions = {},
  ): Promise<ActiveSession> {
    const { who } = this;
    if (who === null) throw new NoCredentialsError();
    this.#session ??= who instanceof ActiveSession ? Promise.resolve(who) : sessionFor(who);
    const session = await this.#session;
    return this.readmit(session, options);
  }

  readmit<TSession extends AuthenticatedSession>(
    session: TSession,
    options: AuthenticateOptions = {},
  ): TSession {
    checkRules(session, options, SYSTEM_CLOCK.now());
    return session;
  }

  recheck(session: AuthenticatedSession, _request: HttpRequest, options: AuthenticateOptions = {}): void {
    checkRules(session, options, SYSTEM_CLOCK.now());
  }

  isUnauthenticated(error: unknown): boolean {
    return error instanceof NoCredentialsError;
  }
}
