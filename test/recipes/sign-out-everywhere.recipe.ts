import {
  Body,
  type CanActivate,
  Controller,
  Delete,
  type ExecutionContext,
  Get,
  HttpCode,
  Injectable,
  Module,
  Param,
  Post,
  Query,
  Res,
  UseGuards,
} from '@nestjs/common';
import {
  type ActiveSession,
  attachedSession,
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  NoImpersonation,
  RequireFresh,
  SessionGuard,
  type SessionInfo,
  SessionNotFoundError,
  SessionService,
  type UserId,
} from 'nestjs-session-tokens';

/** What a list of devices shows. It has no claims and no data. */
const deviceOf = ({ id, label, browser, system, lastSeenAt, current, actor }: SessionInfo): object => {
  return { id, label, browser, system, lastSeenAt, current, isSupport: actor !== undefined };
};

/** Ends sessions one by one. */
@Injectable()
export class Devices {
  constructor(private readonly sessions: SessionService) {}

  async list(userId: UserId, after?: string, current?: string): Promise<object> {
    const page = await this.sessions.findAllForUser(userId, { limit: 20, after, current });
    return { devices: page.sessions.map((each) => deviceOf(each)), next: page.next };
  }

  /** An id from a URL may be anybody's. A foreign one is answered like one that does not exist. */
  async signOut(id: string, of: UserId, why: { reason: string; by: UserId }): Promise<void> {
    if ((await this.sessions.find(id))?.userId !== of) throw new SessionNotFoundError(id);
    await this.sessions.revoke(id, why);
  }
}

/** A user's own devices. Whoever ends one has proved in the last ten minutes who they are. */
@Controller('devices')
@UseGuards(SessionGuard)
@RequireFresh('10m')
export class DevicesController {
  constructor(
    private readonly sessions: SessionService,
    private readonly devices: Devices,
  ) {}

  /** Page by page: `next` of a page is `after` of the following one. */
  @Get()
  @RequireFresh(false)
  async list(
    @CurrentSession() { userId, id }: ActiveSession,
    @Query('after') after?: string,
  ): Promise<object> {
    return this.devices.list(userId, after, id);
  }

  @Delete(':id')
  @HttpCode(204)
  async signOut(@CurrentSession('userId') userId: UserId, @Param('id') id: string): Promise<void> {
    await this.devices.signOut(id, userId, { reason: 'user', by: userId });
  }

  /** "Sign out all other devices". The id of the exception is that of the session, never one that the client sends. */
  @Post('sign-out-others')
  @HttpCode(204)
  async signOutOthers(@CurrentSession() { userId, id }: ActiveSession): Promise<void> {
    await this.sessions.revokeAllForUser(userId, { except: id, reason: 'user', by: userId });
  }

  /** "Sign out everywhere", here as well. */
  @Post('sign-out-everywhere')
  @HttpCode(204)
  async signOutEverywhere(
    @CurrentSession('userId') userId: UserId,
    @Res({ passthrough: true }) res: HttpResponse,
  ): Promise<void> {
    await this.sessions.revokeAllForUser(userId, { reason: 'user', by: userId });
    this.sessions.clearCookies(res);
  }
}

/** Who is an administrator. Yours asks the database: the claims of a session may be old. */
@Injectable()
export class Administrators {
  private readonly ids = new Set<UserId>(['root']);

  has(userId: UserId): boolean {
    return this.ids.has(userId);
  }
}

@Injectable()
export class AdministratorGuard implements CanActivate {
  constructor(private readonly administrators: Administrators) {}

  canActivate(context: ExecutionContext): boolean {
    const session = attachedSession(context.switchToHttp().getRequest<HttpRequest>());
    return session !== undefined && this.administrators.has(session.userId);
  }
}

/** The same for administrators. Here user ids are texts, as they come in the URL. Numbers need the `ParseIntPipe`. */
@Controller('admin')
@UseGuards(SessionGuard, AdministratorGuard)
@NoImpersonation()
export class AdminSessionsController {
  constructor(
    private readonly sessions: SessionService,
    private readonly devices: Devices,
  ) {}

  @Get('users/:userId/sessions')
  async list(@Param('userId') userId: string, @Query('after') after?: string): Promise<object> {
    return this.devices.list(userId, after);
  }

  @Delete('users/:userId/sessions/:id')
  @HttpCode(204)
  async signOut(
    @CurrentSession('userId') by: UserId,
    @Param('userId') userId: string,
    @Param('id') id: string,
  ): Promise<void> {
    await this.devices.signOut(id, userId, { reason: 'admin', by });
  }

  @Delete('users/:userId/sessions')
  async signOutUser(
    @CurrentSession('userId') by: UserId,
    @Param('userId') userId: string,
  ): Promise<{ ended: number }> {
    return { ended: await this.sessions.revokeAllForUser(userId, { reason: 'admin', by }) };
  }

  /** Everybody whose session is from before a time, such as that of a breach. It may be the administrator's, too. */
  @Post('sign-out-everybody')
  @HttpCode(200)
  @RequireFresh('10m')
  async signOutEverybody(
    @CurrentSession('userId') by: UserId,
    @Body('before') before: string,
  ): Promise<{ ended: number }> {
    return { ended: await this.sessions.revokeAll({ before: new Date(before), reason: 'admin', by }) };
  }
}

@Module({
  controllers: [DevicesController, AdminSessionsController],
  providers: [Devices, Administrators],
})
export class SignOutModule {}
