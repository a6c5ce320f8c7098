import { ConfigurableModuleBuilder } from '@nestjs/common';
import type { SessionVerifierExtras, SessionVerifierOptions } from '../options/session-verifier.options.js';

const EXTRAS: SessionVerifierExtras = { isGlobal: false };

const built = new ConfigurableModuleBuilder<SessionVerifierOptions>({ moduleName: 'SessionVerifier' })
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createSessionVerifierOptions')
  .setExtras(EXTRAS, (definition, { isGlobal }) => ({ ...definition, global: isGlobal ?? false }))
  .build();

export const {
  ConfigurableModuleClass: VerifierModuleClass,
  MODULE_OPTIONS_TOKEN: VERIFIER_OPTIONS,
  OPTIONS_TYPE: VERIFIER_OPTIONS_TYPE,
  ASYNC_OPTIONS_TYPE: VERIFIER_ASYNC_OPTIONS_TYPE,
} = built;
