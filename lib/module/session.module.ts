import { type DynamicModule, Module, type Type } from '@nestjs/common';
import { ApplicationConfig, HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import type { DataSource } from 'typeorm';
import { SESSION_AUTHENTICATOR } from '../guard/injection-tokens.js';
import { SessionGuard } from '../guard/session.guard.js';
import type { SessionModuleExtras, SessionModuleOptions } from '../options/session-module.options.js';
import { SessionService } from './session.service.js';
import {
  APPLICATION_DATA_SOURCE,
  REFRESH_CONTROLLER,
  SESSION_EXTRAS,
  SESSION_RUNTIME,
} from './session.constants.js';
import {
  ASYNC_OPTIONS_TYPE,
  ConfigurableModuleClass,
  MODULE_OPTIONS_TOKEN,
  OPTIONS_TYPE,
} from './session.module-definition.js';
import { SessionRuntime } from './session.runtime.js';
import { SessionVerifierModule } from './session-verifier.module.js';
import type {
  VERIFIER_ASYNC_OPTIONS_TYPE,
  VERIFIER_OPTIONS_TYPE,
} from './session-verifier.module-definition.js';

/**
 * Sessions for a Nest application, in the application's own database.
 *
 * @example
 * ```ts
 * @Module({
 *   imports: [
 *     TypeOrmModule.forRoot({ type: 'postgres', url, entities: [...SESSION_ENTITIES], migrations: [...SESSION_MIGRATIONS] }),
 *     SessionModule.forRoot({ secret: process.env.SESSION_SECRET }),
 *   ],
 * })
 * export class AppModule {}
 * ```
 */
@Module({
  providers: [
    {
      provide: SESSION_RUNTIME,
      useFactory: (
        options: SessionModuleOptions | undefined,
        extras: SessionModuleExtras,
        application: DataSource | undefined,
        config: ApplicationConfig,
        modules: ModulesContainer,
        host: HttpAdapterHost,
        refreshController: Type | undefined,
      ) => SessionRuntime.create(options, extras, application, { config, modules, host }, refreshController),
      inject: [
        MODULE_OPTIONS_TOKEN,
        SESSION_EXTRAS,
        APPLICATION_DATA_SOURCE,
        ApplicationConfig,
        ModulesContainer,
        HttpAdapterHost,
        REFRESH_CONTROLLER,
      ],
    },
    {
      provide: SessionService,
      useFactory: (runtime: SessionRuntime) => runtime.core.service,
      inject: [SESSION_RUNTIME],
    },
    {
      provide: SESSION_AUTHENTICATOR,
      useFactory: (runtime: SessionRuntime) => runtime.core.authenticator,
      inject: [SESSION_RUNTIME],
    },
    SessionGuard,
  ],
})
export class SessionModule extends ConfigurableModuleClass {
  /**
   * Configures the module. The extras `name`, `isGlobal`, `refreshPath`, `jwksPath`, `revocationsPath` and `dataSourceToken` stand beside the
   * other options.
   */
  static override forRoot(options: typeof OPTIONS_TYPE = {}): DynamicModule {
    return super.forRoot(options);
  }

  /** Configures the module by `useFactory`, `useClass` or `useExisting`. The extras stand beside them. */
  static override forRootAsync(options: typeof ASYNC_OPTIONS_TYPE): DynamicModule {
    return super.forRootAsync(options);
  }

  /**
   * Configures the module for another service, which has the guard and the decorators but not the database. It verifies
   * access tokens with the public keys that the issuing application lists at its `jwksPath`. It never refreshes: it answers
   * an expired token with `try_refresh`.
   *
   * @example
   * ```ts
   * SessionModule.forVerifier({
   *   jwksUri: 'https://accounts.example.com/.well-known/jwks.json',
   *   issuer: 'https://accounts.example.com',
   *   audience: 'https://api.example.com',
   * })
   * ```
   */
  static forVerifier(options: typeof VERIFIER_OPTIONS_TYPE): DynamicModule {
    // A JavaScript caller may pass no options. Then the missing options are reported like other wrong options.
    return SessionVerifierModule.forRoot(options ?? {});
  }

  /** The same, configured by `useFactory`, `useClass` or `useExisting`. `name` and `isGlobal` stand beside them. */
  static forVerifierAsync(options: typeof VERIFIER_ASYNC_OPTIONS_TYPE): DynamicModule {
    return SessionVerifierModule.forRootAsync(options);
  }
}
