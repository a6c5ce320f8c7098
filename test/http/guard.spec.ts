import {
  Controller,
  type ExecutionContext,
  Get,
  HttpException,
  type INestApplication,
  Injectable,
  Post,
  Req,
  UseGuards,
} from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import cookieParser from 'cookie-parser';
import type { FastifyInstance } from 'fastify';
import {
  ActiveSession,
  attachedSession,
  type HttpRequest,
  OptionalSession,
  Session,
  type SessionError,
  SessionGuard,
  SkipCsrf,
  SkipSession,
} from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { foreignTokens } from '../support/foreign-tokens.js';
import { accountApps, clearsCookies, cookieOf, refusal } from './account-app.js';
import { QueryLog } from '../support/query-log.js';
import { pass } from '../support/time.js';

type WithCookies = HttpRequest & { cookies?: Record<string, unknown> };

@Controller('per-route')
class PerRouteController {
  @UseGuards(SessionGuard)
  @Get('guarded')
  guarded(@Session('userId') userId: string): object {
    return { userId };
  }

  @Get('open')
  open(@Req() request: HttpRequest): object {
    return { hasSession: attachedSession(request) !== undefined };
  }
}

@Controller('per-controller')
@UseGuards(SessionGuard)
class PerControllerController {
  @Get('guarded')
  guarded(@Session('userId') userId: string): object {
    return { userId };
  }

  @SkipSession()
  @Get('skipped')
  skipped(@Req() request: HttpRequest): object {
    return { hasSession: attachedSession(request) !== undefined };
  }
}

@Controller('skipped')
@SkipSession()
@UseGuards(SessionGuard)
class SkippedController {
  @Get('open')
  open(@Req() request: HttpRequest): object {
    return { hasSession: attachedSession(request) !== undefined };
  }

  @SkipSession(false)
  @Get('guarded')
  guarded(@Session('userId') userId: string): object {
    return { userId };
  }
}

@Controller('optional')
@OptionalSession()
@SkipCsrf()
@UseGuards(SessionGuard)
class OptionalController {
  @Get('visitor')
  visitor(@Session() session?: ActiveSession, @Session('userId') userId?: string): object {
    return { hasSession: session !== undefined, userId: userId ?? null };
  }

  @OptionalSession(false)
  @Get('guarded')
  guarded(@Session('userId') userId: string): object {
    return { userId };
  }

  @Post('unsafe')
  unsafe(@Session('userId') userId?: string): object {
    return { userId: userId ?? null };
  }

  @SkipCsrf(false)
  @Post('checked')
  checked(@Session('userId') userId?: string): object {
    return { userId: userId ?? null };
  }
}

@Controller('properties')
@UseGuards(SessionGuard)
class PropertiesController {
  @Get()
  properties(
    @Session() session: ActiveSession,
    @Session('id') id: string,
    @Session('userId') userId: string | number,
    @Session('claims') claims: object,
    @Session('tokenIssuedAt') tokenIssuedAt: Date,
    @Session('tokenExpiresAt') tokenExpiresAt: Date,
    @Req() request: HttpRequest,
  ): object {
    return {
      isActiveSession: session instanceof ActiveSession,
      isAttached: attachedSession(request) === session,
      areDates: tokenIssuedAt instanceof Date && tokenExpiresAt instanceof Date,
      session,
      properties: { id, userId, claims, tokenIssuedAt, tokenExpiresAt },
    };
  }

  @Get('cookies')
  cookies(@Req() request: WithCookies): object {
    return { cookies: request.cookies };
  }

  @SkipSession()
  @Get('unattached')
  unattached(@Req() request: HttpRequest): object {
    return { isAttached: attachedSession(request) !== undefined };
  }
}

@Injectable()
class TeapotGuard extends SessionGuard {
  protected override refuse(error: SessionError, context: ExecutionContext): never {
    throw new HttpException({ refused: error.code, handler: context.getHandler().name }, 418);
  }
}

@Controller('teapot')
@UseGuards(TeapotGuard)
class TeapotController {
  @Get()
  brew(@Session('userId') userId: string): object {
    return { userId };
  }
}

