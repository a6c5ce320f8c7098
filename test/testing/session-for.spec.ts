import { inspect } from 'node:util';
import {
  type CanActivate,
  Controller,
  Get,
  Injectable,
  type INestApplication,
  Post,
  UseGuards,
} from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import {
  ActiveSession,
  CurrentSession,
  NoImpersonation,
  OptionalSession,
  RequireFresh,
  Session,
  SessionGuard,
  SkipSession,
} from 'nestjs-session-tokens';
import { guardFor, sessionFor, type TestSessionInput } from 'nestjs-session-tokens/testing';
import request from 'supertest';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { adapters } from '../support/app.js';
import { pass, START, stopClock } from '../support/time.js';

@Injectable()
class Greetings {
  of(userId: unknown): string {
    return `Hello ${String(userId)}`;
  }
}

@Controller()
@UseGuards(SessionGuard)
class GreetingController {
  constructor(private readonly greetings: Greetings) {}

  @Get('me')
  me(@Session() session: ActiveSession): ActiveSession {
    return session;
  }

  @Get('greeting')
  greeting(@CurrentSession('userId') userId: string): object {
    return { text: this.greetings.of(userId) };
  }

  @Get('visitor')
  @OptionalSession()
  visitor(@CurrentSession('userId') userId?: string): object {
    return { userId: userId ?? null };
  }

  @Get('public')
  @SkipSession()
  public(): object {
    return {};
  }

  @Post('pay')
  @RequireFresh('5m')
  pay(): object {
    return {};
  }

  @Post('password')
  @NoImpersonation()
  password(): object {
    return {};
  }
}

const ok = (body = {}) => ({ status: expect.toSatisfy((status) => status < 300), body });
const refused = (status: number, code: string) => ({ status, body: { code } });

beforeEach(() => stopClock());
afterEach(() => vi.useRealTimers());

describe('sessionFor()', () => {
  it('is a session as the guard gives it', async () => {
    const session = await sessionFor({ userId: 42, claims: { role: 'admin' }, amr: ['pwd'] });
    expect(session).toBeInstanceOf(ActiveSession);
    expect(session).toMatchObject({ userId: 42, claims: { role: 'admin' }, amr: ['pwd'], actor: undefined });
    expect([session.authenticatedAt, session.tokenIssuedAt]).toEqual([new Date(START), new Date(START)]);
    expect(session.tokenExpiresAt.getTime()).toBeGreaterThan(START);
    expect(inspect(session)).toContain('ActiveSession');
  });

  it('has a row, with which all methods work', async () => {
    const session = await sessionFor({ userId: 'alice', data: { theme: 'dark' } });
    expect(await session.getData()).toEqual({ theme: 'dark' });
    await session.updateData((data) => ({ ...(data as object), size: 2 }));
    await session.updateClaims({ role: 'guest' });
    await session.rename('Phone');
    expect(session.claims).toEqual({ role: 'guest' });
    expect(await session.getInfo()).toMatchObject({
      id: session.id,
      data: { theme: 'dark', size: 2 },
      claims: { role: 'guest' },
      label: 'Phone',
      current: true,
    });
    expect(await session.csrfToken()).toMatch(/^[\w-]{22}$/);
    expect([await session.revoke(), await session.revoke()]).toEqual([true, false]);
    await expect(session.getInfo()).rejects.toMatchObject({ code: 'session_not_found' });
  });

  it('may have somebody who acts as the user', async () => {
    const session = await sessionFor({ userId: 'alice', actor: { userId: 'root' } });
    expect(session.actor).toEqual({ userId: 'root', sessionId: expect.any(String) as string });
  });

  it.each<[what: string, input: TestSessionInput, code: string]>([
    ['an empty user id', { userId: '' }, 'invalid_user_id'],
    ['a reserved claim', { userId: 'a', claims: { sub: 'b' } }, 'invalid_claims'],
    ['a misspelt member', { userId: 'a', clams: {} } as TestSessionInput, 'invalid_input'],
    ['somebody who acts as themselves', { userId: 'a', actor: { userId: 'a' } }, 'invalid_input'],
  ])('refuses what the application would refuse: %s', async (_what, input, code) => {
    await expect(sessionFor(input)).rejects.toMatchObject({ code });
  });
});

