import { Body, Controller, Get, HttpCode, Inject, Module, Post, Req, Res } from '@nestjs/common';
import { BareController, nestServer } from '../support/nest.js';
import type { AnyResponse } from '../support/responses.js';
import type { Server } from '../support/serve.js';
import { type AnyRequest, DriverSessions, type Method } from './driver-sessions.js';

@Controller()
class AccountController {
  constructor(@Inject(DriverSessions) private readonly sessions: DriverSessions) {}

  @Post('login')
  @HttpCode(204)
  async login(
    @Body() input: { userId: string; claims: object },
    @Req() request: AnyRequest,
    @Res({ passthrough: true }) response: AnyResponse,
  ): Promise<void> {
    await this.sessions.login(input, request, response);
  }

  @Post('renew')
  @HttpCode(204)
  async renew(@Req() request: AnyRequest, @Res({ passthrough: true }) response: AnyResponse): Promise<void> {
    await this.sessions.renew(request, response);
  }

  @Get('me')
  async me(@Req() request: AnyRequest): Promise<object> {
    return { userId: await this.sessions.userOf(request) };
  }
}

/**
 * A Nest application whose sessions go straight to the driver.
 *
 * @param open what else is started with it; @returns how that is closed
 */
export function driverServer(method: Method, open?: () => Promise<() => Promise<void>>): Server {
  let sessions: DriverSessions | undefined;
  let close: (() => Promise<void>) | undefined;
  @Module({
    controllers: [BareController, AccountController],
    providers: [
      {
        provide: DriverSessions,
        useFactory: async () => (sessions = await DriverSessions.open(method)),
      },
    ],
  })
  class AppModule {}

  const server = nestServer(() => AppModule);
  return {
    ...server,
    async listen(port) {
      close = await open?.();
      await server.listen(port);
    },
    async close() {
      await server.close();
      await sessions?.close();
      await close?.();
    },
  };
}
