import { once } from 'node:events';
import { createServer, type IncomingMessage, request as httpRequest, type Server } from 'node:http';
import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Controller, HttpCode, type INestApplication, Post, Req, Res } from '@nestjs/common';
import { RouterModule } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import {
  type HttpRequest,
  type HttpResponse,
  InjectSessionService,
  SessionModule,
  type SessionModuleExtras,
  type SessionModuleOptions,
  SessionService,
} from 'nestjs-session-tokens';
import { afterEach, describe, expect, it } from 'vitest';
import { type Adapter, adapters } from '../support/app.js';
import { Browser } from '../support/browser.js';
import { databases } from '../support/databases.js';
import { LogCapture } from '../support/log-capture.js';
import { pass } from '../support/time.js';
import { type AccountAppSettings, accountApps, cookieOf, refusal } from './account-app.js';

type Options = SessionModuleOptions & SessionModuleExtras;

/** What is in front of an application: another application, or a proxy. */
type Front = (app: INestApplication) => Server | Promise<Server>;

interface Place {
  readonly where: string;
  /** @default both */
  readonly adapters?: readonly Adapter[];
  readonly options?: Options;
  readonly settings?: Pick<AccountAppSettings, 'metadata' | 'configure'>;
  readonly front?: Front;
  /** What stands before the paths of the account's routes. @default nothing */
  readonly base?: string;
  /** The path at which the browser requests the refresh route. */
  readonly route: string;
  /** The path of the refresh cookie. @default that of the route */
  readonly path?: string;
  /** What the start says of the path. @default that it is the path of the route */
  readonly says?: RegExp;
}

interface Mountable {
  use(path: string | string[] | RegExp, handler: unknown): unknown;
}

/** Another application of Express in front. */
function express(mount: (outer: Mountable, app: INestApplication) => void | Promise<void>): Front {
  return async (app) => {
    const outer = new ExpressAdapter().getInstance();
    await mount(outer, app);
    return createServer(outer);
  };
}

const instanceOf = (app: INestApplication): unknown => app.getHttpAdapter().getInstance();

/** A proxy that removes a prefix from paths, as nginx does where `proxy_pass` ends with "/". */
function strippingProxy(prefix: string): Front {
  return (app) => {
    const { port } = app.getHttpServer().address() as AddressInfo;
    return createServer((incoming, outgoing) => {
      const { method, headers } = incoming;
      const path = incoming.url!.replace(prefix, '');
      incoming.pipe(
        httpRequest({ host: '127.0.0.1', port, path, method, headers }, (answer) => {
          outgoing.writeHead(answer.statusCode!, answer.rawHeaders);
          answer.pipe(outgoing);
        }),
      );
    });
  };
}

const under = (path: string, ...children: string[]) => {
  const route = [path, ...children].reduceRight<object>(
    (inner, each, i) =>
      i === children.length ? { path: each, module: SessionModule } : { path: each, children: [inner] },
    {},
  );
  return { metadata: { imports: [RouterModule.register([route as { path: string }])] } };
};

const prefixed = (...prefix: Parameters<INestApplication['setGlobalPrefix']>) => ({
  configure: (app: INestApplication) => void app.setGlobalPrefix(...prefix),
});

const URI_VERSIONS = { type: 0, defaultVersion: '1' } as const;

const PARAMETERS =
  /has parameters: \S+\. A cookie's path cannot have any, so browsers send .* to (\S+) and all/;