describe.each(adapters)('guardFor() over %s', (adapter) => {
  let app: INestApplication | undefined;
  afterEach(async () => app?.close());

  const start = async (guard: CanActivate) => {
    const testing = await Test.createTestingModule({
      controllers: [GreetingController],
      providers: [Greetings],
    })
      .overrideGuard(SessionGuard)
      .useValue(guard)
      .compile();
    app = testing.createNestApplication(adapter === 'express' ? new ExpressAdapter() : new FastifyAdapter());
    await app.listen(0, '127.0.0.1');
    const server = request(app.getHttpServer());
    return async (path: string) => {
      const { status, body } = await (path === '/pay' || path === '/password'
        ? server.post(path)
        : server.get(path));
      return { status, body: body as Record<string, unknown> };
    };
  };

  /** Who is signed in, and what the routes answer. */
  const PEOPLE: readonly [who: string, input: TestSessionInput | null, answers: Record<string, object>][] = [
    [
      'a user',
      { userId: 'alice', claims: { role: 'admin' } },
      {
        '/me': ok({ userId: 'alice', claims: { role: 'admin' } }),
        '/greeting': ok({ text: 'Hello alice' }),
        '/visitor': ok({ userId: 'alice' }),
        '/public': ok(),
        '/pay': ok(),
        '/password': ok(),
      },
    ],
    [
      'nobody',
      null,
      {
        '/me': refused(401, 'no_credentials'),
        '/visitor': ok({ userId: null }),
        '/public': ok(),
        '/pay': refused(401, 'no_credentials'),
      },
    ],
    [
      'a user who proved who they are long ago',
      { userId: 'alice', authenticatedAt: new Date(START - 3_600_000) },
      { '/me': ok(), '/pay': refused(401, 'insufficient_user_authentication'), '/password': ok() },
    ],
    [
      'somebody who acts as a user',
      { userId: 'alice', actor: { userId: 'root' } },
      {
        '/me': ok({ userId: 'alice', actor: { userId: 'root' } }),
        '/pay': refused(403, 'impersonation_refused'),
        '/password': refused(403, 'impersonation_refused'),
      },
    ],
    ['wrong input', { userId: '' }, { '/me': refused(400, 'invalid_user_id'), '/public': ok() }],
  ];

  it.each(PEOPLE)('signs in %s', async (_who, input, answers) => {
    const send = await start(guardFor(input));
    for (const [path, answer] of Object.entries(answers)) expect(await send(path)).toMatchObject(answer);
  });

  it('takes a session of sessionFor(), which keeps what handlers change', async () => {
    const session = await sessionFor({ userId: 'alice' });
    const send = await start(guardFor(session));
    await session.updateClaims({ role: 'guest' });
    expect(await send('/me')).toMatchObject(ok({ id: session.id, claims: { role: 'guest' } }));
    pass('6m');
    expect(await send('/pay')).toMatchObject(refused(401, 'insufficient_user_authentication'));
  });

  it('is the same session for every request', async () => {
    const send = await start(guardFor({ userId: 'alice' }));
    const [one, two] = [await send('/me'), await send('/me')];
    expect(one.body['id']).toBe(two.body['id']);
  });
});

describe('guardFor() of a module with a name', () => {
  it('gives the session of that module', async () => {
    @Controller()
    class AdminController {
      @Get('admin')
      @UseGuards(SessionGuard.of('admin'))
      admin(@CurrentSession({ module: 'admin', property: 'userId' }) userId: string): object {
        return { userId };
      }
    }
    const testing = await Test.createTestingModule({ controllers: [AdminController] })
      .overrideGuard(SessionGuard.of('admin'))
      .useValue(guardFor({ userId: 'root' }, 'admin'))
      .compile();
    const app = await testing.createNestApplication().init();
    const { body } = await request(app.getHttpServer()).get('/admin');
    expect(body).toEqual({ userId: 'root' });
    await app.close();
  });

  it('replaces the guard of the whole application, where that is a provider', async () => {
    @Controller()
    class MeController {
      @Get('me')
      me(@CurrentSession('userId') userId: string): object {
        return { userId };
      }
    }
    const testing = await Test.createTestingModule({
      controllers: [MeController],
      providers: [SessionGuard, { provide: APP_GUARD, useExisting: SessionGuard }],
    })
      .overrideProvider(SessionGuard)
      .useValue(guardFor({ userId: 'alice' }))
      .compile();
    const app = await testing.createNestApplication().init();
    const { body } = await request(app.getHttpServer()).get('/me');
    expect(body).toEqual({ userId: 'alice' });
    await app.close();
  });
});
