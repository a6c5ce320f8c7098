import { ConfigurableModuleBuilder, type DynamicModule } from '@nestjs/common';
import { SessionVerifier } from '../http/session-verifier.js';
import type { SessionVerifierExtras, SessionVerifierOptions } from '../options/session-verifier.options.js';

import { namedExports, nameOf, sessionVerifierToken } from './named-module.js';
import { VERIFIER_EXTRAS } from './session.constants.js';

const EXTRAS: SessionVerifierExtras = { name: undefined, isGlobal: false };

const built = new ConfigurableModuleBuilder<SessionVerifierOptions>({ moduleName: 'SessionVerifier' })
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createSessionVerifierOptions')
  .setExtras(EXTRAS, withExtras)
  .build();

export const {
  ConfigurableModuleClass: VerifierModuleClass,
  MODULE_OPTIONS_TOKEN: VERIFIER_OPTIONS,
  OPTIONS_TYPE: VERIFIER_OPTIONS_TYPE,
  ASYNC_OPTIONS_TYPE: VERIFIER_ASYNC_OPTIONS_TYPE,
} = built;

function withExtras(definition: DynamicModule, extras: SessionVerifierExtras): DynamicModule {
  const module = nameOf(extras);
  const named = namedExports(module, { type: SessionVerifier, token: sessionVerifierToken(module) });
  return {
    ...definition,
    global: extras.isGlobal ?? false,
    providers: [
      ...(definition.providers ?? []),
      ...named.providers,
      { provide: VERIFIER_EXTRAS, useValue: extras },
    ],
    exports: named.exports,
  };
}
