// New applications as `nest new` makes them, on given versions and with given tools. try-package.mjs tries them.

/**
 * Each pair of versions, the oldest ones of each range, and each tool. One more combination is one more line.
 * `shared`: the sessions are in the application's database, which @nestjs/typeorm opens; otherwise in one of their own.
 */
// prettier-ignore
export const APPLICATIONS = [
  { nest: '^11',    typeorm: '^0.3',   type: 'commonjs', http: 'express', builder: 'tsc',     test: 'jest',   shared: true },
  { nest: '11.0.0', typeorm: '0.3.20', type: 'commonjs', http: 'express', builder: 'webpack', test: 'jest',   shared: false },
  { nest: '^11',    typeorm: '^1',     type: 'commonjs', http: 'fastify', builder: 'swc',     test: 'jest',   shared: false },
  { nest: '^12',    typeorm: '^0.3',   type: 'module',   http: 'fastify', builder: 'swc',     test: 'vitest', shared: false },
  { nest: '^12',    typeorm: '^1',     type: 'module',   http: 'express', builder: 'tsc',     test: 'vitest', shared: true },
  { nest: '12.0.1', typeorm: '1.0.0',  type: 'commonjs', http: 'fastify', builder: 'webpack', test: 'vitest', shared: false },
];

/** What `nest new` installs, by the major version of Nest; linters and the like left out. */
const TOOLS = {
  11: { '@nestjs/cli': '^11.0.0', typescript: '^5.7.3', '@types/node': '^24.0.0' },
  12: { '@nestjs/cli': '^12.0.0', typescript: '^6.0.2', '@types/node': '^24.0.0' },
};

const BUILDERS = {
  tsc: {},
  swc: { '@swc/cli': '^0.8.0', '@swc/core': '^1.15.18' },
  webpack: {
    'fork-ts-checker-webpack-plugin': '^9.1.0',
    'ts-loader': '^9.5.4',
    'tsconfig-paths-webpack-plugin': '^4.2.0',
    webpack: '^5.105.4',
    'webpack-node-externals': '^3.0.0',
  },
};

const TESTS = {
  jest: { '@types/jest': '^30.0.0', jest: '^30.0.0', 'ts-jest': '^29.4.0' },
  vitest: { vitest: '^4.1.2' },
};

const REQUESTS = {
  express: {
    types: { '@types/express': '^5.0.0' },
    imports: "import type { Request, Response } from 'express';",
    create: 'NestFactory.create(LiveModule)',
  },
  fastify: {
    types: {},
    imports: "import type { FastifyReply as Response, FastifyRequest as Request } from 'fastify';",
    create: 'NestFactory.create(LiveModule, new FastifyAdapter())',
  },
};

/** As `nest new` of version 11 has it, with the README's line. */
const jest = (readme) => ({
  moduleFileExtensions: ['js', 'json', 'ts'],
  rootDir: 'src',
  testRegex: '.*\\.spec\\.ts$',
  transform: { '^.+\\.(t|j)s$': 'ts-jest' },
  testEnvironment: 'node',
  ...JSON.parse(`{${/^"transformIgnorePatterns".*$/m.exec(readme)[0]}}`),
});

const VITEST = `
import { defineConfig } from 'vitest/config';

export default defineConfig({ test: { globals: true, include: ['src/**/*.spec.ts'] } });
`;

const controller = ({ imports }) => `
import { Body, Controller, Get, HttpCode, Post, Req, Res, UseGuards } from '@nestjs/common';
import { ActiveSession, CurrentSession, SessionGuard, SessionService } from 'nestjs-session-tokens';
${imports}

@Controller()
export class AccountController {
  constructor(private readonly sessions: SessionService) {}

  @Post('login')
  @HttpCode(204)
  async login(@Body() body: { name: string }, @Req() req: Request, @Res({ passthrough: true }) res: Response) {
    await this.sessions.create(req, res, { userId: body.name, claims: { role: 'admin' } });
  }

  @UseGuards(SessionGuard)
  @Get('me')
  me(@CurrentSession() session: ActiveSession, @CurrentSession('userId') userId: string) {
    return { userId, claims: session.claims };
  }

  @Post('logout')
  @HttpCode(204)
  async logout(@Req() req: Request, @Res({ passthrough: true }) res: Response) {
    await this.sessions.signOut(req, res);
  }
}
`;