const places: Place[] = [
  { where: 'at the root', options: { refreshPath: '/' }, route: '/' },
  { where: 'at its own path', route: '/auth/refresh' },
  {
    where: 'with a path that has slashes too many',
    options: { refreshPath: '//auth/refresh/' },
    route: '/auth/refresh',
  },
  {
    where: 'requested with a slash at its end',
    adapters: ['express'],
    route: '/auth/refresh/',
    path: '/auth/refresh',
  },
  {
    where: 'with a path that URLs encode',
    options: { refreshPath: 'a b/é' },
    adapters: ['fastify'],
    route: '/a%20b/%C3%A9',
  },
  {
    where: 'with a path that is encoded already',
    options: { refreshPath: 'a%20b' },
    adapters: ['express'],
    route: '/a%20b',
  },
  {
    where: 'under a global prefix',
    settings: prefixed('api/v2'),
    base: '/api/v2',
    route: '/api/v2/auth/refresh',
  },
  {
    where: 'excluded from it',
    settings: prefixed('api', { exclude: ['auth/refresh'] }),
    base: '/api',
    route: '/auth/refresh',
  },
  {
    where: 'excluded from it by a wildcard',
    settings: prefixed('api', { exclude: ['auth/*path'] }),
    base: '/api',
    route: '/auth/refresh',
  },
  {
    where: 'excluded from it for another method',
    settings: prefixed('api', { exclude: [{ path: 'auth/refresh', method: 0 }] }),
    base: '/api',
    route: '/api/auth/refresh',
  },
  {
    where: 'under a global prefix with a parameter',
    settings: prefixed('t/:tenant'),
    base: '/t/acme',
    route: '/t/acme/auth/refresh',
    path: '/t',
    says: PARAMETERS,
  },
  {
    where: 'under one that begins with a parameter',
    settings: prefixed(':tenant/api'),
    base: '/acme/api',
    route: '/acme/api/auth/refresh',
    path: '/',
    says: PARAMETERS,
  },
  {
    where: 'with a parameter and a path of the application’s own',
    settings: prefixed('t/:tenant'),
    options: { cookies: { refreshPath: '/t/acme' } },
    base: '/t/acme',
    route: '/t/acme/auth/refresh',
    path: '/t/acme',
    says: /path \/t\/acme, but the refresh route is at \/t\/:tenant\/auth\/refresh/,
  },
  { where: 'in a module with a path', settings: under('api'), route: '/api/auth/refresh' },
  {
    where: 'in a nested module',
    settings: under('api', 'v1', 'people'),
    route: '/api/v1/people/auth/refresh',
  },
  {
    where: 'in a module with a parameter in its path',
    settings: under('t', ':tenant'),
    route: '/t/acme/auth/refresh',
    path: '/t',
    says: PARAMETERS,
  },
  {
    where: 'in a module under a global prefix',
    settings: { ...under('people'), ...prefixed('api') },
    base: '/api',
    route: '/api/people/auth/refresh',
  },
  {
    where: 'in a module, excluded from a global prefix',
    settings: { ...under('people'), ...prefixed('api', { exclude: ['people/auth/refresh'] }) },
    base: '/api',
    route: '/people/auth/refresh',
  },
  {
    where: 'in a module, where the exclusion is of another route',
    settings: { ...under('people'), ...prefixed('api', { exclude: ['auth/refresh'] }) },
    base: '/api',
    route: '/api/people/auth/refresh',
  },
  {
    where: 'among versioned routes',
    settings: { configure: (app) => void app.enableVersioning(URI_VERSIONS) },
    base: '/v1',
    route: '/auth/refresh',
  },
  {
    where: 'among versioned routes, in a module under a global prefix',
    settings: {
      ...under('people'),
      configure: (app) => void app.setGlobalPrefix('api').enableVersioning(URI_VERSIONS),
    },
    base: '/api/v1',
    route: '/api/people/auth/refresh',
  },
  {
    where: 'in an application mounted in another one',
    adapters: ['express'],
    front: express((outer, app) => void outer.use('/api', instanceOf(app))),
    base: '/api',
    route: '/api/auth/refresh',
  },
  {
    where: 'in one mounted twice',
    adapters: ['express'],
    settings: prefixed('v2'),
    front: express((outer, app) => {
      const middle = new ExpressAdapter().getInstance<Mountable>();
      middle.use('/b', instanceOf(app));
      outer.use('/a', middle);
    }),
    base: '/a/b/v2',
    route: '/a/b/v2/auth/refresh',
  },
  {
    where: 'in one mounted at a parameter',
    adapters: ['express'],
    front: express((outer, app) => void outer.use('/t/:tenant', instanceOf(app))),
    base: '/t/acme',
    route: '/t/acme/auth/refresh',
    path: '/t',
  },
  {
    where: 'in one mounted at two paths',
    adapters: ['express'],
    front: express((outer, app) => void outer.use(['/a', '/b'], instanceOf(app))),
    base: '/b',
    route: '/b/auth/refresh',
    path: '/',
  },
  {
    where: 'behind a proxy that removes a prefix',
    options: { cookies: { refreshPath: '/api/auth/refresh' } },
    front: strippingProxy('/api'),
    base: '/api',
    route: '/api/auth/refresh',
    says: /^$/,
  },
  {
    where: 'behind such a proxy, with a shorter path of the cookie',
    options: { cookies: { refreshPath: '/api' } },
    front: strippingProxy('/api'),
    base: '/api',
    route: '/api/auth/refresh',
    path: '/api',
    says: /path \/api, but the refresh route is at \/auth\/refresh/,
  },
  {
    where: 'with transparent refresh',
    options: { refresh: 'transparent' },
    route: '/auth/refresh',
    path: '/',
    says: /^$/,
  },
];

/** Where the cookie's path cannot be known, nobody stays signed in. A log line then says why, and what to set. */
const unknown: Omit<Place, 'options' | 'says'>[] = [
  {
    where: 'behind a proxy that removes a prefix',
    front: strippingProxy('/api'),
    base: '/api',
    route: '/api/auth/refresh',
    path: '/auth/refresh',
  },
  {
    where: 'in an application that a function calls',
    front: express(async (outer, app) => {
      const handle = app.getHttpServer().listeners('request')[0] as (
        request: IncomingMessage,
        response: ServerResponse,
      ) => void;
      outer.use('/api', (request: IncomingMessage, response: ServerResponse) => handle(request, response));
    }),
    base: '/api',
    route: '/api/auth/refresh',
    path: '/auth/refresh',
  },
];

/** Signs in to the second module of an application. */
@Controller('admin')
class AdminController {
  constructor(@InjectSessionService('admin') private readonly sessions: SessionService) {}

