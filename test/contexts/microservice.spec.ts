import { Controller, type ExecutionContext, Get, Injectable, UseGuards } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import {
  ClientProxyFactory,
  MessagePattern,
  type MicroserviceOptions,
  Transport,
} from '@nestjs/microservices';
import {
  CurrentSession,
  type Exchange,
  SessionGuard,
  SkipSession,
  UnsupportedContextError,
} from 'nestjs-session-tokens';
import { firstValueFrom } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { accountApps } from '../http/account-app.js';
import { freePort } from '../support/free-port.js';

interface Message {
  readonly headers: Exchange['request']['headers'];
}

/** Clients of the service put the cookies of their user's request into their messages. */
@Injectable()
class MessageGuard extends SessionGuard {
  protected override getExchange(context: ExecutionContext): Exchange {
    const { headers } = context.switchToRpc().getData<Message>();
    return {
      request: { headers },
      response: { headersSent: true, getHeader: () => undefined, setHeader: () => undefined },
    };
  }
}

@Controller()
class MessageController {
  @SkipSession()
  @MessagePattern('open')
  open(): string {
    return 'open';
  }

  @MessagePattern('guarded')
  guarded(): string {
    return 'guarded';
  }

  @Get('guarded')
  guardedToo(@CurrentSession('userId') userId: string): object {
    return { userId };
  }
}

@Controller()
class OwnGuardController {
  @SkipSession(false)
  @UseGuards(MessageGuard)
  @MessagePattern('me')
  me(@CurrentSession('userId') userId: string): string {
    return userId;
  }
}

describe('a hybrid application', () => {
  const start = accountApps('express');
  let client: ReturnType<typeof ClientProxyFactory.create>;
  let closeClient: () => void;
  beforeEach(() => {
    closeClient = () => undefined;
  });
  afterEach(() => closeClient());

  const startHybrid = async (guards: boolean) => {
    const port = await freePort();
    const app = await start(
      {},
      {
        metadata: {
          controllers: [MessageController, OwnGuardController],
          providers: [MessageGuard, ...(guards ? [{ provide: APP_GUARD, useExisting: SessionGuard }] : [])],
        },
        async configure(nest) {
          nest.connectMicroservice<MicroserviceOptions>(
            { transport: Transport.TCP, options: { host: '127.0.0.1', port } },
            { inheritAppConfig: true },
          );
          await nest.startAllMicroservices();
        },
      },
    );
    client = ClientProxyFactory.create({ transport: Transport.TCP, options: { host: '127.0.0.1', port } });
    closeClient = () => client.close();
    return app;
  };
  const send = (pattern: string, data: object = {}) => firstValueFrom(client.send<string>(pattern, data));

  it('with APP_GUARD guards its routes, lets messages through where it is told to, and says what to do elsewhere', async () => {
    const errors = vi.spyOn(SessionGuard.prototype, 'canActivate');
    const app = await startHybrid(true);
    expect(await app.browser().get('/guarded')).toMatchObject({ status: 401 });
    const browser = await app.signIn();
    expect(await browser.get('/guarded')).toMatchObject({ status: 200, body: { userId: 'alice' } });

    expect(await send('open')).toBe('open');
    errors.mockClear();
    await expect(send('guarded')).rejects.toMatchObject({ message: 'Internal server error' });
    expect(errors.mock.results).toMatchObject([
      { type: 'throw', value: expect.any(UnsupportedContextError) as Error },
    ]);
    errors.mockRestore();
  });

  it('has messages guarded by a guard that knows where they have the request', async () => {
    const app = await startHybrid(false);
    const browser = await app.signIn();
    const cookie = browser.cookieHeader('/');
    expect(await send('me', { headers: { cookie } })).toBe('alice');
    await expect(send('me', { headers: {} })).rejects.toBeDefined();
  });
});