/** The application's own cookie parser, in the form of its adapter. It marks the values that it has parsed. */
function installParser(app: INestApplication): void {
  if (app.getHttpAdapter().getType() === 'express') {
    app.use(cookieParser());
    app.use((request: WithCookies, _response: unknown, next: () => void) => {
      request.cookies!['parsedBy'] = 'the application';
      next();
    });
  } else {
    const fastify = app.getHttpAdapter().getInstance() as FastifyInstance;
    // As @fastify/cookie does it.
    fastify.decorateRequest('cookies', null);
    fastify.addHook('onRequest', async (request) => {
      (request as unknown as WithCookies).cookies = { parsedBy: 'the application' };
    });
  }
}

const FOREIGN = { headers: { 'sec-fetch-site': 'cross-site' } };

describe.each(adapters)('the guard over %s', (adapter) => {
  const start = accountApps(adapter);

  it.each([
    { on: 'a route', controller: PerRouteController, guarded: '/per-route/guarded', open: '/per-route/open' },
    {
      on: 'a controller, but for a skipped handler',
      controller: PerControllerController,
      guarded: '/per-controller/guarded',
      open: '/per-controller/skipped',
    },
    {
      on: 'a handler that undoes the skipping of its controller',
      controller: SkippedController,
      guarded: '/skipped/guarded',
      open: '/skipped/open',
    },
  ])('works on $on', async ({ controller, guarded, open }) => {
    const app = await start({}, { metadata: { controllers: [controller] } });
    expect(await app.browser().get(guarded)).toMatchObject(refusal(401, 'no_credentials'));
    expect(await app.browser().get(open)).toMatchObject({ status: 200, body: { hasSession: false } });

    const browser = await app.signIn();
    expect(await browser.get(guarded)).toMatchObject({ status: 200, body: { userId: 'alice' } });
    expect(await browser.get(open)).toMatchObject({ status: 200, body: { hasSession: false } });
  });

  it('works for the whole application as APP_GUARD', async () => {
    const app = await start(
      {},
      {
        metadata: {
          controllers: [PerRouteController, SkippedController],
          providers: [{ provide: APP_GUARD, useExisting: SessionGuard }],
        },
      },
    );
    const everyRoute = ['/per-route/guarded', '/per-route/open', '/skipped/guarded'];
    for (const path of everyRoute) {
      expect(await app.browser().get(path), `at ${path}`).toMatchObject(refusal(401, 'no_credentials'));
    }
    expect((await app.browser().get('/skipped/open')).status).toBe(200);

    const browser = await app.signIn();
    for (const path of everyRoute) expect((await browser.get(path)).status, `at ${path}`).toBe(200);
    expect(await browser.get('/per-route/open')).toMatchObject({ body: { hasSession: true } });
  });

  it.each([
    { as: 'class', provider: { provide: APP_GUARD, useClass: SessionGuard } },
    { as: 'existing provider', provider: { provide: APP_GUARD, useExisting: SessionGuard } },
  ])('authenticates once when it stands before a route twice (APP_GUARD by $as)', async ({ provider }) => {
    const log = new QueryLog();
    const first = await start();
    const app = await start(
      { revocation: 'database', database: { ...first.database.options, logger: log } },
      { database: first.database, metadata: { providers: [provider] } },
    );
    const browser = await app.signIn();
    log.take();
    expect((await browser.get('/me')).status).toBe(200);
    expect(log.take()).toHaveLength(1);
  });

  it('lets a subclass answer refused requests in its own way', async () => {
    const app = await start({}, { metadata: { controllers: [TeapotController] } });
    expect(await app.browser().get('/teapot')).toMatchObject({
      status: 418,
      body: { refused: 'no_credentials', handler: 'brew' },
    });
    const browser = await app.signIn();
    expect(await browser.get('/teapot')).toMatchObject({ status: 200, body: { userId: 'alice' } });
  });
});

