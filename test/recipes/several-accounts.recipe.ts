import {
  Body,
  type CanActivate,
  ConflictException,
  Controller,
  type ExecutionContext,
  ForbiddenException,
  Get,
  HttpCode,
  Injectable,
  Module,
  NotFoundException,
  Post,
  Req,
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
  SessionGuard,
  type SessionInfo,
  SessionService,
} from 'nestjs-session-tokens';

/** Who exists. Yours asks the database, and compares hashes. */
@Injectable()
export class Users {
  isRight(userId: string, password: string): boolean {
    return ['ann', 'bob', 'cyd'].includes(userId) && password === 'wonderland';
  }
}

/** The data of the active session. Only the server reads and writes it, so what it names was signed in on this browser. */
interface SwitcherData {
  /** Ids of the sessions of the other accounts. Nobody has their tokens. */
  readonly parked?: readonly string[];
}

const MOST_ACCOUNTS = 5;

/** How long a sign-in to an account is good, however often its user switches. In seconds. */
const LIFE = 90 * 24 * 3600;

/** The input for a session that goes on where another one ends. A switch proves nothing, so it prolongs nothing. */
function nextOf(
  { userId, claims, data, remember, label, userAgent, ip, authenticatedAt, amr }: SessionInfo,
  parked: readonly string[],
) {
  const age = Math.ceil((Date.now() - authenticatedAt.getTime()) / 1000);
  const absoluteTtl = Math.max(1, LIFE - age);
  const device = { label, userAgent, ip };
  return { userId, claims, data: { ...data, parked }, remember, device, authenticatedAt, amr, absoluteTtl };
}

/**
 * Each account has a session of its own: the active one, whose cookies the browser has, or a parked one. So each ends by its own
 * `revokeAllForUser()`, and its user sees it in the list of devices.
 */
@Injectable()
export class Accounts {
  constructor(private readonly sessions: SessionService) {}

  /** The sessions of the other accounts, without those that have ended. */
  async parked(active: ActiveSession): Promise<SessionInfo[]> {
    const { parked = [] } = await active.getData<SwitcherData>();
    const found = await Promise.all(parked.map(async (id) => this.sessions.find(id)));
    return found.filter((each) => each !== null);
  }

  /** Signs in to one more account, which becomes the active one. */
  async add(active: ActiveSession, userId: string, req: HttpRequest, res: HttpResponse): Promise<void> {
    const parked = await this.parked(active);
    const others = idsOf(parked.filter((each) => each.userId !== userId));
    const again = idsOf(parked.filter((each) => each.userId === userId));
    const isActive = active.userId === userId;
    if (others.length + (isActive ? 1 : 2) > MOST_ACCOUNTS)
      throw new ConflictException('Sign out of an account first.');
    const kept = isActive ? others : [...others, await this.park(active)];
    await this.sessions.create(req, res, { userId, absoluteTtl: LIFE, data: { parked: kept } });
    await this.sessions.revokeMany(again, { reason: 'replaced' });
  }

  async switchTo(active: ActiveSession, userId: string, req: HttpRequest, res: HttpResponse): Promise<void> {
    const parked = await this.parked(active);
    const next = sessionOf(userId, parked);
    const others = idsOf(parked.filter((each) => each !== next));
    await this.activate(next, [...others, await this.park(active)], req, res);
  }

  /** Signs out of one account. If it is the active one, the account that was active before becomes so. */
  async signOut(active: ActiveSession, userId: string, req: HttpRequest, res: HttpResponse): Promise<void> {
    const parked = await this.parked(active);
    const why = { reason: 'logout', by: userId };
    if (active.userId !== userId) {
      await this.sessions.revoke(sessionOf(userId, parked).id, why);
      return;
    }
    const next = parked.pop();
    if (!next) return this.sessions.signOut(req, res);
    await this.sessions.revoke(active.id, why);
    await this.activate(next, idsOf(parked), req, res);
  }

  async signOutOfAll(active: ActiveSession, req: HttpRequest, res: HttpResponse): Promise<void> {
    await this.sessions.revokeMany(idsOf(await this.parked(active)), { reason: 'logout' });
    await this.sessions.signOut(req, res);
  }

