import {
  Body,
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  HttpCode,
  Injectable,
  Post,
  Req,
  UnauthorizedException,
  UseGuards,
} from '@nestjs/common';
import type { Request } from 'express';
import session, { type Store } from 'express-session';
import { readEnvironment } from '../../support/environment.js';
import type { Login } from './login.js';

declare module 'express-session' {
  interface SessionData {
    user: Login;
  }
}

/** The middleware as the documentation of express-session and of its PostgreSQL stores has it for production. */
export function expressSession(store: Store) {
  return session({
    store,
    secret: readEnvironment().secret,
    resave: false,
    saveUninitialized: false,
    // `auto` is `Secure` behind a proxy that says so, and lets the benchmark's plain HTTP through.
    cookie: { maxAge: 30 * 24 * 60 * 60 * 1_000, secure: 'auto', sameSite: 'lax' },
  });
}

@Injectable()
class SignedInGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    if (context.switchToHttp().getRequest<Request>().session.user === undefined)
      throw new UnauthorizedException();
    return true;
  }
}

/** The routes, which are the same for every store. There is nothing to renew, and no list by user. */
@Controller()
export class ExpressSessionController {
  @Post('login')
  @HttpCode(204)
  async login(@Body() login: Login, @Req() req: Request): Promise<void> {
    // A new id at sign-in, against fixation, as in the documentation's example.
    await promise((done) => req.session.regenerate(done));
    // Saved before the response ends. The example's own call of `save()` is for a redirect, and would save twice.
    req.session.user = login;
  }

  @UseGuards(SignedInGuard)
  @Get('me')
  me(@Req() req: Request) {
    return { userId: req.session.user!.userId };
  }

  @UseGuards(SignedInGuard)
  @Post('logout')
  @HttpCode(204)
  async logout(@Req() req: Request): Promise<void> {
    await promise((done) => req.session.destroy(done));
  }
}

function promise(start: (done: (error: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => start((error) => (error ? reject(error) : resolve())));
}
