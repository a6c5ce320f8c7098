// One process of `verifiers.mjs`: an issuer, or a service that only verifies. It tells its parent at which address it listens.
import 'reflect-metadata';
import { Controller, Get, Module, UseGuards } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { CurrentSession, SessionGuard, SessionModule, SessionService } from '../../dist/lib/index.js';

const { role, options } = JSON.parse(process.env.VERIFIER_PROCESS);

/** What decorators do in TypeScript. */
function decorate(target, ...decorators) {
  for (const each of decorators) each(target);
  return target;
}

class MeController {
  me(session) {
    return { id: session.id };
  }
}
Get('me')(MeController.prototype, 'me', Object.getOwnPropertyDescriptor(MeController.prototype, 'me'));
CurrentSession()(MeController.prototype, 'me', 0);
decorate(MeController, Controller(), UseGuards(SessionGuard));

const AppModule = decorate(
  // oxlint-disable-next-line typescript/no-extraneous-class -- Nest takes a class for a module
  class {},
  Module({
    imports: [role === 'issuer' ? SessionModule.forRoot(options) : SessionModule.forVerifier(options)],
    controllers: [MeController],
  }),
);

const app = await NestFactory.create(AppModule, new FastifyAdapter(), { logger: false });
app.enableShutdownHooks();
await app.listen(0, '127.0.0.1');
const sessions = role === 'issuer' ? app.get(SessionService) : undefined;
process.on('message', async ({ id, method, parameters }) => {
  const [object, name] = method === 'issue' ? [sessions.tokens, 'issue'] : [sessions, method];
  process.send({ id, result: await object[name](...parameters) });
});
process.send({ id: 0, result: `http://127.0.0.1:${app.getHttpServer().address().port}` });
