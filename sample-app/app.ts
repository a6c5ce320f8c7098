import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import {
  type DynamicModule,
  type INestApplication,
  Logger,
  type LoggerService,
  type NestApplicationOptions,
  type SecurityHeadersOptions,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter, type NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { SessionService } from 'nestjs-session-tokens';
import { AppModule } from './app.module.js';
import { openDataSource } from './data-source.js';
import type { Settings } from './settings.js';

/** Session data may have 65,535 bytes; this leaves some room around it. */
const BODY_LIMIT = 100 * 1024;

/** The page needs nothing but its own files, so the browser is told to allow nothing else. */
const SECURITY_HEADERS: SecurityHeadersOptions = {
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: "'none'",
      scriptSrc: "'self'",
      styleSrc: "'self'",
      imgSrc: "'self'",
      connectSrc: "'self'",
      baseUri: "'none'",
      formAction: "'none'",
      frameAncestors: "'none'",
    },
  },
};

/** The application, ready to listen. */
export async function createApp(
  settings: Settings,
  logger?: LoggerService | false,
): Promise<INestApplication<Server>> {
  if (logger !== undefined) Logger.overrideLogger(logger);
  const dataSource = await openDataSource(settings.database);
  const create = settings.adapter === 'fastify' ? createFastify : createExpress;
  const app = await create(AppModule.with(settings, dataSource), settings, {
    abortOnError: false, // so that main.ts can say what is wrong
    bodyParser: false, // the two functions below register the only one that is needed
    ...(logger !== undefined && { logger }),
  });
  // Pages of other origins may use the application only where somebody said so.
  if (settings.session.csrf?.trustedOrigins?.length) app.enableCors(app.get(SessionService).corsOptions());
  return app;
}

async function createExpress(
  module: DynamicModule,
  settings: Settings,
  options: NestApplicationOptions,
): Promise<INestApplication<Server>> {
  const app = await NestFactory.create<NestExpressApplication>(module, new ExpressAdapter(), options);
  app.set('trust proxy', settings.trustProxy);
  addHeaders(app);
  // `strict` would refuse JSON that is neither an object nor an array.
  app.useBodyParser('json', { strict: false, limit: BODY_LIMIT });
  return app;
}

async function createFastify(
  module: DynamicModule,
  settings: Settings,
  options: NestApplicationOptions,
): Promise<INestApplication<Server>> {
  const app = await NestFactory.create<NestFastifyApplication>(
    module,
    new FastifyAdapter({
      trustProxy: trustedProxies(settings.trustProxy),
      // shutdown.ts lets requests that come while the application ends be answered.
      return503OnClosing: false,
    }),
    options,
  );
  addHeaders(app);
  const parseJson = app.getHttpAdapter().getInstance().getDefaultJsonParser('error', 'error');
  // As on Express: an empty body is no body, and one that is not JSON is left unread, for the handler to refuse.
  app.useBodyParser<Server>('application/json', { bodyLimit: BODY_LIMIT }, (request, body, done) => {
    if (body.length === 0) done(null, undefined);
    else void parseJson(request, body.toString(), done);
  });
  app.useBodyParser(['text/plain', '*'], { bodyLimit: BODY_LIMIT }, (_request, _body, done) => {
    done(null, undefined);
  });
  return app;
}

/** Comes before the body parsers, so that answers to bodies which these refuse have the headers, too. */
function addHeaders(app: INestApplication): void {
  app.useSecurityHeaders(SECURITY_HEADERS);
  // Answers depend on who asks: no cache may keep them.
  app.use((_request: IncomingMessage, response: ServerResponse, next: () => void) => {
    response.setHeader('Cache-Control', 'private, no-store');
    next();
  });
}

/** Express takes a number of proxies, Fastify a function that does the same. */
function trustedProxies(trust: Settings['trustProxy']) {
  return typeof trust === 'number' ? (_address: string, hop: number) => hop < trust : trust;
}
