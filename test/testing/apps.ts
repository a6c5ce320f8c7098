import type { INestApplication, ModuleMetadata } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { SessionModule, type SessionModuleExtras, type SessionModuleOptions } from 'nestjs-session-tokens';
import { type MemorySessionsOptions, withMemorySessions } from 'nestjs-session-tokens/testing';
import { afterEach, beforeEach, vi } from 'vitest';
import { AccountController } from '../http/account.controller.js';
import type { Adapter } from '../support/app.js';
import { type DatabaseKind, databases } from '../support/databases.js';
import { stopClock } from '../support/time.js';

export interface TestedSettings {
  readonly options?: SessionModuleOptions & SessionModuleExtras;
  /** The sessions are in this database. @default in memory */
  readonly database?: DatabaseKind;
  readonly memory?: MemorySessionsOptions;
  readonly imports?: ModuleMetadata['imports'];
  readonly configure?: (app: INestApplication) => void;
  /** @default true */
  readonly listens?: boolean;
}

type Start = (settings?: TestedSettings) => Promise<INestApplication>;

/** For the tests of one suite: starts applications as an application's own tests do. Time stands still. */
export function testedApps(adapter: Adapter): Start {
  const cleanups: (() => Promise<unknown>)[] = [];
  beforeEach(() => stopClock());
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
    vi.useRealTimers();
  });
  return async ({ options, database, memory, imports, configure, listens = true } = {}) => {
    const used = await database?.create();
    if (used) cleanups.push(() => used.remove());
    const module = SessionModule.forRoot({ ...(used && { database: used.options }), ...options });
    const builder = Test.createTestingModule({
      imports: imports ?? [module],
      controllers: [AccountController],
    });
    const testing = await (used ? builder : withMemorySessions(builder, memory)).compile();
    const app = testing.createNestApplication(
      adapter === 'express' ? new ExpressAdapter() : new FastifyAdapter(),
      { logger: false },
    );
    configure?.(app);
    cleanups.push(() => app.close());
    if (listens) await app.listen(0, '127.0.0.1');
    else await app.init();
    return app;
  };
}

/** Where the sessions of a test may be. */
export const places: readonly { readonly name: string; readonly database?: DatabaseKind }[] = [
  { name: 'memory' },
  ...databases.map((database) => ({ name: database.name, database })),
];
