import {
  Controller,
  Get,
  Injectable,
  type INestApplication,
  type ModuleMetadata,
  Post,
  type Type,
  Scope,
  UseGuards,
  Version,
  VersioningType,
} from '@nestjs/common';
import { APP_GUARD, RouterModule } from '@nestjs/core';
import {
  ApiBearerAuth,
  ApiProperty,
  ApiResponse,
  ApiSecurity,
  ApiWebhook,
  DocumentBuilder,
  type OpenAPIObject,
  SwaggerModule,
} from '@nestjs/swagger';
import {
  NoImpersonation,
  OptionalSession,
  RequireFresh,
  SessionGuard,
  SessionModule,
  type SessionModuleExtras,
  type SessionModuleOptions,
  SkipCsrf,
  SkipSession,
} from 'nestjs-session-tokens';
import { withSessions } from 'nestjs-session-tokens/openapi';
import { afterEach, describe, expect, it } from 'vitest';
import { adapters, startApp } from '../support/app.js';
import { asModule } from '../support/as-module.js';
import { databases, type TestDatabase } from '../support/databases.js';
import { answersOf, operationOf, problemsOf } from './openapi.js';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function database(): Promise<TestDatabase> {
  const made = await databases[0]!.create();
  cleanups.push(() => made.remove());
  return made;
}

interface Setting {
  readonly options?: SessionModuleOptions & SessionModuleExtras;
  readonly metadata?: ModuleMetadata;
  readonly configure?: (app: INestApplication) => void;
  readonly config?: (builder: DocumentBuilder) => DocumentBuilder;
}

/** The document of an application. */
async function documentOf(
  { options, metadata, configure, config = (builder) => builder }: Setting,
  adapter: (typeof adapters)[number] = 'express',
): Promise<OpenAPIObject> {
  const started = await startApp({
    adapter,
    database: await database(),
    options,
    metadata,
    configure,
  });
  cleanups.push(() => started.close());
  return withSessions(started.app, () =>
    SwaggerModule.createDocument(started.app, config(new DocumentBuilder()).build()),
  );
}

const COOKIE = { 'session-cookie': [] };
const BEARER = { 'session-bearer': [] };
const EITHER = [BEARER, COOKIE];

/** The codes of an operation behind the guard of a module with the default options, by status. */
const SAFE = {
  307: ['look_again'],
  401: ['no_credentials', 'try_refresh', 'session_over', 'token_theft', 'look_again'],
  503: ['keys_unavailable', 'storage_unavailable'],
};
const UNSAFE = { ...SAFE, 403: ['csrf_failed'] };

@Controller('plain')
class Plain {
  @Get()
  read() {}

  @UseGuards(SessionGuard)
  @Get('guarded')
  guarded() {}

  @UseGuards(SessionGuard)
  @Post('guarded')
  write() {}

  @OptionalSession()
  @UseGuards(SessionGuard)
  @Get('optional')
  optional() {}

  @SkipCsrf()
  @UseGuards(SessionGuard)
  @Post('hook')
  hook() {}

  @RequireFresh('5m')
  @UseGuards(SessionGuard)
  @Get('fresh')
  fresh() {}

  @NoImpersonation()
  @UseGuards(SessionGuard)
  @Get('own')
  own() {}

  @OptionalSession()
  @RequireFresh('5m')
  @UseGuards(SessionGuard)
  @Get('optional-fresh')
  optionalFresh() {}
}

@UseGuards(SessionGuard)
@Controller('class')
class Guarded {
  @Get()
  read() {}

  @Version('2')
  @Get('second')
  second() {}

  @Get(['alias', 'other'])
  alias() {}

  @SkipSession()
  @Get('skipped')
  skipped() {}
}

@UseGuards(SessionGuard)
@Controller('declared')
class Declared {
  @ApiBearerAuth('mine')
  @Get('own-security')
  ownSecurity() {}

  @ApiResponse({ status: 401, description: 'Mine.' })
  @Get('own-response')
  ownResponse() {}
}

@SkipSession()
@Controller('child')
class Unguarded extends Guarded {}

@Controller('grandchild')
class Child extends Guarded {
  override read() {}

  @Get('more')
  more() {}
}

@Injectable()
class Subclass extends SessionGuard {}

@Injectable({ scope: Scope.REQUEST })
class PerRequest extends SessionGuard {}

@Injectable({ scope: Scope.REQUEST })
class AdminPerRequest extends SessionGuard.of('admin') {}

@Controller('guards')
class Guards {
  @UseGuards(Subclass)
  @Get('subclass')
  subclass() {}

  @UseGuards(PerRequest)
  @Get('per-request')
  perRequest() {}
}

const withControllers = (...controllers: Type[]): Setting => ({ metadata: { controllers } });

