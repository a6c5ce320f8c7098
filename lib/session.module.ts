import { type DynamicModule, Module } from '@nestjs/common';
import { APP_FILTER, ApplicationConfig } from '@nestjs/core';
import type { DataSource } from 'typeorm';
import { SessionExceptionFilter } from './errors/session-exception.filter.js';
import { SessionGuard } from './guard/session.guard.js';
import type { SessionModuleExtras, SessionModuleOptions } from './options/session-module.options.js';
import { SessionService } from './session.service.js';
import { APPLICATION_DATA_SOURCE, SESSION_EXTRAS, SESSION_RUNTIME } from './session.constants.js';
import {
  ASYNC_OPTIONS_TYPE,
  ConfigurableModuleClass,
  MODULE_OPTIONS_TOKEN,
  OPTIONS_TYPE,
} from './session.module-definition.js';
import { SessionRuntime } from './session.runtime.js';

/**
 * Sessions for a Nest application, on its own database.
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
      ) => SessionRuntime.create(options, extras, application, () => config.getGlobalPrefix()),
      inject: [MODULE_OPTIONS_TOKEN, SESSION_EXTRAS, APPLICATION_DATA_SOURCE, ApplicationConfig],
    },
    {
      provide: SessionService,
      useFactory: (runtime: SessionRuntime) => runtime.core.service,
      inject: [SESSION_RUNTIME],
    },
    { provide: APP_FILTER, useClass: SessionExceptionFilter },
    SessionGuard,
  ],
  exports: [SessionService, SessionGuard],
})
export class SessionModule extends ConfigurableModuleClass {
  /** Configures the module. Extras (`isGlobal`, `refreshPath`, `dataSourceToken`) stand beside the other options. */
  static override forRoot(options: typeof OPTIONS_TYPE = {}): DynamicModule {
    return super.forRoot(options);
  }

  /** Configures the module by `useFactory`, `useClass` or `useExisting`; extras stand beside them. */
  static override forRootAsync(options: typeof ASYNC_OPTIONS_TYPE): DynamicModule {
    return super.forRootAsync(options);
  }
}
