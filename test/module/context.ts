import type { INestApplicationContext, ModuleMetadata } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SESSION_ENTITIES, SESSION_MIGRATIONS, SessionService } from 'nestjs-session-tokens';
import type { DataSourceOptions } from 'typeorm';
import { afterEach, expect } from 'vitest';
import { type DatabaseKind, databases, type TestDatabase } from '../support/databases.js';
import { LogCapture } from '../support/log-capture.js';
import { asModule } from '../support/as-module.js';

export interface Started {
  readonly context: INestApplicationContext;
  readonly sessions: SessionService;
}

/** For the tests of one suite: starts applications from their metadata, and takes them down after each test. */
export function applications(kind: DatabaseKind = databases[0]!) {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });

  return {
    /** Runs after the test, in reverse order. */
    onEnd: (cleanup: () => Promise<unknown>): void => {
      cleanups.push(cleanup);
    },

    database: async (): Promise<TestDatabase> => {
      const database = await kind.create();
      cleanups.push(() => database.remove());
      return database;
    },

    /** @throws the error that stops the start */
    start: async (metadata: ModuleMetadata, logger = new LogCapture()): Promise<Started> => {
      const context = await NestFactory.createApplicationContext(asModule(metadata), {
        abortOnError: false,
        logger,
      });
      cleanups.push(() => context.close());
      return { context, sessions: context.get(SessionService, { strict: false }) };
    },
  };
}

/** The options of an application's own DataSource for the sessions. */
export function applicationOptions(database: TestDatabase): DataSourceOptions {
  return {
    ...database.options,
    entities: [...SESSION_ENTITIES],
    migrations: [...SESSION_MIGRATIONS],
    migrationsRun: true,
  };
}

/** Whether the module works: sessions can be made, used and ended. */
export async function expectToWork(sessions: SessionService): Promise<void> {
  const { accessToken, session } = await sessions.tokens.issue({ userId: 7, claims: { role: 'user' } });
  expect(await sessions.tokens.verify(accessToken.token)).toMatchObject({
    userId: 7,
    claims: { role: 'user' },
  });
  expect(await sessions.revoke(session.id)).toBe(true);
}