/** What is said of an operation; `undefined` for nothing. */
type Case = [title: string, Setting, operation: string, { security: object[]; answers: object } | undefined];

const behindGuard = { security: EITHER, answers: SAFE };

const single: Case[] = [
  ['a handler without a guard', withControllers(Plain), 'get /plain', undefined],
  ['a guarded handler', withControllers(Plain), 'get /plain/guarded', behindGuard],
  ['an unsafe method', withControllers(Plain), 'post /plain/guarded', { security: EITHER, answers: UNSAFE }],
  [
    '@OptionalSession',
    withControllers(Plain),
    'get /plain/optional',
    { security: [{}, ...EITHER], answers: { ...SAFE, 401: ['look_again'] } },
  ],
  ['@SkipCsrf', withControllers(Plain), 'post /plain/hook', behindGuard],
  [
    '@RequireFresh',
    withControllers(Plain),
    'get /plain/fresh',
    {
      security: EITHER,
      answers: {
        ...SAFE,
        401: SAFE[401].toSpliced(4, 0, 'insufficient_user_authentication'),
        403: ['impersonation_refused'],
      },
    },
  ],
  [
    '@NoImpersonation',
    withControllers(Plain),
    'get /plain/own',
    { security: EITHER, answers: { ...SAFE, 403: ['impersonation_refused'] } },
  ],
  [
    '@OptionalSession with @RequireFresh',
    withControllers(Plain),
    'get /plain/optional-fresh',
    {
      security: [{}, ...EITHER],
      answers: {
        ...SAFE,
        401: ['insufficient_user_authentication', 'look_again'],
        403: ['impersonation_refused'],
      },
    },
  ],
  ['a guarded controller', withControllers(Guarded), 'get /class', behindGuard],
  ['several paths of a handler', withControllers(Guarded), 'get /class/other', behindGuard],
  ['@SkipSession on a handler', withControllers(Guarded), 'get /class/skipped', undefined],
  ['an inherited handler of a guarded class', withControllers(Guarded, Unguarded), 'get /class', behindGuard],
  ['the same of a class without guard', withControllers(Guarded, Unguarded), 'get /child', undefined],
  [
    'a handler of a class that inherits the guard',
    withControllers(Child, Guarded),
    'get /grandchild/more',
    behindGuard,
  ],
  ['a subclass of the guard', withControllers(Guards), 'get /guards/subclass', behindGuard],
  ['a request-scoped guard', withControllers(Guards), 'get /guards/per-request', behindGuard],
  [
    'APP_GUARD',
    { metadata: { controllers: [Plain], providers: [{ provide: APP_GUARD, useClass: SessionGuard }] } },
    'get /plain',
    behindGuard,
  ],
  [
    'a request-scoped APP_GUARD',
    { metadata: { controllers: [Plain], providers: [{ provide: APP_GUARD, useClass: PerRequest }] } },
    'get /plain',
    behindGuard,
  ],
  [
    'APP_GUARD and the guard of the handler',
    { metadata: { controllers: [Plain], providers: [{ provide: APP_GUARD, useClass: Subclass }] } },
    'get /plain/guarded',
    behindGuard,
  ],
  [
    'useGlobalGuards',
    { ...withControllers(Plain), configure: (app) => app.useGlobalGuards(app.get(SessionGuard)) },
    'get /plain',
    behindGuard,
  ],
  [
    'a global prefix',
    { ...withControllers(Guarded), configure: (app) => app.setGlobalPrefix('api') },
    'get /api/class',
    behindGuard,
  ],
  [
    'versions in paths',
    { ...withControllers(Guarded), configure: (app) => app.enableVersioning({ type: VersioningType.URI }) },
    'get /v2/class/second',
    behindGuard,
  ],
  [
    'RouterModule',
    (() => {
      const module = asModule({ controllers: [Guarded] });
      return { metadata: { imports: [module, RouterModule.register([{ path: 'nested', module }])] } };
    })(),
    'get /nested/class',
    behindGuard,
  ],
  [
    'mode endpoint',
    { ...withControllers(Plain), options: { refresh: 'endpoint', refreshPath: '/refresh' } },
    'get /plain/guarded',
    {
      security: EITHER,
      answers: { 401: ['no_credentials', 'try_refresh', 'session_over'], 503: SAFE[503] },
    },
  ],
  [
    '@OptionalSession in mode endpoint',
    { ...withControllers(Plain), options: { refresh: 'endpoint', refreshPath: '/refresh' } },
    'get /plain/optional',
    { security: [{}, ...EITHER], answers: { 401: ['try_refresh'], 503: SAFE[503] } },
  ],
  [
    'no looking again',
    { ...withControllers(Plain), options: { lookAgain: false } },
    'get /plain/guarded',
    { security: EITHER, answers: { 401: SAFE[401].slice(0, 4), 503: SAFE[503] } },
  ],
  [
    'no CSRF check',
    { ...withControllers(Plain), options: { csrf: { mode: 'off' } } },
    'post /plain/guarded',
    behindGuard,
  ],
  ...(['token', 'header'] as const).map((mode): Case => [
    `the CSRF check of mode ${mode}`,
    { ...withControllers(Plain), options: { csrf: { mode } } },
    'post /plain/guarded',
    { security: [BEARER, { ...COOKIE, 'session-csrf': [] }], answers: UNSAFE },
  ]),
  [
    'mode token, without the check',
    { ...withControllers(Plain), options: { csrf: { mode: 'token' } } },
    'post /plain/hook',
    behindGuard,
  ],
];