  @Post('login')
  @HttpCode(204)
  async login(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<void> {
    await this.sessions.create(request, response, { userId: 'root' });
  }
}

describe.each(adapters)('the refresh cookie reaches the refresh route over %s', (adapter) => {
  const apps = accountApps(adapter);
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });

  async function start({ options, settings, front }: Pick<Place, 'options' | 'settings' | 'front'>) {
    const log = new LogCapture();
    const app = await apps(
      { refresh: 'endpoint', refreshPath: 'auth/refresh', ...options },
      { ...settings, configure: (nest) => (nest.useLogger(log), settings?.configure?.(nest)) },
    );
    let { url } = app;
    if (front) {
      const server = await front(app.app);
      await once(server.listen(0, '127.0.0.1'), 'listening');
      servers.push(server);
      url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    }
    const said = () => log.lines.filter((line) => /refresh (cookie|route)/.test(line)).join('\n');
    return { app, browser: new Browser(url), said };
  }

  const isHere = (place: { adapters?: readonly Adapter[] }) => place.adapters?.includes(adapter) ?? true;

  it.each(places.filter(isHere))('$where', async ({ base = '', route, path = route, says, ...place }) => {
    const { browser, said } = await start(place);
    const isTransparent = place.options?.refresh === 'transparent';
    const atStart = said();
    // An application may be mounted, or put behind a proxy, after its start.
    const ofTheStart = place.front ? '/auth/refresh' : path;
    expect(atStart).toMatch(says ?? new RegExp(`The refresh cookie has the path \\S*${ofTheStart}\\.`));
    expect((await browser.post(`${base}/login`, { userId: 'alice' })).status).toBe(200);
    expect(cookieOf(browser, 'session_refresh').path).toBe(path);
    for (let round = 0; round < 2; round++) {
      pass('16m');
      expect((await browser.get(`${base}/me`)).status).toBe(isTransparent ? 200 : 401);
      expect((await browser.post(route)).status).toBe(204);
      expect(await browser.get(`${base}/me`)).toMatchObject({ status: 200, body: { userId: 'alice' } });
    }
    expect((await browser.post(`${base}/logout`)).status).toBe(204);
    expect(browser.cookies).toEqual([]);
    expect(
      said()
        .match(/The refresh cookie has the path \S+/g)
        ?.at(-1) ?? path,
    ).toContain(path);
    expect(said(), 'no warning is added').not.toContain('without a refresh cookie');
  });

  it.each(unknown.filter(isHere))(
    'or the log says what to set: $where',
    async ({ base = '', route, path = route, ...place }) => {
      const { browser, said } = await start(place);
      for (let i = 0; i < 2; i++) {
        await browser.post(`${base}/login`, { userId: 'alice' });
        expect(cookieOf(browser, 'session_refresh').path).toBe(path);
        pass('16m');
        expect(await browser.post(route)).toMatchObject(refusal(401, 'no_credentials'));
      }
      expect(said().match(/without a refresh cookie/g), 'once').toHaveLength(1);
      expect(said()).toContain(`"${path}"`);
      expect(said()).toContain('set cookies.refreshPath to that path');
    },
  );

  it('of its own module, where an application has several', async () => {
    const database = await databases[0]!.create();
    const admin = SessionModule.forRoot({
      name: 'admin',
      database: database.options,
      refresh: 'endpoint',
      refreshPath: 'admin/refresh',
      cookies: { accessName: 'admin_access', refreshName: 'admin_refresh', lookAgainName: 'admin_marker' },
    });
    try {
      const { browser } = await start({
        settings: { ...prefixed('api'), metadata: { imports: [admin], controllers: [AdminController] } },
      });
      await browser.post('/api/login', { userId: 'alice' });
      await browser.post('/api/admin/login');
      pass('16m');
      for (const path of ['/api/auth/refresh', '/api/admin/refresh']) {
        const answer = await browser.post(path);
        expect(answer.status).toBe(204);
        expect(answer.setCookies.map((each) => each.path)).toEqual(['/', path]);
      }
    } finally {
      await database.remove();
    }
  });

  it('or the start says that its path is not known, where an adapter changes it', async () => {
    const { said } = await start({
      settings: {
        configure(app) {
          const http = app.getHttpAdapter() as unknown as { post(path: string, handler: unknown): unknown };
          const post = http.post.bind(http);
          http.post = (path, handler) => post(`/somewhere${path}`, handler);
        },
      },
    });
    expect(said()).toMatch(/Nest has no route POST \/auth\/refresh, .* Set cookies\.refreshPath/);
  });

  it('and nobody warns of clients without cookies, or with those of another site', async () => {
    const { browser, said } = await start({});
    const atStart = said();
    for (const cookie of ['', '__Host-Http-session_access=junk', '__Host-Http-session_access=e30.e30.e30']) {
      const answer = await browser.post('/auth/refresh', undefined, { headers: { cookie } });
      expect(answer).toMatchObject(refusal(401, 'no_credentials'));
    }
    expect(said()).toBe(atStart);
  });
});