  private async park(active: ActiveSession): Promise<string> {
    const { session } = await this.sessions.tokens.issue(nextOf(await active.getInfo(), []));
    await this.replace(active.id, session.id);
    return session.id;
  }

  private async activate(
    session: SessionInfo,
    parked: readonly string[],
    req: HttpRequest,
    res: HttpResponse,
  ): Promise<void> {
    const { id } = await this.sessions.create(req, res, nextOf(session, parked));
    await this.replace(session.id, id);
  }

  /** Ends a session last, and asks whether it was live. If not, as after "sign out everywhere", the next one ends with it. */
  private async replace(id: string, next: string): Promise<void> {
    if (await this.sessions.revoke(id, { reason: 'replaced' })) return;
    await this.sessions.revoke(next);
    throw new ConflictException('The session has ended meanwhile.');
  }
}

const idsOf = (sessions: readonly SessionInfo[]): string[] => sessions.map(({ id }) => id);

function sessionOf(userId: string, parked: readonly SessionInfo[]): SessionInfo {
  const session = parked.find((each) => each.userId === userId);
  if (!session) throw new NotFoundException('Sign in to this account first.');
  return session;
}

/** The account switcher. The guard also refuses requests of other sites: all that changes something is a `POST`. */
@Controller('accounts')
@UseGuards(SessionGuard)
@NoImpersonation()
export class AccountsController {
  constructor(
    private readonly accounts: Accounts,
    private readonly users: Users,
  ) {}

  @Get()
  async list(@CurrentSession() active: ActiveSession): Promise<object> {
    const others = (await this.accounts.parked(active)).map(({ userId }) => userId);
    return { active: active.userId, others };
  }

  @Post()
  @HttpCode(204)
  async add(
    @CurrentSession() active: ActiveSession,
    @Body() { userId, password }: { userId: string; password: string },
    @Req() req: HttpRequest,
    @Res({ passthrough: true }) res: HttpResponse,
  ): Promise<void> {
    if (!this.users.isRight(userId, password)) throw new ForbiddenException();
    await this.accounts.add(active, userId, req, res);
  }

  @Post('switch')
  @HttpCode(204)
  async switchTo(
    @CurrentSession() active: ActiveSession,
    @Body('userId') userId: string,
    @Req() req: HttpRequest,
    @Res({ passthrough: true }) res: HttpResponse,
  ): Promise<void> {
    await this.accounts.switchTo(active, userId, req, res);
  }

  @Post('sign-out')
  @HttpCode(204)
  async signOut(
    @CurrentSession() active: ActiveSession,
    @Body('userId') userId: string,
    @Req() req: HttpRequest,
    @Res({ passthrough: true }) res: HttpResponse,
  ): Promise<void> {
    await this.accounts.signOut(active, userId, req, res);
  }

  @Post('sign-out-of-all')
  @HttpCode(204)
  async signOutOfAll(
    @CurrentSession() active: ActiveSession,
    @Req() req: HttpRequest,
    @Res({ passthrough: true }) res: HttpResponse,
  ): Promise<void> {
    await this.accounts.signOutOfAll(active, req, res);
  }
}

/** A tab still shows the account that was active when it was opened. What is begun there must not be done as another one. */
@Injectable()
export class AccountGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const req = context.switchToHttp().getRequest<HttpRequest & { params: { account: string } }>();
    if (attachedSession(req)?.userId === req.params.account) return true;
    throw new ConflictException('Another account is active.');
  }
}

/** So the URLs of pages and routes name the account: `/u/ann/name`. */
@Controller('u/:account')
@UseGuards(SessionGuard, AccountGuard)
export class ProfileController {
  @Post('name')
  @HttpCode(200)
  rename(@CurrentSession('userId') userId: string, @Body('name') name: string): object {
    return { userId, name };
  }
}

@Module({ controllers: [AccountsController, ProfileController], providers: [Accounts, Users] })
export class SeveralAccountsModule {}