const sharedDatabase = (js) => `
import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import libsql from 'libsql';
import { SESSION_ENTITIES, SESSION_MIGRATIONS, SessionModule } from 'nestjs-session-tokens';
import { AccountController } from './account.controller${js}';

@Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'better-sqlite3',
      driver: libsql,
      database: 'app.sqlite',
      entities: [...SESSION_ENTITIES],
      migrations: [...SESSION_MIGRATIONS],
      migrationsRun: true,
    }),
    SessionModule.forRoot({ isGlobal: true, secret: 'a secret of thirty-two characters, or more' }),
  ],
  controllers: [AccountController],
})
export class AppModule {}
`;

// TypeORM before 0.3.28 calls the driver without `new`, which better-sqlite3 takes, and libsql does not.
const ownDatabase = (js) => `
import { Module } from '@nestjs/common';
import libsql from 'libsql';
import { SessionModule } from 'nestjs-session-tokens';
import { AccountController } from './account.controller${js}';

function driver(...parameters: ConstructorParameters<typeof libsql>) {
  return new libsql(...parameters);
}

@Module({
  imports: [
    SessionModule.forRootAsync({
      isGlobal: true,
      useFactory: () => ({
        secret: 'a secret of thirty-two characters, or more',
        database: { type: 'better-sqlite3', driver, database: 'app.sqlite' },
      }),
    }),
  ],
  controllers: [AccountController],
})
export class AppModule {}
`;

/** What stays open. Tests of the application have no adapter for it, so it has a module of its own. */
const live = (js) => `
import { Controller, Module, Sse, UseGuards } from '@nestjs/common';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { CurrentSession, SessionGuard } from 'nestjs-session-tokens';
import { interval, map, type Observable } from 'rxjs';
import { AppModule } from './app.module${js}';

@UseGuards(SessionGuard)
@WebSocketGateway()
export class LiveGateway {
  @SubscribeMessage('who')
  who(@CurrentSession('userId') userId: string) {
    return { event: 'who', data: userId };
  }
}

@UseGuards(SessionGuard)
@Controller()
export class LiveController {
  @Sse('beats')
  beats(): Observable<{ data: string }> {
    return interval(20).pipe(map((n) => ({ data: String(n) })));
  }
}

@Module({ imports: [AppModule], controllers: [LiveController], providers: [LiveGateway] })
export class LiveModule {}
`;

const main = (js, http) => `
import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import { NestFactory } from '@nestjs/core';
import { WsAdapter } from '@nestjs/platform-ws';
${http === 'fastify' ? "import { FastifyAdapter } from '@nestjs/platform-fastify';" : ''}
import { LiveModule } from './live.module${js}';

async function bootstrap() {
  const app = await ${REQUESTS[http].create};
  app.useWebSocketAdapter(new WsAdapter(app));
  await app.listen(0, '127.0.0.1');
  console.log('port', (app.getHttpServer().address() as AddressInfo).port);
}
void bootstrap();
`;

const spec = (js) => `
import { Test } from '@nestjs/testing';
import { SessionOverError, SessionService } from 'nestjs-session-tokens';
import { AppModule } from './app.module${js}';

it('issues, verifies and revokes', async () => {
  const module = await Test.createTestingModule({ imports: [AppModule] }).compile();
  await module.init();
  const sessions = module.get(SessionService);
  const { session, accessToken } = await sessions.tokens.issue({ userId: 'alice' });
  expect((await sessions.tokens.verify(accessToken.token)).userId).toBe('alice');
  expect(await sessions.revoke(session.id)).toBe(true);
  await expect(sessions.tokens.verify(accessToken.token)).rejects.toThrow(SessionOverError);
  await module.close();
  await module.close(); // Nest 11 runs the hooks again.
});
`;

