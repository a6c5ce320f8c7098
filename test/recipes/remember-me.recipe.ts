import {
  Body,
  Controller,
  HttpCode,
  Injectable,
  Module,
  Post,
  Req,
  Res,
  UnauthorizedException,
} from '@nestjs/common';
import {
  type HttpRequest,
  type HttpResponse,
  type SessionInput,
  SessionService,
} from 'nestjs-session-tokens';

/** Who exists. Yours asks the database, and compares hashes. */
@Injectable()
export class Users {
  isRight(userId: string, password: string): boolean {
    return userId === 'ann' && password === 'wonderland';
  }
}

/** For a computer that other people use: for as long as somebody is there, and not longer than a working day. */
const SHORT = { remember: false, ttl: '2h', absoluteTtl: '12h' } satisfies Partial<SessionInput>;

/** For one's own: a month without a visit, and a year in all. */
const LONG = { remember: true, ttl: '30d', absoluteTtl: '365d' } satisfies Partial<SessionInput>;

@Controller('account')
export class SignInController {
  constructor(
    private readonly sessions: SessionService,
    private readonly users: Users,
  ) {}

  @Post('login')
  @HttpCode(204)
  async login(
    @Body() body: { userId: string; password: string; remember?: boolean },
    @Req() req: HttpRequest,
    @Res({ passthrough: true }) res: HttpResponse,
  ): Promise<void> {
    const { userId, password, remember } = body;
    if (!this.users.isRight(userId, password)) throw new UnauthorizedException();
    // Only for a box that is ticked. What is missing, or is not understood, is the short life.
    await this.sessions.create(req, res, { userId, ...(remember === true ? LONG : SHORT) });
  }
}

@Module({ controllers: [SignInController], providers: [Users] })
export class RememberMeModule {}
