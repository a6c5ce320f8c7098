import { Logger, Module } from '@nestjs/common';
import { SESSION_AUTHENTICATOR, SessionGuard } from '../guard/session.guard.js';
import { RemoteKeys } from '../keys/remote-keys.js';
import { resolveVerifierOptions } from '../options/resolved-verifier-options.js';
import { VERIFIER_OPTIONS, VerifierModuleClass } from './session-verifier.module-definition.js';
import type { SessionVerifierOptions } from '../options/session-verifier.options.js';
import { SessionVerifier } from '../http/session-verifier.js';

/** The guard for services that verify access tokens and have no sessions of their own. */
@Module({
  providers: [
    {
      provide: SessionVerifier,
      useFactory: async (input: SessionVerifierOptions) => {
        const { options, warnings } = resolveVerifierOptions(input);
        const logger = new Logger('SessionModule');
        for (const warning of warnings) logger.warn(warning);
        const keys = new RemoteKeys(options.keys);
        await keys.start(Date.now());
        return new SessionVerifier(keys, options);
      },
      inject: [VERIFIER_OPTIONS],
    },
    { provide: SESSION_AUTHENTICATOR, useExisting: SessionVerifier },
    SessionGuard,
  ],
  exports: [SessionVerifier, SESSION_AUTHENTICATOR, SessionGuard],
})
export class SessionVerifierModule extends VerifierModuleClass {}
