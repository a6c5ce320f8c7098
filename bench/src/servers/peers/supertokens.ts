// The session recipe of supertokens-node, with cookies. Access tokens are verified by the SDK itself, which is what is
// realistic here; everything else asks the core, for which a stub stands in (support/supertokens-core.ts).
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import {
  type ArgumentsHost,
  Body,
  type CanActivate,
  Catch,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  Get,
  HttpCode,
  Injectable,
  type OnApplicationShutdown,
  Post,
  Req,
  Res,
  UseGuards,
} from '@nestjs/common';
import type { Request, Response } from 'express';
import { convertToRecipeUserId, Error as SuperTokensError, init } from 'supertokens-node';
import { errorHandler, middleware, type SessionRequest } from 'supertokens-node/framework/express/index.js';
import {
  createNewSession,
  getAllSessionHandlesForUser,
  getSession,
  init as sessionRecipe,
  refreshSession,
} from 'supertokens-node/recipe/session/index.js';
import type { Login } from './support/login.js';
import { servePeer } from './support/peer-server.js';

let core: ChildProcess;

/** Starts the core, and the SDK, which has to know where it is before there is any middleware. */
async function startSuperTokens(): Promise<void> {
  core = fork(new URL('./support/supertokens-core.js', import.meta.url));
  const [port] = await once(core, 'message');
  init({
    framework: 'express',
    supertokens: { connectionURI: `http://127.0.0.1:${port}` },
    appInfo: {
      appName: 'bench',
      apiDomain: 'https://bench.example.com',
      websiteDomain: 'https://bench.example.com',
    },
    recipeList: [sessionRecipe({ getTokenTransferMethod: () => 'cookie' })],
    telemetry: false,
  });
}

@Injectable()
class SuperTokensGuard implements CanActivate {
  async canActivate(context: ExecutionContext): Promise<boolean> {
    const http = context.switchToHttp();
    const request = http.getRequest<SessionRequest>();
    request.session = await getSession(request, http.getResponse());
    return true;
  }
}

@Catch(SuperTokensError)
class SuperTokensFilter implements ExceptionFilter {
  private readonly handler = errorHandler();

  catch(error: Error, host: ArgumentsHost): Promise<void> {
    const http = host.switchToHttp();
    return this.handler(error, http.getRequest(), http.getResponse(), http.getNext());
  }
}

@Controller()
class SuperTokensController implements OnApplicationShutdown {
  onApplicationShutdown(): void {
    core.disconnect();
  }

  @Post('login')
  @HttpCode(204)
  async login(
    @Body() { userId, claims }: Login,
    @Req() req: Request,
    @Res({ passthrough: true }) res: Response,
  ) {
    await createNewSession(req, res, 'public', convertToRecipeUserId(userId), claims);
  }

  @UseGuards(SuperTokensGuard)
  @Get('me')
  me(@Req() req: SessionRequest) {
    return { userId: req.session!.getUserId() };
  }

  @Post('renew')
  @HttpCode(204)
  async renew(@Req() req: Request, @Res({ passthrough: true }) res: Response) {
    await refreshSession(req, res);
  }

  @UseGuards(SuperTokensGuard)
  @Post('logout')
  @HttpCode(204)
  async logout(@Req() req: SessionRequest) {
    await req.session!.revokeSession();
  }

  @UseGuards(SuperTokensGuard)
  @Get('devices')
  devices(@Req() req: SessionRequest) {
    return getAllSessionHandlesForUser(req.session!.getUserId());
  }
}

await startSuperTokens();
servePeer({
  description: 'the core is a stub without a database, and its CPU time is not counted',
  controllers: [SuperTokensController],
  configure: (app) => {
    app.use(middleware());
    app.useGlobalFilters(new SuperTokensFilter());
  },
});
