import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import {
  Controller,
  Get,
  Header,
  HttpCode,
  Inject,
  type INestApplication,
  Post,
  Query,
  Req,
  Res,
  Sse,
  StreamableFile,
  UseGuards,
} from '@nestjs/common';
import {
  CurrentSession,
  type HttpRequest,
  type HttpResponse,
  OptionalSession,
  SessionGuard,
  SessionService,
} from 'nestjs-session-tokens';
import { of } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { type Adapter, adapters } from '../support/app.js';
import { accountApps } from './account-app.js';
import { pass } from '../support/time.js';

const PUBLIC = 'public, max-age=3600, s-maxage=3600';

@Controller('pages')
@UseGuards(SessionGuard)
@OptionalSession()
class PagesController {
  constructor(private readonly sessions: SessionService) {}

  @Get('public')
  @Header('Cache-Control', PUBLIC)
  public(): string {
    return 'public';
  }

  @Get('max-age')
  @Header('Cache-Control', 'max-age=60')
  maxAge(): string {
    return 'max-age';
  }

  @Get('private-and-shared')
  @Header('Cache-Control', 'private, s-maxage=60')
  privateAndShared(): string {
    return 'both';
  }

  @Get('targeted')
  @Header('CDN-Cache-Control', 'max-age=600')
  @Header('Surrogate-Control', 'max-age=600')
  targeted(): string {
    return 'targeted';
  }

  @Get('stream')
  @Header('Cache-Control', PUBLIC)
  stream(): StreamableFile {
    return new StreamableFile(Readable.from(['a', 'b']));
  }

  @Sse('events')
  @Header('Cache-Control', PUBLIC)
  events() {
    return of({ data: 'a' });
  }

  @Get('late')
  async late(@Res({ passthrough: true }) response: HttpResponse): Promise<string> {
    await new Promise((resolve) => setTimeout(resolve, 5));
    if ('header' in response) response.header('cache-control', PUBLIC);
    else response.setHeader('cache-control', PUBLIC);
    return 'late';
  }

  @Get('private')
  @Header('Cache-Control', 'private, max-age=60')
  private(): string {
    return 'private';
  }

  @Get('nothing')
  nothing(): string {
    return 'nothing';
  }

  @Get('no-store')
  @Header('Cache-Control', 'no-store')
  noStore(): string {
    return 'no-store';
  }

  @Get('claims')
  @Header('Cache-Control', PUBLIC)
  async claims(@CurrentSession() session?: { updateClaims(claims: object): Promise<void> }): Promise<string> {
    await session?.updateClaims({ seen: true });
    return 'claims';
  }

