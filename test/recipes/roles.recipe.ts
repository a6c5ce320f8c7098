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
  Req,
  Res,
  UnauthorizedException,
  UseGuards,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import {
  type ActiveSession,
  attachedSession,
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  SessionGuard,
  SessionNotFoundError,
  SessionService,
} from 'nestjs-session-tokens';

type Role = 'admin' | 'editor';

/** The claims in access tokens. A session from before there were roles has none. */
interface Claims {
  readonly roles?: readonly Role[];
}

/** The handler is for users with one of these roles. The access token tells: no query, and at most `accessToken.ttl` old. */
export const Roles = Reflector.createDecorator<readonly Role[]>();

/** The same for what must never be allowed too long. The database tells: one query for each request. */
export const RolesNow = Reflector.createDecorator<readonly Role[]>();

/** Who exists, and their roles. Yours asks the database: its primary. */
@Injectable()
export class Users {
  private readonly roles = new Map<string, readonly Role[]>([
    ['root', ['admin']],
    ['ann', ['editor']],
  ]);

  async isRight(userId: string, password: string): Promise<boolean> {
    return this.roles.has(userId) && password === 'wonderland';
  }

  async rolesOf(userId: string): Promise<readonly Role[]> {
    return this.roles.get(userId) ?? [];
  }

  async takeRole(userId: string, role: string): Promise<void> {
    const roles = await this.rolesOf(userId);
    this.roles.set(
      userId,
      roles.filter((each) => each !== role),
    );
  }
}

/** Comes after the `SessionGuard`. A role that is needed, and a session that is not there, is a refusal. */
@Injectable()
export class RolesGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly users: Users,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const places = [context.getHandler(), context.getClass()];
    const request = context.switchToHttp().getRequest<HttpRequest>();
    const session = attachedSession(request) as ActiveSession<Claims> | undefined;
    const byClaims = this.reflector.getAllAndOverride(Roles, places);
    const byDatabase = this.reflector.getAllAndOverride(RolesNow, places);
    if (byClaims && !hasOne(session?.claims.roles, byClaims)) return false;
    return !byDatabase || hasOne(session && (await this.users.rolesOf(String(session.userId))), byDatabase);
  }
}

const hasOne = (roles: readonly Role[] = [], needed: readonly Role[]): boolean =>
  needed.some((role) => roles.includes(role));

/** Takes roles away. */
@Injectable()
export class RoleChanges {
  constructor(
    private readonly sessions: SessionService,
    private readonly users: Users,
  ) {}

  /** The user stays signed in. Their access tokens keep the role until they expire. */
  async take(userId: string, role: string): Promise<void> {
    await this.users.takeRole(userId, role);
    for (let after: string | undefined; ;) {
      const { sessions, next } = await this.sessions.findAllForUser(userId, { after });
      for (const { id } of sessions) await this.renewClaims(id, userId);
      if (next === null) return;
      after = next;
    }
  }

  /** At once: the user is signed out, and has the right roles after the next sign-in. */
  async takeAtOnce(userId: string, role: string, by: string): Promise<void> {
    await this.users.takeRole(userId, role);
    await this.sessions.revokeAllForUser(userId, { reason: 'role_change', by });
  }

  private async renewClaims(id: string, userId: string): Promise<void> {
    try {
      // A function: it keeps other claims, and reads the roles again if somebody else has changed the claims meanwhile.
      await this.sessions.updateClaims(id, async (claims) => ({
        ...claims,
        roles: await this.users.rolesOf(userId),
      }));
    } catch (error) {
      // It has ended meanwhile.
      if (!(error instanceof SessionNotFoundError)) throw error;
    }
  }
}

@Controller('staff')
export class StaffController {
  constructor(
    private readonly sessions: SessionService,
    private readonly users: Users,
    private readonly changes: RoleChanges,
  ) {}

  @Post('login')
  @HttpCode(204)
  async login(
    @Body() { userId, password }: { userId: string; password: string },
    @Req() req: HttpRequest,
    @Res({ passthrough: true }) res: HttpResponse,
  ): Promise<void> {
    if (!(await this.users.isRight(userId, password))) throw new UnauthorizedException();
    const roles = await this.users.rolesOf(userId);
    const session = await this.sessions.create(req, res, { userId, claims: { roles } });
    // A role that was taken meanwhile was not taken from this session.
    const now = await this.users.rolesOf(userId);
    if (now.join() !== roles.join()) await session.updateClaims({ roles: now });
  }

  @Get('drafts')
  @UseGuards(SessionGuard, RolesGuard)
  @Roles(['editor', 'admin'])
  drafts(): object {
    return { drafts: [] };
  }

  @Post('publish')
  @HttpCode(200)
  @UseGuards(SessionGuard, RolesGuard)
  @RolesNow(['editor', 'admin'])
  publish(@CurrentSession('userId') userId: string): object {
    return { publishedBy: userId };
  }

  /** Who gives and takes roles is asked of the database. */
  @Delete('users/:userId/roles/:role')
  @HttpCode(204)
  @UseGuards(SessionGuard, RolesGuard)
  @RolesNow(['admin'])
  async takeRole(
    @CurrentSession('userId') by: string,
    @Param('userId') userId: string,
    @Param('role') role: string,
    @Query('signOut') signOut?: string,
  ): Promise<void> {
    if (signOut === 'true') await this.changes.takeAtOnce(userId, role, by);
    else await this.changes.take(userId, role);
  }
}

@Module({ controllers: [StaffController], providers: [Users, RoleChanges], exports: [Users] })
export class RolesModule {}
