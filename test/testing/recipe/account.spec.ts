import type { INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { SessionGuard, SessionService } from 'nestjs-session-tokens';
import { guardFor, sessionFor, signIn, withMemorySessions } from 'nestjs-session-tokens/testing';
import request from 'supertest';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AccountController } from './account.controller.js';
import { AppModule } from './app.module.js';

describe('the application', () => {
  let app: INestApplication;

  beforeEach(async () => {
    const testing = await withMemorySessions(Test.createTestingModule({ imports: [AppModule] })).compile();
    app = testing.createNestApplication();
    await app.listen(0, '127.0.0.1');
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    await app.close();
  });

  it('knows who is signed in', async () => {
    const alice = await signIn(app, { userId: 'alice', claims: { role: 'admin' } });
    const byCookie = await request(app.getHttpServer()).get('/me').set(alice.headers);
    expect(byCookie.body).toEqual({ userId: 'alice', claims: { role: 'admin' } });

    const byBearer = await fetch(`${await app.getUrl()}/me`, { headers: alice.bearer });
    expect(await byBearer.json()).toEqual({ userId: 'alice', claims: { role: 'admin' } });
  });

  it('refreshes a session whose access token has expired', async () => {
    const alice = await signIn(app, { userId: 'alice' }, { state: 'expired' });
    const answer = await request(app.getHttpServer()).get('/me').set(alice.headers);
    expect(answer.status).toBe(200);
    expect(answer.headers['set-cookie']).toHaveLength(2);
  });

  it('refuses a session that is over', async () => {
    const alice = await signIn(app, { userId: 'alice' }, { state: 'revoked' });
    const answer = await request(app.getHttpServer()).get('/me').set(alice.headers);
    expect(answer.body).toMatchObject({ code: 'session_over', reason: 'revoked' });
  });

  it('signs out a thief, and who was robbed', async () => {
    const thief = await signIn(app, { userId: 'alice' }, { state: 'stolen' });
    const answer = await request(app.getHttpServer()).get('/me').set(thief.headers);
    expect(answer.body).toMatchObject({ code: 'token_theft' });

    const robbed = await request(app.getHttpServer()).get('/me').set(thief.newest!.headers);
    expect(robbed.status).toBe(401);
  });

  it('signs in and out, with a client that keeps cookies', async () => {
    const agent = request.agent(app.getHttpServer());
    await agent.post('/login').send({ name: 'alice' });
    expect((await agent.get('/me')).body).toMatchObject({ userId: 'alice' });
    await agent.post('/logout');
    expect((await agent.get('/me')).body).toMatchObject({ code: 'no_credentials' });
  });

  it('ends a session that nobody has used for a month', async () => {
    const agent = request.agent(app.getHttpServer());
    const alice = await signIn(app, { userId: 'alice' });
    agent.jar.setCookies(alice.setCookies, '127.0.0.1', '/');
    expect((await agent.get('/me')).status).toBe(200);
    vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 31 * 86_400_000);
    expect((await agent.get('/me')).status).toBe(401);
  });
});

describe('the controller', () => {
  it('takes a session', async () => {
    const controller = new AccountController({} as SessionService);
    const session = await sessionFor({ userId: 'alice', claims: { role: 'admin' } });
    expect(controller.me(session, 'alice')).toEqual({ userId: 'alice', claims: { role: 'admin' } });
  });

  it('gets one by its decorators, without the module', async () => {
    const testing = await Test.createTestingModule({
      controllers: [AccountController],
      providers: [{ provide: SessionService, useValue: {} }],
    })
      .overrideGuard(SessionGuard)
      .useValue(guardFor({ userId: 'alice' }))
      .compile();
    const app = testing.createNestApplication();
    await app.listen(0, '127.0.0.1');
    const answer = await request(app.getHttpServer()).get('/me');
    expect(answer.body).toEqual({ userId: 'alice', claims: {} });
    await app.close();
  });
});
