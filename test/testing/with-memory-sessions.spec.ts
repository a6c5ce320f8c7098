import {
  Controller,
  Get,
  type INestApplication,
  Module,
  type ModuleMetadata,
  Post,
  Req,
  Res,
  UseGuards,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import {
  type ActiveSession,
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  InjectSessionService,
  SESSION_ENTITIES,
  SessionGuard,
  SessionModule,
  type SessionModuleExtras,
  type SessionModuleOptions,
  SessionService,
} from 'nestjs-session-tokens';
import { signIn, withMemorySessions } from 'nestjs-session-tokens/testing';
import request from 'supertest';
import { DataSource } from 'typeorm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { adapters } from '../support/app.js';
import { asModule } from '../support/as-module.js';
import { pass, stopClock } from '../support/time.js';
import { testedApps } from './apps.js';

/** Nobody listens there. */
const SERVER = { type: 'postgres', url: 'postgres://nobody@127.0.0.1:1/none' } as const;

const OPTIONS: SessionModuleOptions & SessionModuleExtras = { isGlobal: true };

const asFactory = (options: SessionModuleOptions) =>
  SessionModule.forRootAsync({ isGlobal: true, useFactory: () => Promise.resolve(options) });

/** The ways in which applications configure the module. None of these databases exists. */
const MODULES: Readonly<Record<string, () => NonNullable<ModuleMetadata['imports']>>> = {
  'the default DataSource, which is not there': () => [SessionModule.forRoot(OPTIONS)],
  'a database of its own': () => [SessionModule.forRoot({ ...OPTIONS, database: SERVER })],
  'a DataSource with a token, which is not there': () => [
    SessionModule.forRoot({ ...OPTIONS, dataSourceToken: 'ACCOUNTS' }),
  ],
  'options of a factory': () => [asFactory({ database: SERVER, sqliteConnection: 'own' })],
  'a module around it': () => [asModule({ imports: [SessionModule.forRoot(OPTIONS)] })],
  'a secret that is not set': () => [SessionModule.forRoot({ ...OPTIONS, secret: undefined })],
  'the settings of a deployment': () => [
    SessionModule.forRoot({
      ...OPTIONS,
      secret: 's'.repeat(32),
      deployment: 'production',
      revocationPush: true,
    }),
  ],
  'cookies for other sites': () => [
    SessionModule.forRoot({
      ...OPTIONS,
      cookies: { sameSite: 'none', partitioned: true, accessName: '__Host-a', refreshName: '__Secure-r' },
    }),
  ],
  'revocations from everywhere': () => [SessionModule.forRoot({ ...OPTIONS, events: 'everywhere' })],
};

/** The names of the cookies of a sign-in, and whether they are `Secure`. */
const cookiesOf = async (app: INestApplication) => {
  const { headers } = await request(app.getHttpServer()).post('/login').send({ userId: 'alice' });
  return (headers['set-cookie'] as unknown as string[]).map((line) => [
    line.split('=')[0],
    /; Secure/.test(line),
  ]);
};

describe.each(adapters)('withMemorySessions() over %s', (adapter) => {
  const start = testedApps(adapter);

  it.each(Object.entries(MODULES))('needs no database: %s', async (_name, imports) => {
    const app = await start({ imports: imports() });
    const agent = request.agent(app.getHttpServer());
    await agent
      .post('/login')
      .send({ userId: 'alice', claims: { role: 'admin' } })
      .expect(200);
    expect((await agent.get('/me').expect(200)).body).toMatchObject({ claims: { role: 'admin' } });
    await agent.put('/data').send({ theme: 'dark' }).expect(200, { theme: 'dark' });
    await agent.put('/claims').send({ role: 'guest' }).expect(200, { role: 'guest' });
    const bob = await signIn(app, { userId: 'bob' });
    await request(app.getHttpServer()).get('/me').set(bob.headers).expect(200);
    expect((await app.get(SessionService).findAllForUser('alice')).sessions).toHaveLength(1);
    expect(await app.get(SessionService).revokeAllForUser('alice')).toBe(1);
    expect((await agent.get('/me')).status).toBe(401);
    await request(app.getHttpServer()).get('/me').set(bob.headers).expect(200);
  });

  it('starts each application with no sessions and new keys', async () => {
    const [one, two] = [await start(), await start()];
    const alice = await signIn(one, { userId: 'alice' });
    await request(one.getHttpServer()).get('/me').set(alice.headers).expect(200);
    const answer = await request(two.getHttpServer()).get('/me').set(alice.headers);
    expect(answer.body).toMatchObject({ code: 'session_over' });
  });

  it('goes by the time that the test sets', async () => {
    const app = await start();
    const agent = request.agent(app.getHttpServer());
    await agent.post('/login').send({ userId: 'alice' }).expect(200);
    const { body: first } = await agent.get('/me').expect(200);
    pass('16m');
    const refreshed = await agent.get('/me').expect(200);
    expect(refreshed.headers['set-cookie']).toHaveLength(2);
    expect(Date.parse(refreshed.body.tokenIssuedAt as string)).toBe(
      Date.parse(first.tokenIssuedAt as string) + 16 * 60_000,
    );
    pass('31d');
    expect((await agent.get('/me')).status).toBe(401);
  });

  it('has cookies that agents keep over plain HTTP, with names without a prefix', async () => {
    const app = await start();
    expect(await cookiesOf(app)).toEqual([
      ['session_access', false],
      ['session_refresh', false],
    ]);
  });

  it('has the cookies of the application if the test asks for them', async () => {
    const app = await start({ memory: { secureCookies: true } });
    expect(await cookiesOf(app)).toEqual([
      ['__Host-Http-session_access', true],
      ['__Host-Http-session_refresh', true],
    ]);
    const { headers, cookies } = await signIn(app, { userId: 'alice' });
    expect(Object.keys(cookies)).toEqual(['__Host-Http-session_access', '__Host-Http-session_refresh']);
    await request(app.getHttpServer()).get('/me').set(headers).expect(200);
  });

  it('keeps what the options say of the rest', async () => {
    const options = {
      refresh: 'endpoint',
      refreshPath: '/auth/refresh',
      cookies: { sameSite: 'strict' },
    } as const;
    const app = await start({ options, configure: (made) => made.setGlobalPrefix('api') });
    const { setCookies } = await signIn(app, { userId: 'alice' });
    expect(setCookies).toEqual([
      expect.stringMatching(/^session_access=[^;]+; Max-Age=2592000; Path=\/; HttpOnly; SameSite=Strict$/),
      expect.stringMatching(
        /^session_refresh=[^;]+; Max-Age=2592000; Path=\/api\/auth\/refresh; HttpOnly; SameSite=Strict$/,
      ),
    ]);
  });

  it.each<[name: string, options: object, message: RegExp]>([
    ['a value', { refresh: 'sometimes' }, /refresh/],
    ['a name', { cookeis: {} }, /cookeis/],
    ['the name of a cookie', { cookies: { accessName: 5 } }, /accessName/],
  ])('refuses options that the application would be refused: %s', async (_name, options, message) => {
    await expect(start({ options })).rejects.toThrow(message);
  });

  it('gives each of several modules its own sessions', async () => {
    @Controller('admin')
    class AdminController {
      constructor(@InjectSessionService('admin') private readonly admins: SessionService) {}

      @Post('login')
      async login(@Req() req: HttpRequest, @Res({ passthrough: true }) res: HttpResponse): Promise<void> {
        await this.admins.create(req, res, { userId: 'root' });
      }

      @Get('me')
      @UseGuards(SessionGuard.of('admin'))
      me(@CurrentSession({ module: 'admin' }) session: ActiveSession): ActiveSession {
        return session;
      }
    }
    const cookies = { accessName: 'admin_access', refreshName: 'admin_refresh', lookAgainName: 'admin_look' };
    const admin = asModule({
      imports: [SessionModule.forRoot({ name: 'admin', cookies })],
      controllers: [AdminController],
    });
    const app = await start({ imports: [SessionModule.forRoot(OPTIONS), admin] });
    const [alice, root] = [
      await signIn(app, { userId: 'alice' }),
      await signIn(app, { userId: 'root' }, { module: 'admin' }),
    ];
    const status = async (path: string, { headers }: { headers: Record<string, string> }) =>
      (await request(app.getHttpServer()).get(path).set(headers)).status;
    expect([await status('/me', alice), await status('/admin/me', alice)]).toEqual([200, 401]);
    expect([await status('/me', root), await status('/admin/me', root)]).toEqual([401, 200]);
  });
});

describe('an application with two modules that share their cookies', () => {
  it('shares their sessions, as in one database', async () => {
    const shared = asModule({ imports: [SessionModule.forRoot({ name: 'shared' })] });
    const builder = Test.createTestingModule({ imports: [SessionModule.forRoot(OPTIONS), shared] });
    const testing = await withMemorySessions(builder).compile();
    await testing.init();
    const { session } = await signIn(testing, { userId: 'alice' }, { module: 'shared' });
    const services = testing.get<SessionService, SessionService>(SessionService, { each: true });
    const found = await Promise.all(services.map((each) => each.find(session.id)));
    expect(found).toMatchObject([{ userId: 'alice' }, { userId: 'alice' }]);
    await testing.close();
  });
});

describe('an application whose own DataSource is replaced', () => {
  afterEach(() => vi.useRealTimers());

  it('starts without its database', async () => {
    stopClock();
    @Module({
      imports: [
        TypeOrmModule.forRoot({ ...SERVER, entities: [...SESSION_ENTITIES] }),
        SessionModule.forRoot(OPTIONS),
      ],
    })
    class AppModule {}
    const builder = Test.createTestingModule({ imports: [AppModule] });
    const testing = await withMemorySessions(builder).overrideProvider(DataSource).useValue({}).compile();
    await testing.init();
    const { session } = await signIn(testing, { userId: 'alice' });
    expect(await testing.get(SessionService).revoke(session.id)).toBe(true);
    await testing.close();
  });
});
