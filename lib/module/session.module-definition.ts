import { ConfigurableModuleBuilder, type DynamicModule } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { createJwksController } from './jwks.controller.js';
import { createRevocationsController } from './revocations.controller.js';
import { createRefreshController } from './refresh.controller.js';
import type { SessionModuleExtras, SessionModuleOptions } from '../options/session-module.options.js';
import { namedExports, nameOf, sessionServiceToken } from './named-module.js';
import { SessionService } from './session.service.js';
import { APPLICATION_DATA_SOURCE, REFRESH_CONTROLLER, SESSION_EXTRAS } from './session.constants.js';

const EXTRAS: SessionModuleExtras = {
  name: undefined,
  isGlobal: false,
  refreshPath: undefined,
  jwksPath: undefined,
  revocationsPath: undefined,
  dataSourceToken: undefined,
};

export const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN, OPTIONS_TYPE, ASYNC_OPTIONS_TYPE } =
  new ConfigurableModuleBuilder<SessionModuleOptions>({ moduleName: 'Session' })
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createSessionOptions')
    .setExtras(EXTRAS, withExtras)
    .build();

/** Adds what Nest needs before any provider exists: routes and injection tokens. */
function withExtras(definition: DynamicModule, extras: SessionModuleExtras): DynamicModule {
  const token = extras.dataSourceToken;
  const module = nameOf(extras);
  const refreshController =
    extras.refreshPath === undefined ? undefined : createRefreshController(extras.refreshPath);
  const named = namedExports(module, { type: SessionService, token: sessionServiceToken(module) });
  return {
    ...definition,
    global: extras.isGlobal ?? false,
    exports: named.exports,
    controllers: [
      ...(refreshController === undefined ? [] : [refreshController]),
      ...(extras.jwksPath === undefined ? [] : [createJwksController(extras.jwksPath)]),
      ...(extras.revocationsPath === undefined ? [] : [createRevocationsController(extras.revocationsPath)]),
    ],
    providers: [
      ...(definition.providers ?? []),
      ...named.providers,
      { provide: SESSION_EXTRAS, useValue: extras },
      { provide: REFRESH_CONTROLLER, useFactory: () => refreshController },
      {
        provide: APPLICATION_DATA_SOURCE,
        useFactory: (dataSource?: DataSource) => dataSource,
        // A configured token must exist. The default one is optional, because the module may open its own database.
        inject: [token ?? { token: DataSource, optional: true }],
      },
    ],
  };
}
