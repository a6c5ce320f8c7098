// @nestjs/jwt and passport-jwt, as Nest's documentation has them, for the access token; and the refresh token that every
// tutorial then adds by hand: opaque, in an HttpOnly cookie, its hash in a table, replaced at each use.
// Tutorials hash it with bcrypt, which is for passwords and costs tens of milliseconds. SHA-256 is enough for 256 random
// bits, and compares sessions, not hash functions.
import { createHash, randomBytes } from 'node:crypto';
import {
  Body,
  Controller,
  Get,
  HttpCode,
  Inject,
  Injectable,
  type OnModuleInit,
  Post,
  Req,
  Res,
  UnauthorizedException,
  UseGuards,
} from '@nestjs/common';
import { JwtModule, JwtService } from '@nestjs/jwt';
import { AuthGuard, PassportModule, PassportStrategy } from '@nestjs/passport';
import type { CookieOptions, Request, Response } from 'express';
import { ExtractJwt, Strategy } from 'passport-jwt';
import { readEnvironment } from '../support/environment.js';
import type { Login } from './support/login.js';
import { servePeer } from './support/peer-server.js';
import { Pool } from './support/pool.js';

const { secret } = readEnvironment();
const COOKIE = 'refresh_token';
const MONTH = 30 * 24 * 60 * 60 * 1_000;

@Injectable()
class JwtStrategy extends PassportStrategy(Strategy) {
  constructor() {
    super({
      jwtFromRequest: ExtractJwt.fromAuthHeaderAsBearerToken(),
      ignoreExpiration: false,
      secretOrKey: secret,
    });
  }

  validate({ sub, ...claims }: { sub: string }): object {
    return { userId: sub, claims };
  }
}

/** The table of refresh tokens, one row a session, each use one statement. */
@Injectable()
class RefreshTokens implements OnModuleInit {
  constructor(@Inject(Pool) private readonly pool: Pool) {}

  async onModuleInit(): Promise<void> {
    await this.pool.pg.query(`
      CREATE TABLE IF NOT EXISTS refresh_token (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        user_id varchar NOT NULL,
        claims jsonb NOT NULL,
        token_hash bytea NOT NULL UNIQUE,
        user_agent varchar,
        ip varchar,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL
      );
      CREATE INDEX IF NOT EXISTS refresh_token_user ON refresh_token (user_id)`);
  }

  async create({ userId, claims }: Login, request: Request): Promise<string> {
    const token = newToken();
    await this.pool.pg.query(
      `INSERT INTO refresh_token (user_id, claims, token_hash, user_agent, ip, expires_at)
       VALUES ($1, $2, $3, $4, $5, $6)`,
      [userId, claims, hash(token), request.get('user-agent'), request.ip, expiry()],
    );
    return token;
  }

  /** A statement that both finds the token and replaces it: of two requests with one token, one gets nothing. */
  async rotate(token: string): Promise<{ user: Login; token: string } | undefined> {
    const next = newToken();
    const { rows } = await this.pool.pg.query(
      `UPDATE refresh_token SET token_hash = $1, expires_at = $2 WHERE token_hash = $3 AND expires_at > now()
       RETURNING user_id AS "userId", claims`,
      [hash(next), expiry(), hash(token)],
    );
    return rows[0] && { user: rows[0], token: next };
  }

  async remove(token: string): Promise<void> {
    await this.pool.pg.query('DELETE FROM refresh_token WHERE token_hash = $1', [hash(token)]);
  }

  async list(userId: string): Promise<unknown[]> {
    const { rows } = await this.pool.pg.query(
      `SELECT id, user_agent, ip, created_at, expires_at FROM refresh_token
       WHERE user_id = $1 AND expires_at > now() ORDER BY created_at DESC`,
      [userId],
    );
    return rows;
  }
}

@Controller()
class JwtController {
  constructor(
    @Inject(JwtService) private readonly jwt: JwtService,
    @Inject(RefreshTokens) private readonly refreshTokens: RefreshTokens,
  ) {}

  @Post('login')
  async login(@Body() login: Login, @Req() req: Request, @Res({ passthrough: true }) res: Response) {
    return this.give(login, await this.refreshTokens.create(login, req), req, res);
  }

  @Post('renew')
  async renew(@Req() req: Request, @Res({ passthrough: true }) res: Response) {
    const token = cookie(req);
    const renewed = token && (await this.refreshTokens.rotate(token));
    if (!renewed) throw new UnauthorizedException();
    return this.give(renewed.user, renewed.token, req, res);
  }

  @UseGuards(AuthGuard('jwt'))
  @Get('me')
  me(@Req() req: Request) {
    return { userId: userOf(req) };
  }

  @UseGuards(AuthGuard('jwt'))
  @Post('logout')
  @HttpCode(204)
  async logout(@Req() req: Request, @Res({ passthrough: true }) res: Response) {
    const token = cookie(req);
    if (token) await this.refreshTokens.remove(token);
    res.clearCookie(COOKIE, attributes(req));
  }

  @UseGuards(AuthGuard('jwt'))
  @Get('devices')
  devices(@Req() req: Request) {
    return this.refreshTokens.list(userOf(req));
  }

  private async give({ userId, claims }: Login, refreshToken: string, req: Request, res: Response) {
    res.cookie(COOKIE, refreshToken, { ...attributes(req), maxAge: MONTH });
    return { token: await this.jwt.signAsync({ sub: userId, ...claims }) };
  }
}

function newToken(): string {
  return randomBytes(32).toString('base64url');
}

function hash(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function expiry(): Date {
  return new Date(Date.now() + MONTH);
}

function attributes(req: Request): CookieOptions {
  return { httpOnly: true, secure: req.secure, sameSite: 'lax', path: '/' };
}

/** What `cookie-parser` would do, without the rest of the cookies. */
function cookie(req: Request): string | undefined {
  return req.headers.cookie?.match(/(?:^|; )refresh_token=([^;]*)/)?.[1];
}

function userOf(req: Request): string {
  return (req.user as { userId: string }).userId;
}

servePeer({
  description: 'refresh token by hand: SHA-256 in a table, replaced by one UPDATE',
  imports: [PassportModule, JwtModule.register({ secret, signOptions: { expiresIn: '15m' } })],
  controllers: [JwtController],
  providers: [Pool, RefreshTokens, JwtStrategy],
});
