// nestjs-session-tokens, as its README sets it up.
import { Body, Controller, Get, HttpCode, Inject, Module, Post, Req, Res, UseGuards } from '@nestjs/common';
import type { JWK } from 'jose';
import {
  type ActiveSession,
  type HttpRequest,
  type HttpResponse,
  CurrentSession,
  SessionGuard,
  SessionModule,
  type SessionModuleOptions,
  SessionService,
} from 'nestjs-session-tokens';
import { countQueries, dataSourceOptions } from '../support/data-source-options.js';
import { readEnvironment } from '../support/environment.js';
import { BareController, nestServer } from '../support/nest.js';
import { serve } from '../support/serve.js';

/** `SESSION_OPTIONS` are options of the module as JSON; `SIGNING_JWK` is a key that other servers know, too. */
const { SESSION_OPTIONS = '{}', SIGNING_JWK } = process.env;

const options: SessionModuleOptions = {
  secret: readEnvironment().secret,
  database: dataSourceOptions(),
  ...(SIGNING_JWK !== undefined && { signingKeys: { source: () => [JSON.parse(SIGNING_JWK) as JWK] } }),
  ...(JSON.parse(SESSION_OPTIONS) as SessionModuleOptions),
};

@Controller()
class AccountController {
  constructor(@Inject(SessionService) private readonly sessions: SessionService) {}

  @Post('login')
  @HttpCode(204)
  async login(
    @Body() { userId, claims }: { userId: string; claims: object },
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<void> {
    await this.sessions.create(request, response, { userId, claims });
  }

  @UseGuards(SessionGuard)
  @Get('me')
  me(@CurrentSession('userId') userId: string): object {
    return { userId };
  }

  @Post('renew')
  @HttpCode(204)
  async renew(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<void> {
    await this.sessions.refresh(request, response);
  }

  @UseGuards(SessionGuard)
  @Post('logout')
  @HttpCode(204)
  async logout(@CurrentSession() session: ActiveSession): Promise<void> {
    await session.revoke();
  }

  @UseGuards(SessionGuard)
  @Get('devices')
  async devices(@CurrentSession('userId') userId: string): Promise<object[]> {
    return (await this.sessions.findAllForUser(userId)).sessions;
  }
}

@Module({ imports: [SessionModule.forRoot(options)], controllers: [BareController, AccountController] })
class AppModule {}

serve(nestServer(() => AppModule, { queries: countQueries }));
