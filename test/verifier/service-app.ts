import type { AddressInfo } from 'node:net';
import {
  Controller,
  type DynamicModule,
  Get,
  HttpCode,
  type INestApplication,
  type LoggerService,
  type ModuleMetadata,
  Post,
  Req,
  UseGuards,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import {
  ActiveSession,
  attachedSession,
  AuthenticatedSession,
  type HttpRequest,
  OptionalSession,
  Session,
  SessionGuard,
  SessionModule,
  type SessionVerifierOptions,
  SkipCsrf,
  SkipSession,
} from 'nestjs-session-tokens';
import type { Adapter } from '../support/app.js';
import { asModule } from '../support/as-module.js';

/** Issuer and audience in the tokens of the issuing application, and the path of its keys. */
export const ISSUER = 'https://accounts.example.com';
export const AUDIENCE = 'https://api.example.com';
export const JWKS_PATH = '/.well-known/jwks.json';

/** Options of the issuing application. */
export const issuing = {
  jwksPath: JWKS_PATH,
  accessToken: { issuer: ISSUER, audience: AUDIENCE },
};

/** Options of a service that verifies the tokens of the application at this address. */
export function verifying(url: string): SessionVerifierOptions {
  return { jwksUri: url + JWKS_PATH, issuer: ISSUER, audience: AUDIENCE };
}

/** The routes of a service without sessions. */
@Controller()
@UseGuards(SessionGuard)
export class ServiceController {
  @Get('me')
  me(@Session() session: AuthenticatedSession): AuthenticatedSession {
    return session;
  }

  /** Properties that JSON does not show. */
  @Get('session')
  session(
    @Session() session: AuthenticatedSession,
    @Session('userId') userId: string | number,
    @Session('claims') claims: { readonly roles?: readonly string[] },
    @Session('tokenExpiresAt') expiresAt: Date,
    @Req() request: HttpRequest,
  ): object {
    return {
      isAuthenticated: session instanceof AuthenticatedSession,
      isActive: session instanceof ActiveSession,
      isAttached: attachedSession(request) === session,
      isFrozen: Object.isFrozen(claims) && Object.isFrozen(claims.roles),
      areDates: session.tokenIssuedAt instanceof Date && expiresAt instanceof Date,
      userId,
      claims,
    };
  }

  @OptionalSession()
  @Get('visitor')
  visitor(@Session('userId') userId?: string | number): object {
    return { userId: userId ?? null };
  }

  @SkipSession()
  @Get('open')
  open(@Req() request: HttpRequest): object {
    return { hasSession: attachedSession(request) !== undefined };
  }

  /** A route with an unsafe method, for the CSRF check. */
  @Post('orders')
  @HttpCode(200)
  order(@Session('id') id: string): object {
    return { orderedBy: id };
  }

  @SkipCsrf()
  @Post('hook')
  @HttpCode(200)
  hook(@Session('id') id: string): object {
    return { calledBy: id };
  }
}

/** A service without a database, listening on a real port. */
export interface ServiceApp {
  readonly app: INestApplication;
  readonly url: string;
  close(): Promise<void>;
}

/**
 * @param verifier the module, or the options of `forVerifier`
 * @param configure runs before the application is initialised
 */
export async function startService(
  adapter: Adapter,
  verifier: DynamicModule | SessionVerifierOptions,
  metadata: ModuleMetadata = {},
  logger: LoggerService | false = false,
  configure: (app: INestApplication) => void = () => undefined,
): Promise<ServiceApp> {
  const module = 'module' in verifier ? verifier : SessionModule.forVerifier(verifier);
  const app = await NestFactory.create(
    asModule({
      controllers: [ServiceController],
      ...metadata,
      imports: [module, ...(metadata.imports ?? [])],
    }),
    adapter === 'express' ? new ExpressAdapter() : new FastifyAdapter(),
    { abortOnError: false, logger },
  );
  configure(app);
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  return { app, url: `http://127.0.0.1:${port}`, close: () => app.close() };
}
