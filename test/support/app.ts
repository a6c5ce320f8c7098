import type { AddressInfo } from 'node:net';
import type { INestApplication, ModuleMetadata } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import {
  SessionModule,
  type SessionModuleExtras,
  type SessionModuleOptions,
  SessionService,
} from 'nestjs-session-tokens';
import type { TestDatabase } from './databases.js';
import { keepSecret } from './log-search.js';

export const adapters = ['express', 'fastify'] as const;
export type Adapter = (typeof adapters)[number];

/** An application with the module, listening on a real port. */
export interface TestApp {
  readonly app: INestApplication;
  readonly sessions: SessionService;
  readonly url: string;
  close(): Promise<void>;
}

export interface TestAppSettings {
  readonly adapter: Adapter;
  readonly database: TestDatabase;
  readonly options?: SessionModuleOptions & SessionModuleExtras;
  readonly metadata?: ModuleMetadata;
  /** Runs before the application is initialised: global prefix, middleware, CORS. */
  readonly configure?: (app: INestApplication) => void | Promise<void>;
  /** Whether the application trusts `X-Forwarded-*` headers. @default false */
  readonly trustProxy?: boolean;
}

export async function startApp({
  adapter,
  database,
  options,
  metadata,
  configure,
  trustProxy = false,
}: TestAppSettings): Promise<TestApp> {
  keepSecret(options?.secret);
  const testing = await Test.createTestingModule({
    ...metadata,
    imports: [
      SessionModule.forRoot({
        isGlobal: true,
        database: database.options,
        ...options,
        // The cases need the exact second at which a token expires.
        accessToken: { jitter: 0, ...options?.accessToken },
      }),
      ...(metadata?.imports ?? []),
    ],
  }).compile();
  const app = testing.createNestApplication(
    adapter === 'express' ? new ExpressAdapter() : new FastifyAdapter({ trustProxy }),
    { logger: false },
  );
  if (adapter === 'express') (app.getHttpAdapter() as ExpressAdapter).set('trust proxy', trustProxy);
  await configure?.(app);
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  return {
    app,
    sessions: app.get(SessionService),
    url: `http://127.0.0.1:${port}`,
    close: () => app.close(),
  };
}
