import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Param,
  Post,
  Put,
  Req,
  Res,
  UseGuards,
} from '@nestjs/common';
import {
  ActiveSession,
  type HttpRequest,
  type HttpResponse,
  type JsonValue,
  OptionalSession,
  Session,
  SessionGuard,
  type SessionInput,
  SessionService,
  SkipCsrf,
  SkipSession,
} from 'nestjs-session-tokens';

/** The routes that nearly every HTTP suite needs: sign in, read, change something, sign out. */
@Controller()
@UseGuards(SessionGuard)
export class AccountController {
  constructor(private readonly sessions: SessionService) {}

  @SkipSession()
  @Post('login')
  @HttpCode(200)
  async login(
    @Body() input: SessionInput,
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<ActiveSession> {
    return this.sessions.create(request, response, input);
  }

  @Get('me')
  me(@Session() session: ActiveSession): ActiveSession {
    return session;
  }

  @OptionalSession()
  @Get('visitor')
  visitor(@Session('userId') userId?: string | number): object {
    return { userId: userId ?? null };
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

  @Put('claims')
  async putClaims(@Session() session: ActiveSession, @Body() claims: object): Promise<JsonValue> {
    await session.updateClaims(claims);
    return session.claims;
  }

  @Put('data')
  async putData(@Session() session: ActiveSession, @Body() data: object): Promise<JsonValue> {
    await session.updateData(data);
    return session.getData();
  }

  /** Revokes the session as another device or an administrator would. */
  @Delete('sessions/:id')
  async revoke(@Param('id') id: string): Promise<object> {
    return { revoked: await this.sessions.revoke(id) };
  }

  /** A handler that forgets to catch an error. */
  @Put('sessions/:id/data')
  async putDataOf(@Param('id') id: string, @Body() data: object): Promise<void> {
    await this.sessions.updateData(id, data);
  }

  /** Without the guard, so that a client whose session is over can sign out as well. */
  @SkipSession()
  @Post('sign-out')
  @HttpCode(204)
  async signOut(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<void> {
    await this.sessions.signOut(request, response);
  }

  @Post('logout')
  @HttpCode(204)
  async logout(@Session() session: ActiveSession): Promise<void> {
    await session.revoke();
  }
}