describe.each(adapters)('an optional session over %s', (adapter) => {
  const start = accountApps(adapter);
  const metadata = { controllers: [OptionalController] };

  it('is there for who is signed in, and undefined for who is not', async () => {
    const app = await start({}, { metadata });
    expect(await app.browser().get('/optional/visitor')).toMatchObject({
      status: 200,
      body: { hasSession: false, userId: null },
    });
    const browser = await app.signIn();
    expect(await browser.get('/optional/visitor')).toMatchObject({
      status: 200,
      body: { hasSession: true, userId: 'alice' },
    });
  });

  it('is refreshed on the way like any other', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    pass('16m');
    const answer = await browser.get('/optional/visitor');
    expect(answer).toMatchObject({ status: 200, body: { userId: 'alice' } });
    expect(answer.setCookies).toHaveLength(2);
  });

  it('is undefined when the session is over, and the cookies go', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    await app.sessions.revokeAllForUser('alice');
    pass('1m');
    const answer = await browser.get('/optional/visitor');
    expect(answer).toMatchObject({ status: 200, body: { hasSession: false } });
    expect(clearsCookies(answer)).toBe(true);
  });

  it('is undefined when it turns out to be stolen, which still ends it', async () => {
    const app = await start({ reuseWindow: 0 }, { metadata });
    const browser = await app.signIn();
    pass('16m');
    const thief = browser.copy();
    await browser.get('/me');
    await browser.get('/me');
    pass('16m');
    const answer = await thief.get('/optional/visitor');
    expect(answer).toMatchObject({ status: 200, body: { hasSession: false } });
    expect(clearsCookies(answer)).toBe(true);
    expect(await browser.get('/me')).toMatchObject(refusal(401, 'session_over'));
  });

  it.each([{}, { refreshPath: '/refresh' }])(
    'is undefined for who holds nothing but an access token that is no longer good: %o',
    async (options) => {
      const app = await start(options, { metadata });
      const browser = await app.signIn();
      browser.delete('session_refresh');
      pass('16m');
      const visitor = { status: 200, body: { hasSession: false } };
      expect(await browser.get('/optional/visitor')).toMatchObject(visitor);
      const headers = { authorization: 'Bearer of-another-system' };
      expect(await app.browser().get('/optional/visitor', { headers })).toMatchObject(visitor);
    },
  );

  it.each(foreignTokens)('is undefined where the bearer token is somebody else’s: %s', async (_, token) => {
    const headers = { authorization: `Bearer ${token}` };
    for (const options of [{}, { refresh: 'endpoint' as const, refreshPath: '/refresh' }]) {
      const app = await start(options, { metadata });
      const answer = await app.browser().get('/optional/visitor', { headers });
      expect(answer).toMatchObject({ status: 200, body: { hasSession: false } });
      expect((await app.browser().get('/me', { headers })).status).toBe(401);
      // Beside it, the client's own cookies count as ever.
      const browser = await app.signIn();
      expect(await browser.get('/optional/visitor', { headers })).toMatchObject({
        body: { hasSession: true },
      });
      browser.delete('session_refresh');
      pass('16m');
      const expired = await browser.get('/optional/visitor', { headers });
      expect(expired.status).toBe(options.refresh === undefined ? 200 : 401);
    }
  });

  it('is not undefined in endpoint mode for who has a bearer token that was good, but is told to refresh', async () => {
    const app = await start({ refresh: 'endpoint', refreshPath: '/refresh' }, { metadata });
    const token = (await app.sessions.tokens.issue({ userId: 'alice' })).accessToken.token;
    const get = async (bearer: string) =>
      app.browser().get('/optional/visitor', { headers: { authorization: `Bearer ${bearer}` } });
    expect(await get(token)).toMatchObject({ body: { hasSession: true } });
    expect(await get(`${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`)).toMatchObject(
      refusal(401, 'try_refresh'),
    );
    await app.sessions.rotateSigningKeys({ drop: 'all' });
    expect(await get(token)).toMatchObject(refusal(401, 'try_refresh'));
    const next = (await app.sessions.tokens.issue({ userId: 'alice' })).accessToken.token;
    pass('16m');
    expect(await get(next)).toMatchObject(refusal(401, 'try_refresh'));
  });

  it('is undefined again where the refresh route has found nothing to refresh', async () => {
    const app = await start({ refresh: 'endpoint', refreshPath: '/refresh' }, { metadata });
    const browser = await app.signIn();
    browser.delete('session_refresh');
    pass('16m');
    expect(await browser.get('/optional/visitor')).toMatchObject(refusal(401, 'try_refresh'));
    expect(await browser.post('/refresh')).toMatchObject(refusal(401, 'no_credentials'));
    expect(await browser.get('/optional/visitor')).toMatchObject({
      status: 200,
      body: { hasSession: false },
    });
  });

  it('stays with an access token that is good, where there is nothing to refresh', async () => {
    const app = await start({ refresh: 'endpoint', refreshPath: '/refresh' }, { metadata });
    const browser = await app.signIn();
    browser.delete('session_refresh');
    expect(await browser.post('/refresh')).toMatchObject(refusal(401, 'no_credentials'));
    expect(await browser.get('/optional/visitor')).toMatchObject({ status: 200, body: { hasSession: true } });
  });

  it('must be there on a handler that undoes the option of its controller', async () => {
    const app = await start({}, { metadata });
    expect(await app.browser().get('/optional/guarded')).toMatchObject(refusal(401, 'no_credentials'));
  });

  it('does not let a forged request of a signed-in user through as a visitor', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    expect(await browser.post('/optional/checked', {}, FOREIGN)).toMatchObject(refusal(403, 'csrf_failed'));
    expect((await app.browser().post('/optional/checked', {}, FOREIGN)).status).toBe(201);
  });

  it('is not checked for forgery where that is skipped', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    expect(await browser.post('/optional/unsafe', {}, FOREIGN)).toMatchObject({
      status: 201,
      body: { userId: 'alice' },
    });
  });
});

