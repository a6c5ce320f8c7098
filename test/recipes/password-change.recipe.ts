import { createHash, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import {
  BadRequestException,
  Body,
  ConflictException,
  Controller,
  ForbiddenException,
  HttpCode,
  Injectable,
  Module,
  Post,
  Req,
  Res,
  UnauthorizedException,
  UseGuards,
} from '@nestjs/common';
import {
  type ActiveSession,
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  NoImpersonation,
  SessionGuard,
  SessionService,
} from 'nestjs-session-tokens';

interface User {
  readonly id: string;
  readonly salt: Buffer;
  readonly hash: Buffer;
  /** Grows with each change of the password. A new hash of the same password is no change. */
  readonly version: number;
}

/** Who exists, and their passwords. Yours asks the database: its primary, because a replica may not have the change yet. */
@Injectable()
export class Users {
  private readonly users = new Map<string, User>();
  private readonly resets = new Map<string, { user: User; expiresAt: number }>();
  /** A sign-in with an unknown name takes as long as any other. */
  private readonly nobody = { salt: randomBytes(16), hash: randomBytes(32) };

  async add(id: string, password: string): Promise<void> {
    this.users.set(id, { id, version: 1, ...(await hashed(password)) });
  }

  /** The user as they were when the check began, or null if the password is wrong. */
  async check(id: string, password: unknown): Promise<User | null> {
    const user = this.users.get(id);
    const { salt, hash } = user ?? this.nobody;
    const isRight = timingSafeEqual((await hashed(String(password), salt)).hash, hash);
    return user && isRight ? user : null;
  }

  async versionOf(id: string): Promise<number | undefined> {
    return this.users.get(id)?.version;
  }

  /** `UPDATE … SET hash = …, version = version + 1 WHERE id = … AND version = …`: of two changes at once, one is made. */
  async setPassword({ id, version }: User, password: string): Promise<boolean> {
    const next = { id, version: version + 1, ...(await hashed(password)) };
    if (this.users.get(id)?.version !== version) return false;
    this.users.set(id, next);
    return true;
  }

  /** The token for the mail. The table has only its hash, as it has of passwords. */
  async startReset(id: string): Promise<string | undefined> {
    const user = this.users.get(id);
    if (!user) return;
    const token = randomBytes(24).toString('base64url');
    this.resets.set(sha256(token), { user, expiresAt: Date.now() + 15 * 60_000 });
    return token;
  }

  /** Whose password may be set with the token: `DELETE … RETURNING`, so that it works once. */
  async redeemReset(token: unknown): Promise<User | null> {
    const key = sha256(String(token));
    const reset = this.resets.get(key);
    return this.resets.delete(key) && reset && reset.expiresAt > Date.now() ? reset.user : null;
  }
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

async function hashed(
  password: string,
  salt: Buffer = randomBytes(16),
): Promise<Pick<User, 'salt' | 'hash'>> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, 32, (error, hash) => (error ? reject(error) : resolve({ salt, hash })));
  });
}

function checkNewPassword(password: unknown): string {
  if (typeof password !== 'string' || password.length < 12)
    throw new BadRequestException('A password has at least 12 characters.');
  return password;
}

@Controller('account')
export class PasswordController {
  constructor(
    private readonly sessions: SessionService,
    private readonly users: Users,
  ) {}

  @Post('login')
  @HttpCode(204)
  async login(
    @Body() { userId, password }: { userId: string; password: string },
    @Req() req: HttpRequest,
    @Res({ passthrough: true }) res: HttpResponse,
  ): Promise<void> {
    const user = await this.users.check(userId, password);
    if (!user) throw new UnauthorizedException();
    const session = await this.sessions.create(req, res, { userId: user.id, amr: ['pwd'] });
    // The check takes a while. If the password was changed meanwhile, this session has come too late to be ended by that.
    if ((await this.users.versionOf(user.id)) === user.version) return;
    await session.revoke({ reason: 'password_change' });
    throw new UnauthorizedException();
  }

  /** 403, not 401, for a wrong password: the session goes on. Limit the attempts, as at sign-in. */
  @Post('password')
  @HttpCode(204)
  @UseGuards(SessionGuard)
  @NoImpersonation()
  async change(
    @CurrentSession() session: ActiveSession,
    @Body() body: { oldPassword: string; newPassword: string },
    @Req() req: HttpRequest,
    @Res({ passthrough: true }) res: HttpResponse,
  ): Promise<void> {
    const newPassword = checkNewPassword(body.newPassword);
    const user = await this.users.check(String(session.userId), body.oldPassword);
    if (!user) throw new ForbiddenException();
    // 1. Save: from now on, the old password opens nothing.
    if (!(await this.users.setPassword(user, newPassword))) throw new ConflictException();
    // 2. End what it has opened elsewhere. Before 3: if that fails, nobody else stays signed in.
    await this.sessions.revokeAllForUser(user.id, {
      except: session.id,
      reason: 'password_change',
      by: user.id,
    });
    // 3. New tokens here: a copy of the old ones is of no use any more.
    await this.sessions.reauthenticate(req, res, { amr: ['pwd'] });
  }

  /** The link in the mail has led to a page with a form. There is no session, so all of them end. */
  @Post('password/reset')
  @HttpCode(204)
  async reset(@Body() body: { token: string; newPassword: string }): Promise<void> {
    const newPassword = checkNewPassword(body.newPassword);
    const user = await this.users.redeemReset(body.token);
    if (!user || !(await this.users.setPassword(user, newPassword))) throw new ForbiddenException();
    await this.sessions.revokeAllForUser(user.id, { reason: 'password_change', by: user.id });
  }
}

@Module({ controllers: [PasswordController], providers: [Users], exports: [Users] })
export class PasswordModule {}