describe.each(adapters)('on %s, a document', (adapter) => {
  it.each(single)(
    'says of %s what its guard asks for and answers',
    async (_, setting, operation, expected) => {
      const document = await documentOf(setting, adapter);
      const found = operationOf(document, operation);
      expect({ security: found.security, answers: answersOf(found) }).toEqual(
        expected ?? { security: undefined, answers: {} },
      );
      expect(problemsOf(document)).toEqual([]);
    },
  );
});

it.each<[string, SessionModuleOptions['cookies'], string]>([
  ['the default', {}, '__Host-Http-session_access'],
  ['another name', { accessName: 'mine' }, '__Host-Http-mine'],
  ['a domain', { domain: 'example.com' }, '__Secure-session_access'],
  ['no prefix', { prefix: 'none' }, 'session_access'],
])('a document has the name that the cookie has with %s', async (_, cookies, name) => {
  const { components } = await documentOf({ ...withControllers(Plain), options: { cookies } });
  expect(components?.securitySchemes?.['session-cookie']).toEqual({ type: 'apiKey', in: 'cookie', name });
});

describe('several modules', () => {
  @UseGuards(SessionGuard.of('admin'))
  @Controller('admin')
  class Admin {
    @Get()
    read() {}

    @UseGuards(SessionGuard)
    @Get('both')
    both() {}
  }

  @Controller('admin-per-request')
  class PerRequestOfAdmin {
    @UseGuards(AdminPerRequest)
    @Get()
    read() {}
  }

  @Controller('partner')
  class Partner {
    @UseGuards(SessionGuard.of('the partner'))
    @Post()
    write() {}

    @OptionalSession()
    @UseGuards(SessionGuard.of('the partner'))
    @Get()
    read() {}
  }

  const issuer = 'https://accounts.example';

  async function document(): Promise<OpenAPIObject> {
    const admins = await database();
    return documentOf({
      options: { refreshPath: '/refresh' },
      metadata: {
        controllers: [Admin, PerRequestOfAdmin, Partner],
        imports: [
          SessionModule.forRoot({
            name: 'admin',
            isGlobal: true,
            refreshPath: '/admin/refresh',
            database: admins.options,
            cookies: { accessName: 'admin', refreshName: 'admin_refresh', lookAgainName: 'admin_look' },
          }),
          SessionModule.forVerifier({
            name: 'the partner',
            isGlobal: true,
            jwksUri: 'http://127.0.0.1:1/jwks.json',
            issuer,
            audience: issuer,
            revocations: { uri: 'http://127.0.0.1:1/revocations', whenStale: 'refuse' },
            cookies: { accessName: 'partner' },
          }),
        ],
      },
    });
  }

  const OF_ADMIN = [{ 'session-bearer-admin': [] }, { 'session-cookie-admin': [] }];

  it('have schemes of their own', async () => {
    const made = await document();
    expect(problemsOf(made)).toEqual([]);
    expect(operationOf(made, 'get /admin').security).toEqual(OF_ADMIN);
    expect(operationOf(made, 'get /admin-per-request').security).toEqual(OF_ADMIN);
    expect(operationOf(made, 'get /admin/both').security).toEqual(
      OF_ADMIN.flatMap((admin) => EITHER.map((user) => Object.assign({}, admin, user))),
    );
    expect(made.components?.securitySchemes).toEqual({
      'session-cookie': { type: 'apiKey', in: 'cookie', name: '__Host-Http-session_access' },
      'session-bearer': { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
      'refresh-cookie': { type: 'apiKey', in: 'cookie', name: '__Host-Http-session_refresh' },
      'refresh-header': { type: 'apiKey', in: 'header', name: 'refresh-token' },
      'session-cookie-admin': { type: 'apiKey', in: 'cookie', name: '__Host-Http-admin' },
      'session-bearer-admin': { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
      'refresh-cookie-admin': { type: 'apiKey', in: 'cookie', name: '__Host-Http-admin_refresh' },
      'refresh-header-admin': { type: 'apiKey', in: 'header', name: 'admin-refresh-token' },
      'session-cookie-the_32partner': { type: 'apiKey', in: 'cookie', name: '__Host-Http-partner' },
      'session-bearer-the_32partner': { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
    });
  });

  it('without a database never look again, and have no database that may be gone', async () => {
    const made = await document();
    expect(answersOf(operationOf(made, 'post /partner'))).toEqual({
      401: ['no_credentials', 'try_refresh', 'session_over'],
      403: ['csrf_failed'],
      503: ['keys_unavailable', 'revocations_unavailable'],
    });
    expect(answersOf(operationOf(made, 'get /partner'))[401]).toEqual(['try_refresh']);
  });
});

describe('what the application has declared', () => {
  it('stays', async () => {
    const made = await documentOf({
      ...withControllers(Declared, Guarded),
      config: (builder) =>
        builder.addBearerAuth({ type: 'http', scheme: 'bearer', description: 'Mine.' }, 'session-bearer'),
    });
    expect(operationOf(made, 'get /declared/own-security').security).toEqual([{ mine: [] }]);
    expect(operationOf(made, 'get /declared/own-response').responses[401]).toMatchObject({
      description: 'Mine.',
    });
    expect(operationOf(made, 'get /declared/own-response').responses[503]).toBeDefined();
    expect(operationOf(made, 'get /class').responses[200]).toBeDefined();
    expect(made.components?.securitySchemes?.['session-bearer']).toMatchObject({ description: 'Mine.' });
  });

  it('stays, also a schema of the same name', async () => {
    class SessionError {
      @ApiProperty()
      mine!: string;
    }
    @Controller('errors')
    class Errors {
      @ApiResponse({ status: 400, type: SessionError })
      @UseGuards(SessionGuard)
      @Get()
      read() {}
    }
    const made = await documentOf(withControllers(Errors));
    expect(made.components?.schemas).toMatchObject({ SessionError: { properties: { mine: {} } } });
    expect(answersOf(operationOf(made, 'get /errors'))).toEqual(SAFE);
    expect(problemsOf(made)).toEqual([]);
  });

  it('stays in the metadata of controllers and handlers, and no mark does', async () => {
    @ApiSecurity('mine')
    @UseGuards(SessionGuard)
    @Controller('of-class')
    class OfClass {
      @Get()
      read() {}
    }
    class Heir extends OfClass {}
    Controller('of-heir')(Heir);
    const targets = [
      OfClass,
      Heir,
      ...Object.values(Object.getOwnPropertyDescriptors(OfClass.prototype)).map(
        ({ value }) => value as object,
      ),
    ];
    const before = targets.map((target) => Reflect.getOwnMetadataKeys(target));
    const made = await documentOf(withControllers(OfClass, Heir));
    expect(operationOf(made, 'get /of-class').security).toEqual([{ mine: [] }]);
    expect(operationOf(made, 'get /of-heir').security).toEqual([{ mine: [] }]);
    expect(targets.map((target) => Reflect.getOwnMetadataKeys(target))).toEqual(before);
    expect(Reflect.getMetadata('swagger/apiSecurity', Heir)).toEqual([{ mine: [] }]);
  });

  it.each(['3.0.0', '3.1.0'])('is a webhook, which no guard sees (OpenAPI %s)', async (version) => {
    @UseGuards(SessionGuard)
    @Controller('hooks')
    class Hooks {
      @ApiWebhook('paid')
      @Post()
      paid() {}
    }
    const made = await documentOf({
      ...withControllers(Hooks),
      config: (builder) => builder.setOpenAPIVersion(version),
    });
    expect(JSON.stringify(made)).not.toContain('nestjs-session-tokens');
    expect(JSON.stringify(made.webhooks ?? {})).not.toContain('no_credentials');
    expect('paid' in (made.webhooks ?? {})).toBe(version === '3.1.0');
  });
});

describe('withSessions()', () => {
  it('makes the document itself', () => {
    const call = withSessions as (app: unknown, document: unknown) => unknown;
    expect(() => call({}, {})).toThrow('withSessions(app, () => SwaggerModule.createDocument(app, config))');
  });

  it('removes its marks if the document cannot be made', async () => {
    const started = await startApp({
      adapter: 'express',
      database: await database(),
      ...withControllers(Guarded),
    });
    cleanups.push(() => started.close());
    expect(() =>
      withSessions(started.app, () => {
        throw new Error('no document');
      }),
    ).toThrow('no document');
    expect(Reflect.getMetadata('swagger/apiSecurity', Guarded)).toBeUndefined();
  });
});