describe.each(adapters)('what a guarded handler gets over %s', (adapter) => {
  const start = accountApps(adapter);
  const metadata = { controllers: [PropertiesController] };

  it.each([{ userId: 'alice' }, { userId: '1' }, { userId: 1 }, { userId: '{"i":1}' }, { userId: 'Zoë 😀' }])(
    'is the session and each property of it: user $userId',
    async ({ userId }) => {
      const app = await start({}, { metadata });
      const browser = await app.signIn({ userId, claims: { role: 'user' } });
      // Signed in; refreshed; proven, which leaves the expiry as it was.
      for (const [pause, secondsLeft] of [
        ['0s', 900],
        ['16m', 900],
        ['90s', 810],
      ] as const) {
        pass(pause);
        const session = {
          id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
          userId,
          claims: { role: 'user' },
          tokenIssuedAt: new Date().toISOString(),
          tokenExpiresAt: new Date(Date.now() + secondsLeft * 1_000).toISOString(),
        };
        expect(await browser.get('/properties')).toMatchObject({
          status: 200,
          body: {
            isActiveSession: true,
            isAttached: true,
            areDates: true,
            session,
            properties: session,
          },
        });
      }
    },
  );

  it('is no session where the guard was told to look for none', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    expect(await browser.get('/properties/unattached')).toMatchObject({ body: { isAttached: false } });
  });

  it('has the cookies of the request without a cookie parser', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    const { name, value } = cookieOf(browser, 'session_access');
    const cookie = `${name}=${value}; theme=dark%20blue; cart=j:{"items":[1]}`;
    expect(await browser.get('/properties/cookies', { headers: { cookie } })).toMatchObject({
      body: { cookies: { [name]: value, theme: 'dark blue', cart: { items: [1] } } },
    });
  });

  it("has the application's own req.cookies where there are some", async () => {
    const app = await start({}, { metadata, configure: installParser });
    const browser = await app.signIn();
    expect(await browser.get('/properties/cookies')).toMatchObject({
      status: 200,
      body: { cookies: { parsedBy: 'the application' } },
    });
  });
});
