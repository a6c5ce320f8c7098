// One process of an application with sessions. It tells its parent at which port it listens, and of each theft.
import 'reflect-metadata';
import { ConsoleLogger, Controller, Get, HttpCode, Module, Post, Req, Res, UseGuards } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import {
  CurrentSession,
  SESSION_ENTITIES,
  SessionGuard,
  SessionModule,
  SessionService,
} from '../../dist/lib/index.js';
import { endOnSignals } from '../../dist/sample-app/shutdown.js';

const { database, options } = JSON.parse(process.env.FAULTS_APPLICATION);
if (database.type === 'better-sqlite3') database.driver = (await import('libsql')).default;

class AccountController {
  constructor(sessions) {
    this.sessions = sessions;
  }

  async login(request, response) {
    await this.sessions.create(request, response, { userId: 'alice', claims: { role: 'user' } });
    return {};
  }

  me({ id }) {
    return { id };
  }

  async logout(session) {
    await session.revoke();
  }
}
// What decorators do in TypeScript.
const handler = (name, ...decorators) => {
  const descriptor = Object.getOwnPropertyDescriptor(AccountController.prototype, name);
  for (const each of decorators) each(AccountController.prototype, name, descriptor);
};
handler('login', Post('login'), HttpCode(200));
Req()(AccountController.prototype, 'login', 0);
Res({ passthrough: true })(AccountController.prototype, 'login', 1);
handler('me', Get('me'), UseGuards(SessionGuard));
CurrentSession()(AccountController.prototype, 'me', 0);
handler('logout', Post('logout'), HttpCode(204), UseGuards(SessionGuard));
CurrentSession()(AccountController.prototype, 'logout', 0);
Reflect.defineMetadata('design:paramtypes', [SessionService], AccountController);
Controller()(AccountController);

// oxlint-disable-next-line typescript/no-extraneous-class -- Nest takes a class for a module
class AppModule {}
Module({
  imports: [
    TypeOrmModule.forRoot({
      ...database,
      entities: [...SESSION_ENTITIES],
      retryAttempts: 60,
      retryDelay: 500,
    }),
    SessionModule.forRoot(options),
  ],
  controllers: [AccountController],
})(AppModule);

const app = await NestFactory.create(AppModule, {
  logger: new ConsoleLogger({ json: true, colors: false, logLevels: ['log', 'warn', 'error', 'fatal'] }),
});
endOnSignals(app);
// Longer than the balancer keeps connections: who closes one may do so while a request is on its way.
app.getHttpServer().keepAliveTimeout = 120_000;
await app.listen(0, '127.0.0.1');
app.get(SessionService).events.subscribe(({ type }) => {
  if (type === 'theft') process.send({ theft: true });
});
process.send({ port: app.getHttpServer().address().port });
