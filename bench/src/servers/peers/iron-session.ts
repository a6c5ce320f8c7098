// iron-session: everything is in one encrypted cookie, nothing on the server.
import { Body, Controller, Get, HttpCode, Post, Req, Res, UnauthorizedException } from '@nestjs/common';
import type { Request, Response } from 'express';
import { getIronSession, type IronSession } from 'iron-session';
import { readEnvironment } from '../support/environment.js';
import type { Login } from './support/login.js';
import { servePeer } from './support/peer-server.js';

const { secret: password } = readEnvironment();

type Data = Partial<Login>;

@Controller()
class IronController {
  @Post('login')
  @HttpCode(204)
  async login(@Body() login: Login, @Req() req: Request, @Res({ passthrough: true }) res: Response) {
    const session = await sessionOf(req, res);
    Object.assign(session, login);
    await session.save();
  }

  @Get('me')
  async me(@Req() req: Request, @Res({ passthrough: true }) res: Response) {
    const { userId } = await signedIn(req, res);
    return { userId };
  }

  /** Seals the same content again, with a new expiry. */
  @Post('renew')
  @HttpCode(204)
  async renew(@Req() req: Request, @Res({ passthrough: true }) res: Response) {
    const session = await signedIn(req, res);
    await session.save();
  }

  @Post('logout')
  @HttpCode(204)
  async logout(@Req() req: Request, @Res({ passthrough: true }) res: Response) {
    const session = await signedIn(req, res);
    session.destroy();
  }
}

function sessionOf(req: Request, res: Response): Promise<IronSession<Data>> {
  return getIronSession<Data>(req, res, {
    password,
    cookieName: 'session',
    cookieOptions: { secure: req.secure },
  });
}

async function signedIn(req: Request, res: Response): Promise<IronSession<Data>> {
  const session = await sessionOf(req, res);
  if (session.userId === undefined) throw new UnauthorizedException();
  return session;
}

servePeer({
  description: 'everything is in the cookie, nothing in a database',
  controllers: [IronController],
});
