import { Module, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { ApplicationConfig, ModulesContainer } from '@nestjs/core';
import { answerForState } from '../diagnostics/channels.js';
import { OpenResponses } from '../connections/open-responses.js';
import { SessionConnections } from '../connections/session-connections.js';
import { SESSION_AUTHENTICATOR } from '../guard/injection-tokens.js';
import { SessionGuard } from '../guard/session.guard.js';
import { watchGateways } from './gateways.js';
import { nameOf } from './named-module.js';
import { VERIFIER_EXTRAS } from './session.constants.js';
import { RemoteKeys } from '../keys/remote-keys.js';
import { RemoteRevocations } from '../revocation/remote-revocations.js';
import { resolveVerifierOptions } from '../options/resolved-verifier-options.js';
import { VERIFIER_OPTIONS, VerifierModuleClass } from './session-verifier.module-definition.js';
import type { SessionVerifierExtras, SessionVerifierOptions } from '../options/session-verifier.options.js';
import { SessionVerifier } from '../http/session-verifier.js';
import { SYSTEM_CLOCK } from '../util/clock.js';
import { logger } from '../util/logger.js';

/** How often connections are looked at in a service that hears of no revocations, in milliseconds: for keys and expiry. */
const KEYS_INTERVAL = 1_000;

/** The module for services that verify access tokens and have no database of sessions. */
@Module({
  providers: [
    {
      provide: SessionVerifier,
      useFactory: async (
        input: SessionVerifierOptions,
        extras: SessionVerifierExtras,
        config: ApplicationConfig,
        modules: ModulesContainer,
      ) => {
        watchGateways(config, modules);
        const { options, warnings } = resolveVerifierOptions(input);
        for (const warning of warnings) logger.warn(warning);
        const keys = new RemoteKeys(options.keys);
        await keys.start(SYSTEM_CLOCK.now());
        const { issuer } = options.expected;
        const revocations =
          options.revocations && new RemoteRevocations(keys, issuer, options.revocations, SYSTEM_CLOCK);
        await revocations?.start();
        const times = { interval: options.revocations?.interval ?? KEYS_INTERVAL, recheck: 0 };
        const connections = new SessionConnections(keys, revocations, undefined, times, SYSTEM_CLOCK);
        const responses = new OpenResponses(connections);
        return new SessionVerifier(nameOf(extras), keys, options, connections, responses, revocations);
      },
      inject: [VERIFIER_OPTIONS, VERIFIER_EXTRAS, ApplicationConfig, ModulesContainer],
    },
    { provide: SESSION_AUTHENTICATOR, useExisting: SessionVerifier },
    SessionGuard,
  ],
})
export class SessionVerifierModule
  extends VerifierModuleClass
  implements OnModuleInit, OnApplicationShutdown
{
  private endAnswers: (() => void) | undefined;

  constructor(private readonly verifier: SessionVerifier) {
    super();
  }

  onModuleInit(): void {
    this.endAnswers ??= answerForState(() => this.verifier.state());
  }

  onApplicationShutdown(): void {
    this.endAnswers?.();
  }
}
