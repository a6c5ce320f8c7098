import type { AddressInfo } from 'node:net';
import { Inject, Injectable, type ModuleMetadata } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import {
  InvalidOptionError,
  SessionGuard,
  SessionModule,
  type SessionModuleExtras,
  type SessionModuleOptions,
  type SessionOptionsFactory,
  SessionService,
} from 'nestjs-session-tokens';
import type { DataSourceOptions } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { Browser } from '../support/browser.js';
import { asModule } from '../support/as-module.js';
import { applications, expectToWork } from './context.js';

const DATABASE = Symbol('DATABASE');

/** Makes the options from an injected provider of the application. */
@Injectable()
class OptionsFactory implements SessionOptionsFactory {
  constructor(@Inject(DATABASE) private readonly database: DataSourceOptions) {}

  createSessionOptions(): SessionModuleOptions {
    return { database: this.database, accessToken: { ttl: '7m' } };
  }
}

/** A provider of the application in a module that does not import SessionModule. */
@Injectable()
class Elsewhere {
  constructor(
    readonly sessions: SessionService,
    readonly guard: SessionGuard,
  ) {}
}

async function lifeOf(sessions: SessionService): Promise<number> {
  const { accessToken } = await sessions.tokens.issue({ userId: 'alice' });
  return Math.round((accessToken.expiresAt.getTime() - Date.now()) / 60_000);
}

describe('SessionModule', () => {
  const { start, database } = applications();

  /** A module that offers the options of the database, as a configuration module would. */
  async function configuration(): Promise<NonNullable<ModuleMetadata['imports']>[number]> {
    const { options } = await database();
    return asModule({
      providers: [{ provide: DATABASE, useValue: options }, OptionsFactory],
      exports: [DATABASE, OptionsFactory],
    });
  }

  it('is configured by forRoot', async () => {
    const { options } = await database();
    const module = SessionModule.forRoot({ database: options, accessToken: { ttl: '7m' } });
    const { sessions } = await start({ imports: [module] });
    await expectToWork(sessions);
    expect(await lifeOf(sessions)).toBe(7);
  });

  it.each<
    [
      string,
      (config: Awaited<ReturnType<typeof configuration>>) => ReturnType<typeof SessionModule.forRootAsync>,
    ]
  >([
    [
      'useFactory',
      (config) =>
        SessionModule.forRootAsync({
          imports: [config],
          inject: [DATABASE],
          useFactory: (options: DataSourceOptions) => ({ database: options, accessToken: { ttl: '7m' } }),
        }),
    ],
    [
      'useFactory that is asynchronous',
      (config) =>
        SessionModule.forRootAsync({
          imports: [config],
          inject: [DATABASE],
          useFactory: async (options: DataSourceOptions) =>
            Promise.resolve({ database: options, accessToken: { ttl: '7m' } }),
        }),
    ],
    ['useClass', (config) => SessionModule.forRootAsync({ imports: [config], useClass: OptionsFactory })],
    [
      'useExisting',
      (config) => SessionModule.forRootAsync({ imports: [config], useExisting: OptionsFactory }),
    ],
  ])('is configured by forRootAsync with %s', async (_form, moduleFor) => {
    const { sessions } = await start({ imports: [moduleFor(await configuration())] });
    await expectToWork(sessions);
    expect(await lifeOf(sessions)).toBe(7);
  });

  it.each<[string, (extras: SessionModuleExtras) => Promise<ReturnType<typeof SessionModule.forRoot>>]>([
    ['forRoot', async (extras) => SessionModule.forRoot({ database: (await database()).options, ...extras })],
    [
      'forRootAsync',
      async (extras) =>
        SessionModule.forRootAsync({
          imports: [await configuration()],
          useClass: OptionsFactory,
          ...extras,
        }),
    ],
  ])('is there for other modules when isGlobal says so: %s', async (_form, moduleWith) => {
    const elsewhere = () => asModule({ providers: [Elsewhere] });

    const { context } = await start({ imports: [await moduleWith({ isGlobal: true }), elsewhere()] });
    const { sessions, guard } = context.get(Elsewhere, { strict: false });
    await expectToWork(sessions);
    expect(guard).toBeInstanceOf(SessionGuard);

    for (const extras of [{ isGlobal: false }, {}]) {
      const module = await moduleWith(extras);
      await expect(start({ imports: [module, elsewhere()] })).rejects.toThrow(
        /dependencies of the Elsewhere/,
      );
      // Modules that import it have it, of course.
      const importing = asModule({ imports: [module], providers: [Elsewhere] });
      expect((await start({ imports: [importing] })).context.get(Elsewhere, { strict: false })).toBeDefined();
    }
  });

  it.each(adapters)('takes its extras beside useFactory: refreshPath over %s', async (adapter) => {
    const { options } = await database();
    const module = asModule({
      imports: [
        SessionModule.forRootAsync({
          refreshPath: 'auth/refresh',
          useFactory: () => ({ database: options, refresh: 'endpoint' as const }),
        }),
      ],
    });
    const app = await NestFactory.create(
      module,
      adapter === 'express' ? new ExpressAdapter() : new FastifyAdapter(),
      { abortOnError: false, logger: false },
    );
    try {
      await app.listen(0, '127.0.0.1');
      const { port } = app.getHttpServer().address() as AddressInfo;
      expect(await new Browser(`http://127.0.0.1:${port}`).post('/auth/refresh')).toMatchObject({
        status: 401,
        body: { code: 'no_credentials' },
      });
    } finally {
      await app.close();
    }
  });

  it('says where extras belong that a factory gives', async () => {
    const module = SessionModule.forRootAsync({
      useFactory: () => ({ refreshPath: '/refresh' }) as SessionModuleOptions,
    });
    await expect(start({ imports: [module] })).rejects.toThrow(
      /option "refreshPath": belongs beside useFactory/,
    );
  });

  it.each<[string, SessionModuleOptions & SessionModuleExtras]>([
    ['secret', { secret: 'short' }],
    ['reuseWindow', { reuseWindow: '10m' }],
    ['cookies.sameSite', { cookies: { sameSite: 'none', secure: false } }],
    ['cookies.accessName', { cookies: { accessName: '__Host-a', domain: 'example.com' } }],
    ['refresh', { refresh: 'endpoint' }],
    ['accessTokens', { accessTokens: {} } as SessionModuleOptions],
  ])('does not start with a wrong option: %s', async (option, options) => {
    const { options: databaseOptions } = await database();
    const forms = [
      SessionModule.forRoot({ database: databaseOptions, ...options }),
      SessionModule.forRootAsync({ useFactory: () => ({ database: databaseOptions, ...options }) }),
    ];
    for (const module of forms) {
      const error = await start({ imports: [module] }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(InvalidOptionError);
      expect(error).toMatchObject({ option, code: 'invalid_option' });
    }
  });

  it('starts without any option where the application has a DataSource, and says so where it has none', async () => {
    await expect(start({ imports: [SessionModule.forRoot()] })).rejects.toThrow(
      /there is no TypeORM DataSource\. Import TypeOrmModule/,
    );
  });
});
