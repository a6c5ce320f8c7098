import { type DynamicModule, Module, RequestMethod } from '@nestjs/common';
import { ApplicationConfig } from '@nestjs/core';
import type { DataSource } from 'typeorm';
import { SessionExceptionFilter } from './errors/session-exception.filter.js';
import { SessionGuard } from './guard/session.guard.js';
import type { SessionModuleExtras, SessionModuleOptions } from './options/session-module.options.js';
import { SessionService } from './session.service.js';
import {
  APPLICATION_DATA_SOURCE,
  FILTER_REGISTRATION,
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

/** The global prefix of a route, unless the application excludes it. */
function prefixOf(config: ApplicationConfig, route: string): string {
  const isExcluded = (config.getGlobalPrefixOptions().exclude ?? []).some(
    ({ requestMethod, pathRegex }) =>
      [RequestMethod.ALL, RequestMethod.POST, -1].includes(requestMethod) && pathRegex.test(route),
  );
  return isExcluded ? '' : config.getGlobalPrefix();
}

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
      ) => SessionRuntime.create(options, extras, application, (route) => prefixOf(config, route)),
      inject: [MODULE_OPTIONS_TOKEN, SESSION_EXTRAS, APPLICATION_DATA_SOURCE, ApplicationConfig],
    },
    {
      provide: SessionService,
      useFactory: (runtime: SessionRuntime) => runtime.core.service,
      inject: [SESSION_RUNTIME],
    },
    SessionExceptionFilter,
    {
      provide: FILTER_REGISTRATION,
      // Before those of the application: the last one is asked first, so that an application can have its own way.
      useFactory: (config: ApplicationConfig, filter: SessionExceptionFilter) =>
        config.getGlobalFilters().unshift(filter),
      inject: [ApplicationConfig, SessionExceptionFilter],
    },
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
