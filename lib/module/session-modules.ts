import type { ModulesContainer } from '@nestjs/core';
import type { Vitals } from '../diagnostics/vitals.js';
import type { AuthenticationFacts } from '../http/authentication-facts.js';
import type { SessionAuthenticator } from '../http/session-authenticator.js';
import { SessionVerifier } from '../http/session-verifier.js';
import { SESSION_RUNTIME } from './session.constants.js';
import type { SessionRuntime } from './session.runtime.js';

/** A module of Nest, as its container has it. */
export type NestModule = ModulesContainer extends Map<string, infer M> ? M : never;

/** A session module of an application, with the database or without it. */
export interface SessionModuleParts {
  readonly authenticator: SessionAuthenticator;
  readonly vitals: Vitals;
  facts(): AuthenticationFacts;
}

/** The parts of a session module; `undefined` for any other module. */
export function partsOf({ providers }: NestModule): SessionModuleParts | undefined {
  const runtime = providers.get(SESSION_RUNTIME)?.instance as SessionRuntime | undefined;
  if (runtime) return runtime.core;
  const verifier: unknown = providers.get(SessionVerifier)?.instance;
  if (!(verifier instanceof SessionVerifier)) return undefined;
  return { authenticator: verifier, vitals: verifier.vitals, facts: () => verifier.facts() };
}