  @Get('sign-in')
  @Header('Cache-Control', PUBLIC)
  async signIn(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<string> {
    await this.sessions.create(request, response, { userId: 'alice' });
    return 'signed in';
  }
}

/** What writes its headers itself, as middleware for static files does. */
function staticFiles(adapter: Adapter): (app: INestApplication) => void {
  return (app) => {
    if (adapter === 'fastify') return;
    const serve = async (request: HttpRequest, response: ServerResponse) => {
      await app.get(SessionService).authenticate(request, response);
      response.writeHead(200, { 'cache-control': PUBLIC, 'content-type': 'text/plain' }).end('file');
    };
    app.use('/static', (request: HttpRequest, response: ServerResponse, next: (error: unknown) => void) => {
      serve(request, response).catch(next);
    });
  };
}

/** Whether a shared cache may store an answer (RFC 9111, 3). */
function isShared(headers: Headers): boolean {
  if (headers.has('cdn-cache-control') || headers.has('surrogate-control')) return true;
  const cacheControl = headers.get('cache-control') ?? '';
  if (/no-store/.test(cacheControl)) return false;
  return !/private/.test(cacheControl) || /public|s-maxage/.test(cacheControl);
}

describe.each(adapters)('a shared cache over %s', (adapter) => {
  const apps = accountApps(adapter);
  const start = () =>
    apps({}, { metadata: { controllers: [PagesController] }, configure: staticFiles(adapter) });

  const paths = [
    '/pages/public',
    '/pages/max-age',
    '/pages/private-and-shared',
    '/pages/targeted',
    '/pages/stream',
    '/pages/events',
    '/pages/late',
    '/pages/claims',
    '/pages/sign-in',
    ...(adapter === 'express' ? ['/static/file.txt'] : []),
  ];

  it.each(paths)('stores no answer that carries tokens: %s', async (path) => {
    const app = await start();
    const browser = await app.signIn();
    for (const pause of ['16m', '91s']) {
      pass(pause);
      const answer = await browser.get(path);
      expect(answer.status).toBe(200);
      expect(answer.setCookies.length, `cookies after ${pause}`).toBeGreaterThan(0);
      expect(isShared(answer.headers)).toBe(false);
    }
  });

  it('nor one with a token in a header', async () => {
    const app = await start();
    const { tokens } = app.sessions;
    const { refreshToken } = await tokens.issue({ userId: 'alice' });
    pass('16m');
    const { accessToken } = await tokens.refresh(refreshToken.token);
    pass('91s');
    const headers = { authorization: `Bearer ${accessToken.token}` };
    const answer = await app.browser().get('/pages/public', { headers });
    expect(answer.headers.has('access-token')).toBe(true);
    expect(isShared(answer.headers)).toBe(false);
  });

  it('goes by what the application says of all others', async () => {
    const app = await start();
    const browser = await app.signIn();
    expect((await browser.get('/pages/public')).headers.get('cache-control')).toBe(PUBLIC);
    expect((await app.browser().get('/pages/public')).headers.get('cache-control')).toBe(PUBLIC);
    expect((await browser.get('/pages/targeted')).headers.get('cdn-cache-control')).toBe('max-age=600');
  });

  it.each([
    ['private', 'private, max-age=60'],
    ['no-store', 'no-store'],
  ])('and by stricter settings: %s', async (path, expected) => {
    const app = await start();
    const browser = await app.signIn();
    pass('16m');
    const answer = await browser.get(`/pages/${path}`);
    expect(answer.setCookies.length).toBeGreaterThan(0);
    expect(answer.headers.get('cache-control')).toBe(expected);
  });
});

describe.each(adapters)('responses with a session over %s', (adapter) => {
  const apps = accountApps(adapter);
  const start = (isPrivate: boolean | undefined) =>
    apps({ caches: { private: isPrivate } }, { metadata: { controllers: [PagesController] } });

  it.each<[path: string, off: string | null, on: string | null]>([
    ['/me', null, 'private'],
    ['/visitor', null, 'private'],
    ['/pages/public', PUBLIC, PUBLIC],
    ['/pages/late', PUBLIC, PUBLIC],
    ['/pages/private', 'private, max-age=60', 'private, max-age=60'],
    ['/pages/no-store', 'no-store', 'no-store'],
    ['/pages/stream', PUBLIC, PUBLIC],
    ['/pages/nothing', null, null],
  ])('are private where the application says nothing else: %s', async (path, off, on) => {
    for (const [isPrivate, expected] of [
      [undefined, on],
      [false, off],
      [true, on],
    ] as const) {
      const app = await start(isPrivate);
      const browser = path === '/pages/nothing' ? app.browser() : await app.signIn();
      expect((await browser.get(path)).headers.get('cache-control'), `${isPrivate}`).toBe(expected);
    }
  });

  it('are not marked where nobody is signed in', async () => {
    const app = await start(true);
    for (const path of ['/visitor', '/me']) {
      expect((await app.browser().get(path)).headers.get('cache-control')).toBeNull();
    }
  });

  it('are stored by nobody if they carry a token, marked or not', async () => {
    const app = await start(true);
    const browser = await app.signIn();
    const answer = await browser.request('PUT', '/claims', { body: { step: 1 } });
    expect(answer.headers.get('cache-control')).toBe('private, no-store');
    pass('16m');
    expect((await browser.get('/me')).headers.get('cache-control')).toBe('private, no-store');
    pass('91s');
    expect((await browser.get('/me')).headers.get('cache-control')).toBe('private, no-store');
    expect((await browser.get('/me')).headers.get('cache-control')).toBe('private');
  });

  it('are still answered with 304, as Express does', async () => {
    const app = await start(true);
    const browser = await app.signIn();
    const etag = (await browser.get('/me')).headers.get('etag') ?? '"none"';
    const again = await browser.get('/me', { headers: { 'if-none-match': etag } });
    expect(again.status).toBe(adapter === 'express' ? 304 : 200);
    expect(again.headers.get('cache-control')).toBe('private');
  });
});

@Controller()
class FarewellController {
  constructor(@Inject(SessionService) private readonly sessions: SessionService) {}

  @Post('farewell')
  @HttpCode(204)
  farewell(@Res({ passthrough: true }) response: HttpResponse, @Query('own') own?: string): void {
    if (own !== undefined) {
      if ('header' in response) response.header('clear-site-data', own);
      else response.setHeader('clear-site-data', own);
    }
    this.sessions.clearCookies(response);
  }
}

describe.each(adapters)('signing out over %s', (adapter) => {
  const apps = accountApps(adapter);
  const start = (clearAtSignOut?: boolean) =>
    apps({ caches: { clearAtSignOut } }, { metadata: { controllers: [FarewellController] } });

  it.each<[path: string, expected: string]>([
    ['/logout', '"cache"'],
    ['/sign-out', '"cache"'],
    ['/farewell', '"cache"'],
    ['/farewell?own="storage"', '"storage", "cache"'],
    ['/farewell?own="cache","storage"', '"cache","storage"'],
    ['/farewell?own="*"', '"*"'],
  ])('clears the browser’s cache where the application wants it: %s', async (path, expected) => {
    const own = /own=(.*)/.exec(path)?.[1] ?? null;
    for (const [isOn, value] of [
      [true, expected],
      [false, own],
      [undefined, own],
    ] as const) {
      const browser = await (await start(isOn)).signIn();
      const answer = await browser.post(path);
      expect(answer.status).toBe(204);
      expect(browser.cookies).toEqual([]);
      expect(answer.headers.get('clear-site-data')).toBe(value);
    }
  });

  it('clears no cache when the server ends a session that is over', async () => {
    const app = await start(true);
    const browser = await app.signIn();
    await app.sessions.revokeAllForUser('alice');
    pass('16m');
    const answer = await browser.get('/me');
    expect(answer.status).toBe(401);
    expect(answer.headers.has('clear-site-data')).toBe(false);
    expect((await app.signIn()).cookies).toHaveLength(2);
  });
});
