import {
  Controller,
  type ExecutionContext,
  ForbiddenException,
  Get,
  Inject,
  Injectable,
  UseGuards,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import {
  type ActiveSession,
  attachedSession,
  CurrentSession,
  type HttpRequest,
  Session,
  SESSION_AUTHENTICATOR,
  type SessionAuthenticator,
  SessionGuard,
  SessionService,
  SkipSession,
} from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { accountApps, refusal } from './account-app.js';
import { pass } from '../support/time.js';

@Injectable()
class Roles {
  isAdmin(userId: unknown): boolean {
    return userId === 'root';
  }
}

/** A guard of an application that needs something of its own. */
@Injectable()
class AdminGuard extends SessionGuard {
  constructor(
    @Inject(SESSION_AUTHENTICATOR) sessions: SessionAuthenticator,
    @Inject(Reflector) reflector: Reflector,
    private readonly roles: Roles,
    private readonly service: SessionService,
  ) {
    super(sessions, reflector);
  }

  override async canActivate(context: ExecutionContext): Promise<boolean> {
    await super.canActivate(context);
    const session = attachedSession(context.switchToHttp().getRequest<HttpRequest>());
    if (!this.roles.isAdmin(session?.userId)) throw new ForbiddenException();
    return (await this.service.find(session!.id)) !== null;
  }
}

@Controller('admin')
@UseGuards(AdminGuard)
class AdminController {
  @Get()
  get(@CurrentSession('userId') userId: string): object {
    return { userId };
  }
}

@Controller('unguarded')
class UnguardedController {
  @Get('session')
  session(@CurrentSession() session: ActiveSession): object {
    return { session };
  }

  @Get('property')
  property(@CurrentSession('userId') userId: string): object {
    return { userId };
  }

  @Get('other-name')
  otherName(@Session('userId') userId: string): object {
    return { userId };
  }

  @Get('module')
  module(@CurrentSession({ module: 'default' }) session: ActiveSession): object {
    return { session };
  }

  @SkipSession()
  @UseGuards(SessionGuard)
  @Get('skipped')
  skipped(@CurrentSession('userId') userId: string): object {
    return { userId };
  }
}

describe.each(adapters)('over %s', (adapter) => {
  const start = accountApps(adapter);

  it('a guard of an application extends ours, with a constructor of its own', async () => {
    const app = await start({}, { metadata: { controllers: [AdminController], providers: [Roles] } });
    expect(await app.browser().get('/admin')).toMatchObject(refusal(401, 'no_credentials'));
    expect(await (await app.signIn()).get('/admin')).toMatchObject({ status: 403 });
    const root = await app.signIn({ userId: 'root' });
    for (const pause of ['0s', '16m', '91s']) {
      pass(pause);
      expect(await root.get('/admin'), `after ${pause}`).toMatchObject({
        status: 200,
        body: { userId: 'root' },
      });
    }
  });

  it.each(['session', 'property', 'other-name', 'module', 'skipped'])(
    'a handler that no guard protects is told so when it asks for the session: %s',
    async (path) => {
      const app = await start({}, { metadata: { controllers: [UnguardedController] } });
      for (const browser of [app.browser(), await app.signIn()]) {
        const answer = await browser.get(`/unguarded/${path}`);
        expect(answer).toMatchObject(refusal(500, 'unguarded_route'));
        expect(answer.body).toMatchObject({
          message: expect.stringContaining('@UseGuards(SessionGuard)') as string,
        });
      }
    },
  );
});
