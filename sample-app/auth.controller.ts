import {
  Controller,
  Get,
  HttpCode,
  Post,
  Req,
  Res,
  UnauthorizedException,
  UseFilters,
  UseGuards,
} from '@nestjs/common';
import {
  ActiveSession,
  type HttpRequest,
  type HttpResponse,
  type JsonValue,
  CurrentSession,
  SessionGuard,
  SessionService,
} from 'nestjs-session-tokens';
import { badRequest, JsonBody } from './json-body.decorator.js';
import { SignInLimiter } from './sign-in-limiter.js';
import { TooManyAttemptsFilter } from './too-many-attempts.filter.js';
import { UsersService } from './users/users.service.js';

@Controller()
export class AuthController {
  constructor(
    private readonly users: UsersService,
    private readonly limiter: SignInLimiter,
    private readonly sessions: SessionService,
  ) {}

  @UseFilters(TooManyAttemptsFilter)
  @Post('login')
  @HttpCode(200)
  async login(
    @JsonBody() body: JsonValue,
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<object> {
    const { username, password } = readCredentials(body);
    const user = await this.limiter.limit(username, request.ip, async () =>
      this.users.authenticate(username, password),
    );
    // One answer for an unknown name and for a wrong password: neither tells which names exist.
    if (!user) {
      throw new UnauthorizedException({
        statusCode: 401,
        code: 'wrong_credentials',
        message: 'The name or the password is wrong.',
      });
    }
    const session = await this.sessions.create(request, response, {
      userId: user.id,
      // In the access token, so every request has them without asking a database.
      claims: { name: user.name, role: user.role },
    });
    return { userId: session.userId, sessionId: session.id };
  }

  @UseGuards(SessionGuard)
  @Get('me')
  me(@CurrentSession() session: ActiveSession): object {
    return { userId: session.userId, sessionId: session.id, claims: session.claims };
  }

  @UseGuards(SessionGuard)
  @Post('logout')
  @HttpCode(204)
  async logout(@CurrentSession() session: ActiveSession): Promise<void> {
    await session.revoke();
  }
}

function readCredentials(body: JsonValue): { username: string; password: string } {
  const { username, password } = (body ?? {}) as Record<string, unknown>;
  if (typeof username !== 'string' || typeof password !== 'string') {
    throw badRequest('Send { "username": "…", "password": "…" }, both strings.');
  }
  return { username, password };
}
