import { Body, Controller, Get, HttpCode, Post, Req, Res, UseGuards } from '@nestjs/common';
import {
  ActiveSession,
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  SessionGuard,
  SessionService,
} from 'nestjs-session-tokens';

@Controller()
export class AccountController {
  constructor(private readonly sessions: SessionService) {}

  @Post('login')
  @HttpCode(204)
  async login(
    @Body() body: { name: string },
    @Req() req: HttpRequest,
    @Res({ passthrough: true }) res: HttpResponse,
  ): Promise<void> {
    await this.sessions.create(req, res, { userId: body.name, claims: { role: 'admin' } });
  }

  @UseGuards(SessionGuard)
  @Get('me')
  me(@CurrentSession() session: ActiveSession, @CurrentSession('userId') userId: string): object {
    return { userId, claims: session.claims };
  }

  @Post('logout')
  @HttpCode(204)
  async logout(@Req() req: HttpRequest, @Res({ passthrough: true }) res: HttpResponse): Promise<void> {
    await this.sessions.signOut(req, res);
  }
}
