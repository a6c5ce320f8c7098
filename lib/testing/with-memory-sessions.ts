import type { Type } from '@nestjs/common';
import { ApplicationConfig, HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import {
  APPLICATION_DATA_SOURCE,
  REFRESH_CONTROLLER,
  SESSION_EXTRAS,
  SESSION_RUNTIME,
} from '../module/session.constants.js';
import { MODULE_OPTIONS_TOKEN } from '../module/session.module-definition.js';
import { SessionRuntime } from '../module/session.runtime.js';
import type { SessionModuleExtras, SessionModuleOptions } from '../options/session-module.options.js';
import { MemoryRows } from './memory-rows.js';
import { overPlainHttp, withoutDatabase } from './plain-http.js';

/** The used part of Nest's `TestingModuleBuilder`. */
interface TestingBuilder {
  overrideProvider(token: unknown): {
    useFactory(options: { factory: (...parameters: never[]) => unknown; inject?: unknown[] }): unknown;
  };
}

/** How sessions are kept in a test. */
export interface MemorySessionsOptions {
  /**
   * Whether the cookies are as the application's options say. Without it they are not `Secure`, and their names have no prefix
   * (`session_access`, not `__Host-Http-session_access`): test clients use plain HTTP, where `supertest.agent` does not send
   * `Secure` cookies. @default false
   */
  secureCookies?: boolean;
}

/**
 * Has every `SessionModule` of a testing module keep its sessions and keys in memory: it needs no database, no driver and no
 * `secret`. All else is as in the application: its options, the guard, cookies, rotation, revocation.
 *
 * @param builder what `Test.createTestingModule()` returns
 * @returns the same builder
 * @example
 * ```ts
 * const testing = await withMemorySessions(Test.createTestingModule({ imports: [AppModule] })).compile();
 * ```
 */
export function withMemorySessions<Builder extends TestingBuilder>(
  builder: Builder,
  { secureCookies = false }: MemorySessionsOptions = {},
): Builder {
  /** Modules share the rows as they share cookies: see `meetNeighbours`. */
  const rows = new Map<string | undefined, MemoryRows>();
  const create = async (
    given: SessionModuleOptions | undefined,
    extras: SessionModuleExtras,
    config: ApplicationConfig,
    modules: ModulesContainer,
    host: HttpAdapterHost,
    refreshController: Type | undefined,
  ) => {
    const options = withoutDatabase(given);
    const { accessName } = options.cookies ?? {};
    const own = rows.get(accessName) ?? new MemoryRows();
    rows.set(accessName, own);
    const used = secureCookies ? options : overPlainHttp(options);
    return SessionRuntime.create(used, extras, own, { config, modules, host }, refreshController);
  };
  builder.overrideProvider(APPLICATION_DATA_SOURCE).useFactory({ factory: () => undefined });
  builder.overrideProvider(SESSION_RUNTIME).useFactory({
    factory: create,
    inject: [
      MODULE_OPTIONS_TOKEN,
      SESSION_EXTRAS,
      ApplicationConfig,
      ModulesContainer,
      HttpAdapterHost,
      REFRESH_CONTROLLER,
    ],
  });
  return builder;
}
