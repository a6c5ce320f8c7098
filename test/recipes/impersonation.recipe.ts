import {
  Body,
  Controller,
  ForbiddenException,
  Get,
  HttpCode,
  Injectable,
  Logger,
  Module,
  Post,
  Req,
  Res,
  UseGuards,
} from '@nestjs/common';
import {
  type ActiveSession,
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  NoImpersonation,
  RequireFresh,
  SESSION_OBSERVER,
  SessionGuard,
  type SessionEvent,
  type SessionObserver,
  SessionService,
} from 'nestjs-session-tokens';

/** Who exists, and what they may do. Yours asks the database. */
@Injectable()
export class Users {
  private readonly roles = new Map([
    ['alice', 'admin'],
    ['ann', 'user'],
    ['bob', 'user'],
    ['root', 'admin'],
  ]);

  roleOf(userId: string): string | undefined {
    return this.roles.get(userId);
  }
}

@Controller('support')
export class SupportController {
  constructor(
    private readonly sessions: SessionService,
    private readonly users: Users,
  ) {}

  /** An administrator begins to act as a user: with a recent proof of who they are, and a reason. */
  @Post('impersonation')
  @HttpCode(204)
  @UseGuards(SessionGuard)
  @RequireFresh('10m')
  async start(
    @CurrentSession() session: ActiveSession,
    @Body() { userId, reason }: { userId: string; reason: string },
    @Req() req: HttpRequest,
    @Res({ passthrough: true }) res: HttpResponse,
  ): Promise<void> {
    const role = this.users.roleOf(userId);
    // Ask the database, not the claims: they may be a quarter of an hour old. And nobody may become another administrator.
    const isAllowed = this.users.roleOf(String(session.userId)) === 'admin' && role === 'user';
    if (!isAllowed || !reason) throw new ForbiddenException();
    await this.sessions.impersonate(req, res, { userId, claims: { role }, reason });
  }

  /** The button "Back to my account". It has no guard, because it is for an impersonation that is over, too. */
  @Post('impersonation/stop')
  @HttpCode(204)
  async stop(@Req() req: HttpRequest, @Res({ passthrough: true }) res: HttpResponse): Promise<void> {
    await this.sessions.endImpersonation(req, res);
  }
}

@Controller('account')
@UseGuards(SessionGuard)
export class AccountController {
  /** Every page shows a banner where somebody acts as the user: "alice acts as ann until 10:15. [Back to my account]" */
  @Get()
  show(@CurrentSession() { userId, actor, tokenExpiresAt }: ActiveSession): object {
    return { userId, ...(actor && { actedBy: actor.userId, until: tokenExpiresAt }) };
  }

  @Post('name')
  rename(@CurrentSession('userId') userId: string, @Body('name') name: string): object {
    return { userId, name };
  }

  /** What nobody may do for a user. `@RequireFresh()` says the same, and more. */
  @Post('payment')
  @NoImpersonation()
  pay(@CurrentSession('userId') userId: string): object {
    return { paidBy: userId };
  }
}

/** Both are in the audit log, from the beginning to the end. */
@Injectable()
export class ImpersonationLog implements SessionObserver {
  private readonly logger = new Logger('Impersonation');

  onSessionEvent({ type, userId, actor }: SessionEvent): void {
    if (actor) this.logger.log(`${type}: ${actor.userId} acts as ${userId} (${actor.reason})`);
  }
}

@Module({
  controllers: [SupportController, AccountController],
  providers: [Users, { provide: SESSION_OBSERVER, useClass: ImpersonationLog }],
})
export class SupportModule {}
