import { Body, Controller, Get, HttpCode, Module, Post, Req, Res, UseGuards } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import {
  type ActiveSession,
  attachedSession,
  type AuthenticatedSession,
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  InjectSessionService,
  InjectSessionVerifier,
  InvalidOptionError,
  OptionalSession,
  SessionGuard,
  type SessionInput,
  SessionModule,
  type SessionModuleExtras,
  type SessionModuleOptions,
  SessionService,
  SessionVerifier,
  SkipSession,
} from 'nestjs-session-tokens';
import { afterEach, describe, expect, it } from 'vitest';
import { accountApps, refusal } from '../http/account-app.js';
import { HeaderClient } from '../http/header-client.js';
import { adapters } from '../support/app.js';
import { databases, type TestDatabase } from '../support/databases.js';
import { pass } from '../support/time.js';
import { KeyServer } from '../verifier/key-server.js';

const ADMIN_COOKIES = {
  accessName: 'admin_access',
  refreshName: 'admin_refresh',
  lookAgainName: 'admin_look_again',
};

@Controller('admin')
class AdminController {
  constructor(
    @InjectSessionService('admin') private readonly admins: SessionService,
    private readonly users: SessionService,
  ) {}

  @SkipSession()
  @Post('login')
  @HttpCode(204)
  async login(
    @Body() input: SessionInput,
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<void> {
    await this.admins.create(request, response, input);
  }

  @SkipSession(true, 'default')
  @UseGuards(SessionGuard.of('admin'))
  @Get('me')
  me(@CurrentSession({ module: 'admin' }) session: ActiveSession, @CurrentSession('userId') userId: string) {
    return { id: session.id, userId };
  }

  @UseGuards(SessionGuard, SessionGuard.of('admin'))
  @Get('both')
  async both(
    @CurrentSession({ module: 'default', property: 'userId' }) user: string,
    @CurrentSession({ module: 'admin', property: 'userId' }) admin: string,
    @CurrentSession('userId') last: string,
    @Req() request: HttpRequest,
  ) {
    const found = {
      users: (await this.users.find(attachedSession(request, 'default')!.id))?.userId,
      admins: (await this.admins.find(attachedSession(request, 'admin')!.id))?.userId,
    };
    return { user, admin, last, found };
  }

  @UseGuards(SessionGuard)
  @Get('wrong-guard')
  wrongGuard(@CurrentSession({ module: 'admin' }) session: ActiveSession) {
    return session;
  }

  @OptionalSession(true, 'admin')
  @UseGuards(SessionGuard.of('admin'))
  @SkipSession(true, 'default')
  @Get('visitor')
  visitor(@CurrentSession({ module: 'admin', property: 'userId' }) admin?: string) {
    return { admin: admin ?? null };
  }
}

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function anotherDatabase(): Promise<TestDatabase> {
  const database = await databases[0]!.create();
  cleanups.push(() => database.remove());
  return database;
}

describe.each(adapters)('users and administrators in one application over %s', (adapter) => {
  const apps = accountApps(adapter);
  const start = async (isGuardedByDefault = false) => {
    const { options } = await anotherDatabase();
    const admins = SessionModule.forRoot({ name: 'admin', database: options, cookies: ADMIN_COOKIES });
    const providers = isGuardedByDefault ? [{ provide: APP_GUARD, useExisting: SessionGuard }] : [];
    return apps({}, { metadata: { imports: [admins], controllers: [AdminController], providers } });
  };

  it.each([false, true])('are told apart by their guards, with APP_GUARD %s', async (isGuardedByDefault) => {
    const app = await start(isGuardedByDefault);
    const user = await app.signIn({ userId: 'alice' });
    expect(await user.get('/admin/me')).toMatchObject(refusal(401, 'no_credentials'));
    expect(await user.get('/admin/both')).toMatchObject(refusal(401, 'no_credentials'));
    expect(await user.get('/admin/visitor')).toMatchObject({ status: 200, body: { admin: null } });

    const admin = app.browser();
    expect((await admin.post('/admin/login', { userId: 'root' })).status).toBe(204);
    expect(await admin.get('/admin/me')).toMatchObject({ status: 200, body: { userId: 'root' } });
    expect(await admin.get('/me')).toMatchObject(refusal(401, 'no_credentials'));
    expect(await admin.get('/admin/both')).toMatchObject(refusal(401, 'no_credentials'));

    // The same browser is signed in to both, also after both sessions were refreshed.
    expect((await user.post('/admin/login', { userId: 'root' })).status).toBe(204);
    for (const pause of ['0s', '16m', '91s'] as const) {
      pass(pause);
      expect(await user.get('/admin/both'), `after ${pause}`).toMatchObject({
        status: 200,
        body: { user: 'alice', admin: 'root', last: 'root', found: { users: 'alice', admins: 'root' } },
      });
      expect(await user.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
    }
  });

  it('have tokens that are good in their own cookies only', async () => {
    const app = await start();
    const user = await app.signIn({ userId: 'alice' });
    const cookie = user.cookieHeader('/').replaceAll('__Host-Http-session_', '__Host-Http-admin_');
    const asAdmin = await app.browser().get('/admin/me', { headers: { cookie } });
    expect(asAdmin.status).toBe(401);
    const bearer = /session_access=([^;]+)/.exec(user.cookieHeader('/'))![1];
    const headers = { authorization: `Bearer ${bearer}` };
    expect((await app.browser().get('/me', { headers })).status).toBe(200);
    expect((await app.browser().get('/admin/me', { headers })).status).toBe(401);
  });

  it('have refresh tokens in headers of other names', async () => {
    const app = await start();
    const asked = { 'session-transport': 'header' };
    const user = new HeaderClient(app.url);
    await user.signIn();
    const login = await app.browser().post('/admin/login', { userId: 'root' }, { headers: asked });
    const admin = {
      authorization: `Bearer ${login.headers.get('access-token')}`,
      'admin-refresh-token': login.headers.get('admin-refresh-token')!,
    };
    expect(login.headers.has('refresh-token')).toBe(false);
    expect(await app.browser().get('/admin/me', { headers: admin })).toMatchObject({
      body: { userId: 'root' },
    });
    // Neither is told that their session is over.
    expect(await user.get('/admin/me')).toMatchObject(refusal(401, 'try_refresh'));
    expect(await app.browser().get('/me', { headers: admin })).toMatchObject(refusal(401, 'try_refresh'));
    pass('16m');
    const both = { headers: { ...admin, ...user.tokens } };
    const renewed = await app.browser().get('/admin/me', both);
    expect(renewed).toMatchObject({ status: 200, body: { userId: 'root' } });
    expect(renewed.headers.has('admin-refresh-token')).toBe(true);
    expect(renewed.headers.has('refresh-token')).toBe(false);
    expect(await user.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
  });

  it.each([
    // Nothing in the token of the one tells that it is not the other's.
    [undefined, refusal(401, 'try_refresh')],
    ['https://admins.example.com', { status: 200, body: { userId: 'root' } }],
  ])('may come in a header and in cookies, if their issuers differ: %s', async (issuer, expected) => {
    const { options } = await anotherDatabase();
    const shared = { name: 'admin', database: options, cookies: ADMIN_COOKIES };
    const admins = SessionModule.forRoot({ ...shared, ...(issuer && { accessToken: { issuer } }) });
    const app = await apps({}, { metadata: { imports: [admins], controllers: [AdminController] } });
    const user = new HeaderClient(app.url);
    await user.signIn();
    const admin = app.browser();
    expect((await admin.post('/admin/login', { userId: 'root' })).status).toBe(204);
    const headers = { authorization: `Bearer ${user.access}` };
    expect(await admin.get('/admin/me', { headers })).toMatchObject(expected);
  });

  it('and a handler that asks for the session of another module than its guard’s is told so', async () => {
    const app = await start();
    const user = await app.signIn();
    expect(await user.get('/admin/wrong-guard')).toMatchObject(refusal(500, 'unguarded_route'));
  });
});

@Controller('partner')
class PartnerController {
  constructor(@InjectSessionVerifier('partner') private readonly partners: SessionVerifier) {}

  @UseGuards(SessionGuard.of('partner'))
  @Get('me')
  me(@CurrentSession({ module: 'partner' }) session: AuthenticatedSession) {
    return { userId: session.userId };
  }

  @Post('verify')
  @HttpCode(200)
  async verify(@Body() { token }: { token: string }) {
    const { userId, newAccessToken } = await this.partners.verify(token);
    return { userId, newAccessToken: newAccessToken ?? null };
  }
}

describe('sessions of one’s own beside those of a partner', () => {
  const apps = accountApps('express');

  it('are told apart by their guards', async () => {
    const partner = await apps({ accessToken: { algorithm: 'ES256', issuer: 'a', audience: 'b' } });
    const keys = await KeyServer.start();
    cleanups.push(async () => keys.close());
    keys.publish(async () => (await partner.sessions.publicKeys()).keys);
    const app = await apps(
      {},
      {
        metadata: {
          imports: [
            SessionModule.forVerifier({ name: 'partner', jwksUri: keys.uri, issuer: 'a', audience: 'b' }),
          ],
          controllers: [PartnerController],
        },
      },
    );
    const user = await app.signIn();
    expect(await user.get('/me')).toMatchObject({ status: 200 });
    expect((await user.get('/partner/me')).status).toBe(401);

    const { accessToken } = await partner.sessions.tokens.issue({ userId: 'their user' });
    const headers = { authorization: `Bearer ${accessToken.token}` };
    expect(await app.browser().get('/partner/me', { headers })).toMatchObject({
      status: 200,
      body: { userId: 'their user' },
    });
    expect((await app.browser().get('/me', { headers })).status).toBe(401);
    expect(await app.browser().post('/partner/verify', { token: accessToken.token })).toMatchObject({
      body: { userId: 'their user', newAccessToken: null },
    });
  });
});

describe('two modules without a name, each imported where it is used', () => {
  const apps = accountApps('fastify');

  it('are told apart, too', async () => {
    const { options } = await anotherDatabase();

    @Controller('shop')
    class ShopController {
      constructor(private readonly sessions: SessionService) {}

      @Post('login')
      @HttpCode(204)
      async login(@Req() request: HttpRequest, @Res({ passthrough: true }) response: HttpResponse) {
        await this.sessions.create(request, response, { userId: 'customer' });
      }

      @UseGuards(SessionGuard)
      @Get('me')
      me(@CurrentSession('userId') userId: string) {
        return { userId };
      }
    }

    @Module({
      imports: [SessionModule.forRoot({ database: options, cookies: ADMIN_COOKIES })],
      controllers: [ShopController],
    })
    class ShopModule {}

    const app = await apps({}, { metadata: { imports: [ShopModule] } });
    const browser = await app.signIn();
    expect((await browser.get('/shop/me')).status).toBe(401);
    expect((await browser.post('/shop/login')).status).toBe(204);
    expect(await browser.get('/shop/me')).toMatchObject({ body: { userId: 'customer' } });
    expect(await browser.get('/me')).toMatchObject({ body: { userId: 'alice' } });
  });
});

describe('two modules that share too much', () => {
  const apps = accountApps('express');
  type Options = SessionModuleOptions & SessionModuleExtras;

  it.each<[what: string, first: Options, second: Options, option: string | undefined]>([
    ['the tables, not the cookies', {}, { cookies: ADMIN_COOKIES }, 'database'],
    ['the cookies, not the tables', {}, { database: 'another' as never }, 'cookies'],
    [
      'one cookie, not the tables',
      {},
      { database: 'another' as never, cookies: { ...ADMIN_COOKIES, refreshName: 'session_refresh' } },
      'cookies',
    ],
    [
      'the refresh route',
      { refreshPath: '/refresh' },
      { refreshPath: '/refresh', database: 'another' as never, cookies: ADMIN_COOKIES },
      'refreshPath',
    ],
    ['everything: they are one', {}, {}, undefined],
    [
      'the header of the refresh token',
      { headers: { refresh: 'x-refresh' } },
      { headers: { refresh: 'X-Refresh' }, database: 'another' as never, cookies: ADMIN_COOKIES },
      'headers.refresh',
    ],
    [
      'that header, both without cookies',
      { transport: 'header' },
      { transport: 'header', database: 'another' as never },
      'headers.refresh',
    ],
    [
      'nothing, both without cookies',
      { transport: 'header' },
      { transport: 'header', database: 'another' as never, headers: { refresh: 'x-refresh' } },
      undefined,
    ],
    [
      'nothing: one has cookies, and one has headers',
      { transport: 'header' },
      { transport: 'cookie', database: 'another' as never },
      undefined,
    ],
    [
      'the tables: one has cookies, and one has headers',
      { transport: 'header' },
      { transport: 'cookie' },
      'database',
    ],
    ['tables and headers: they are one', { transport: 'header' }, { transport: 'header' }, undefined],
  ])('%s', async (_, first, second, option) => {
    const database = await anotherDatabase();
    const another = await anotherDatabase();
    const options = second.database ? another.options : database.options;
    const start = apps(first, {
      database,
      metadata: { imports: [SessionModule.forRoot({ name: 'other', ...second, database: options })] },
    });
    const refused = await start.then(
      () => undefined,
      (error: unknown) => (error instanceof InvalidOptionError ? error.option : error),
    );
    expect(refused).toBe(option);
  });

  it.each(['', 7, null])('a module cannot be called %j', (name) => {
    expect(() => SessionModule.forRoot({ name: name as string })).toThrow(InvalidOptionError);
  });
});
