import 'reflect-metadata';
import {
  type CanActivate,
  Controller,
  createParamDecorator,
  type DynamicModule,
  Get,
  type INestApplication,
  Injectable,
  type Type,
  UseGuards,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { readEnvironment } from './environment.js';
import type { Server } from './serve.js';

export interface NestServerOptions extends Pick<Server, 'description' | 'queries'> {
  /** Runs before the application listens: middleware, hooks. */
  readonly configure?: (app: INestApplication) => unknown;
  /** Calls that need the application's providers. */
  readonly calls?: (app: () => INestApplication) => NonNullable<Server['calls']>;
}

/**
 * A server that is a Nest application on the adapter of the environment, with what Nest turns on by default and nothing
 * else.
 *
 * @param root makes the root module, once the port is known
 */
export function nestServer(
  root: (port: number) => Type | DynamicModule | Promise<Type | DynamicModule>,
  { configure, calls, ...server }: NestServerOptions = {},
): Server {
  let app: INestApplication;
  return {
    ...server,
    calls: calls?.(() => app),
    async listen(port) {
      const adapter = readEnvironment().adapter === 'express' ? new ExpressAdapter() : new FastifyAdapter();
      // The runner shows errors when a run fails.
      const options = { logger: ['error' as const], abortOnError: false };
      app = await NestFactory.create(await root(port), adapter, options);
      await configure?.(app);
      await app.listen(port, '127.0.0.1');
    },
    close: () => app.close(),
  };
}

@Injectable()
class EmptyGuard implements CanActivate {
  canActivate(): boolean {
    return true;
  }
}

const Nothing = createParamDecorator(() => true);

/**
 * `GET /bare`: the route without authentication, the same in every Nest application. `GET /empty`: with a guard that lets
 * everybody through and a parameter decorator, for Nest's own share of these.
 */
@Controller()
export class BareController {
  @UseGuards(EmptyGuard)
  @Get('empty')
  empty(@Nothing() ok: boolean): object {
    return { ok };
  }

  @Get('bare')
  bare(): object {
    return { ok: true };
  }
}