/** The recipe of docs/testing.md, changed as the page says. */
const recipeSpec = (recipe, { js, http, test }) => {
  const changes = [
    [/(from '\.[^']*)\.js'/g, `$1${js}'`],
    ...(test === 'jest'
      ? [
          [/^import .* from 'vitest';\n/m, ''],
          [/\bvi\./g, 'jest.'],
        ]
      : []),
    ...(http === 'fastify'
      ? [
          [/createNestApplication\(\)/g, 'createNestApplication(new FastifyAdapter())'],
          [/^/, "import { FastifyAdapter } from '@nestjs/platform-fastify';\n"],
        ]
      : []),
  ];
  return changes.reduce((text, [from, to]) => text.replace(from, to), recipe);
};

/** @returns the application's files: their texts by their paths */
export function filesOf(
  { nest, typeorm, type, http, builder, test, shared },
  { tarball, readme, recipe, library },
) {
  const major = nest.replace('^', '').split('.')[0];
  const isModule = type === 'module';
  const js = isModule ? '.js' : '';
  const manifest = {
    name: 'new-application',
    private: true,
    ...(isModule && { type }),
    dependencies: {
      '@nestjs/common': nest,
      '@nestjs/core': nest,
      [`@nestjs/platform-${http}`]: nest,
      // Version 11 of it begins with this one.
      '@nestjs/platform-ws': nest === '11.0.0' ? '11.0.5' : nest,
      '@nestjs/websockets': nest,
      ...(shared && { '@nestjs/typeorm': `^${major}` }),
      libsql: library.devDependencies.libsql,
      'nestjs-session-tokens': `file:${tarball}`,
      'reflect-metadata': '^0.2.2',
      rxjs: '^7.8.1',
      typeorm,
    },
    devDependencies: {
      '@nestjs/testing': nest,
      ...TOOLS[major],
      ...BUILDERS[builder],
      ...TESTS[test],
      supertest: library.devDependencies.supertest,
      '@types/supertest': library.devDependencies['@types/supertest'],
      ...REQUESTS[http].types,
    },
    ...(test === 'jest' && { jest: jest(readme) }),
  };
  const tsconfig = {
    compilerOptions: {
      module: 'nodenext',
      moduleResolution: 'nodenext',
      resolvePackageJsonExports: true,
      esModuleInterop: true,
      isolatedModules: true,
      declaration: true,
      removeComments: true,
      emitDecoratorMetadata: true,
      experimentalDecorators: true,
      allowSyntheticDefaultImports: true,
      target: 'ES2023',
      sourceMap: true,
      outDir: './dist',
      // The swc builder of version 11 takes it amiss.
      ...(major === '12' && { rootDir: './src' }),
      incremental: true,
      skipLibCheck: true,
      strict: true,
      types: ['node', test === 'jest' ? 'jest' : 'vitest/globals'],
    },
    include: ['src'],
  };
  const nestCli = { sourceRoot: 'src', compilerOptions: { deleteOutDir: true, builder } };
  return {
    'package.json': JSON.stringify(manifest),
    'tsconfig.json': JSON.stringify(tsconfig),
    'tsconfig.build.json': JSON.stringify({ extends: './tsconfig.json', exclude: ['**/*.spec.ts'] }),
    'nest-cli.json': JSON.stringify(nestCli),
    ...(test === 'vitest' && { 'vitest.config.mts': VITEST }),
    'src/account.controller.ts': controller(REQUESTS[http]),
    'src/app.module.ts': shared ? sharedDatabase(js) : ownDatabase(js),
    'src/live.module.ts': live(js),
    'src/main.ts': main(js, http),
    'src/account.spec.ts': spec(js),
    'src/recipe.spec.ts': recipeSpec(recipe, { js, http, test }),
  };
}
