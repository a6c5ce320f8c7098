// Packs the library, installs the tarball in new Nest applications outside the repository, compiles and runs them:
// an ES-module one with @nestjs/typeorm on Express, and a CommonJS one without it on Fastify.
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const repository = new URL('../..', import.meta.url).pathname;
const { devDependencies } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'));

const controller = (types) => `
import { Body, Controller, Get, HttpCode, Post, Req, Res, UseGuards } from '@nestjs/common';
import { ActiveSession, Session, SessionGuard, SessionService } from 'nestjs-session-tokens';
${types}
@Controller()
export class AccountController {
  constructor(private readonly sessions: SessionService) {}

  @Post('login')
  @HttpCode(204)
  async login(@Body() body: { name: string }, @Req() req: Req, @Res({ passthrough: true }) res: Res) {
    await this.sessions.create(req, res, { userId: body.name, claims: { role: 'admin' } });
  }

  @UseGuards(SessionGuard)
  @Get('me')
  me(@Session() session: ActiveSession, @Session('userId') userId: string) {
    return { userId, claims: session.claims };
  }
}
`;

const main = (create) => `
import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
${create}
async function main() {
  const app = await createApp(AppModule);
  await app.listen(0, '127.0.0.1');
  console.log('port', (app.getHttpServer().address() as AddressInfo).port);
}
void main();
`;

const applications = [
  {
    name: 'ES modules, Express, @nestjs/typeorm',
    type: 'module',
    dependencies: ['@nestjs/platform-express', '@nestjs/typeorm'],
    extra: { '@types/express': '^5.0.0' },
    files: {
      'account.controller.ts': controller(
        "import type { Request, Response } from 'express';\ntype Req = Request;\ntype Res = Response;\n",
      ),
      'app.module.ts': `
import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import libsql from 'libsql';
import { SESSION_ENTITIES, SESSION_MIGRATIONS, SessionModule } from 'nestjs-session-tokens';
import { AccountController } from './account.controller.js';

@Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'better-sqlite3', driver: libsql, database: 'app.sqlite',
      entities: [...SESSION_ENTITIES], migrations: [...SESSION_MIGRATIONS], migrationsRun: true,
    }),
    SessionModule.forRoot({ secret: 'a secret of thirty-two characters, or more' }),
  ],
  controllers: [AccountController],
})
export class AppModule {}
`,
      'main.ts': main(
        'const createApp = (module: Parameters<typeof NestFactory.create>[0]) => NestFactory.create(module);',
      ),
    },
  },
  {
    name: 'CommonJS, Fastify, without @nestjs/typeorm',
    type: 'commonjs',
    dependencies: ['@nestjs/platform-fastify'],
    extra: {},
    files: {
      'account.controller.ts': controller(
        "import type { FastifyReply, FastifyRequest } from 'fastify';\ntype Req = FastifyRequest;\ntype Res = FastifyReply;\n",
      ),
      'app.module.ts': `
import { Module } from '@nestjs/common';
import libsql = require('libsql');
import { SessionModule } from 'nestjs-session-tokens';
import { AccountController } from './account.controller.js';

@Module({
  imports: [
    SessionModule.forRootAsync({
      isGlobal: true,
      useFactory: () => ({
        secret: 'a secret of thirty-two characters, or more',
        database: { type: 'better-sqlite3', driver: libsql, database: 'app.sqlite' },
      }),
    }),
  ],
  controllers: [AccountController],
})
export class AppModule {}
`,
      'main.ts': main(`import { FastifyAdapter } from '@nestjs/platform-fastify';
const createApp = (module: Parameters<typeof NestFactory.create>[0]) => NestFactory.create(module, new FastifyAdapter());`),
    },
  },
];

const folder = await mkdtemp(join(tmpdir(), 'session-tokens-package-'));
try {
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: repository });
  // Scripts that run before packing print on the same stream; the description is the last thing on it.
  const [{ filename, files, size }] = JSON.parse(stdout.slice(stdout.search(/^\[$/m)));
  console.log(`${filename}: ${files.length} files, ${size} bytes`);
  for (const application of applications) await tryApplication(application, join(folder, filename));
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function tryApplication({ name, type, dependencies, extra, files }, tarball) {
  const cwd = await mkdtemp(join(folder, 'app-'));
  const versions = Object.fromEntries(
    ['@nestjs/common', '@nestjs/core', 'typeorm', 'reflect-metadata', 'rxjs', 'libsql', ...dependencies].map(
      (each) => [each, devDependencies[each]],
    ),
  );
  const tools = Object.fromEntries(
    ['typescript', '@types/node'].map((each) => [each, devDependencies[each]]),
  );
  const manifest = {
    name: 'new-application',
    private: true,
    type,
    dependencies: { ...versions, 'nestjs-session-tokens': `file:${tarball}` },
    devDependencies: { ...tools, ...extra },
  };
  const tsconfig = {
    compilerOptions: {
      module: 'nodenext',
      target: 'es2023',
      strict: true,
      types: ['node'],
      outDir: 'dist',
      rootDir: '.',
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
      // Whether our own declarations are right; those of TypeORM's optional drivers need packages that are not there.
      skipLibCheck: true,
    },
    include: ['*.ts'],
  };
  await writeFile(join(cwd, 'package.json'), JSON.stringify(manifest));
  await writeFile(join(cwd, 'tsconfig.json'), JSON.stringify(tsconfig));
  for (const [file, text] of Object.entries(files)) await writeFile(join(cwd, file), text);
  await run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error'], { cwd });
  await run('npx', ['--no-install', 'tsc'], { cwd }).catch((error) => {
    throw new Error(`${name}: does not compile\n${error.stdout}`);
  });

  const child = spawn(process.execPath, ['dist/main.js'], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const port = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${name}: did not start\n${output}`)), 60_000);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk) => {
        output += chunk;
        const match = /port (\d+)/.exec(output);
        if (match) {
          clearTimeout(timer);
          resolve(match[1]);
        }
      });
    }
    child.once('exit', (code) => reject(new Error(`${name}: ended with ${code}\n${output}`)));
  });
  try {
    const url = `http://127.0.0.1:${port}`;
    const refused = await fetch(`${url}/me`);
    const login = await fetch(`${url}/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'alice' }),
    });
    const cookie = login.headers
      .getSetCookie()
      .map((line) => line.split(';')[0])
      .join('; ');
    const me = await fetch(`${url}/me`, { headers: { cookie } });
    const seen = JSON.stringify([refused.status, login.status, me.status, await me.json()]);
    const expected = JSON.stringify([401, 204, 200, { userId: 'alice', claims: { role: 'admin' } }]);
    if (seen !== expected) throw new Error(`${name}: ${seen}, not ${expected}\n${output}`);
    console.log(`${name}: works`);
  } finally {
    child.kill();
  }
}
