import { type Logger, RequestMethod, type Type } from '@nestjs/common';
import type { ApplicationConfig, HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import { covers } from '../options/cookie-options.js';
import { joinPath } from '../options/option-checks.js';
import type { ResolvedOptions } from '../options/resolved-options.js';

/** What the path of a route depends on in a Nest application. */
export interface RoutingContext {
  readonly config: ApplicationConfig;
  readonly modules: ModulesContainer;
  readonly host: HttpAdapterHost;
}

/** Where `RouterModule` stores the path of a module. Nest exports no name for it. */
const MODULE_PATH = '__module_path__';

/** Characters that routers do not take literally, and `;`, which ends a cookie's path. */
const SPECIAL = /[:*?+!(){}[\]\\;]/;

/** What is used here of an application of Express. */
interface ExpressApplication {
  readonly mountpath?: unknown;
  readonly parent?: ExpressApplication;
  readonly router?: ExpressRouter;
}

interface ExpressRouter {
  readonly stack?: readonly {
    readonly route?: { readonly path?: unknown; readonly methods?: Record<string, boolean> };
  }[];
}

/** What is used here of an instance of Fastify. */
interface FastifyApplication {
  hasRoute?(route: { method: string; url: string }): boolean;
}

/** The ready-made refresh route, and the path that its cookie needs so that browsers send it there. */
export class RefreshRoute {
  private inNest: string | undefined;
  /** Tells of the cookie's path, if it is not the one that was announced. */
  private correct: (path: string) => void = () => undefined;

  /** @param controller of the route; `undefined` if the module has no ready-made route */
  constructor(
    private readonly context: RoutingContext,
    private readonly controller: Type | undefined,
    private readonly options: Pick<ResolvedOptions, 'transport' | 'refresh' | 'refreshPath' | 'cookies'>,
  ) {}

  /**
   * The longest path of a cookie that browsers send to the route. Call this when requests come, not earlier: an application
   * of Express may be mounted in another one after it was initialised.
   */
  cookiePath(): string {
    const path = literalPart(this.pattern);
    this.correct(path);
    return path;
  }

  /**
   * Tells which path the refresh cookie has, and warns if browsers may not send it to the route. Call this after Nest has
   * registered its routes.
   */
  announce(logger: Pick<Logger, 'log' | 'warn'>): void {
    // A context without HTTP has no routes.
    if (!this.controller || !this.context.host.httpAdapter) return;
    this.inNest = this.pathInNest();
    const { transport, refresh, cookies } = this.options;
    if (transport === 'header') return;
    if (refresh === 'transparent' || cookies.refreshPath !== undefined) {
      this.checkConfigured(cookies.refreshPath ?? cookies.path, logger);
    } else if (this.isRegistered() === false) {
      logger.warn(
        `Nest has no route POST ${this.inNest}, so the path of the refresh route is not known. Browsers may not send the refresh cookie to it, and users would be signed out when their access token expires. Set cookies.refreshPath to the path that browsers request.`,
      );
    } else if (this.cookiePath() !== asInUrl(this.pattern)) {
      logger.warn(
        `The path of the refresh route has parameters: ${this.pattern}. A cookie's path cannot have any, so browsers send the refresh cookie to ${this.cookiePath()} and all paths below it. Set cookies.refreshPath to choose another path.`,
      );
    } else {
      logger.log(
        `The refresh cookie has the path ${this.cookiePath()}. If browsers request the refresh route at another path, because a proxy changes paths, set cookies.refreshPath to that path.`,
      );
      const announced = this.cookiePath();
      this.correct = (path) => {
        if (path === announced) return;
        logger.log(`The application is mounted in another one. The refresh cookie has the path ${path}.`);
        this.correct = () => undefined;
      };
    }
  }

  private checkConfigured(cookiePath: string, logger: Pick<Logger, 'warn'>): void {
    const route = asInUrl(this.pattern);
    // A path that ends with the route's is that of the route behind a proxy which removes a prefix.
    if (covers(cookiePath, route) || cookiePath.endsWith(route)) return;
    logger.warn(
      `The refresh cookie has the path ${cookiePath}, but the refresh route is at ${route}. Browsers do not send the cookie there, unless a proxy changes paths. Set cookies.refreshPath to the path at which browsers request the route.`,
    );
  }

  private get pattern(): string {
    return joinPath(this.mountPath(), this.inNest ?? this.pathInNest());
  }

  /** The path under which the adapter's instance is mounted in another application. */
  private mountPath(): string {
    const instance: ExpressApplication = this.context.host.httpAdapter?.getInstance() ?? {};
    let path = '';
    for (let app = instance; app.parent !== undefined; app = app.parent) {
      // Express also mounts at several paths and at regular expressions. No cookie path can match these exactly.
      path = joinPath(typeof app.mountpath === 'string' ? app.mountpath : '*', path);
    }
    return path;
  }

  /** The path in the Nest application, as Nest composes it: global prefix, path of the module, path of the controller. */
  private pathInNest(): string {
    const { config } = this.context;
    const path = joinPath(this.modulePath(), this.options.refreshPath ?? '');
    const isExcluded = (config.getGlobalPrefixOptions().exclude ?? []).some(
      ({ requestMethod, pathRegex }) =>
        [RequestMethod.ALL, RequestMethod.POST, -1].includes(requestMethod) && pathRegex.test(path),
    );
    return joinPath(isExcluded ? '' : config.getGlobalPrefix(), path);
  }

  /** The path that `RouterModule` has given to the module of the route. */
  private modulePath(): string {
    const { modules } = this.context;
    for (const { controllers, metatype } of modules.values()) {
      if (this.controller === undefined || !controllers.has(this.controller)) continue;
      const path: unknown =
        Reflect.getMetadata(MODULE_PATH + modules.applicationId, metatype) ??
        Reflect.getMetadata(MODULE_PATH, metatype);
      return typeof path === 'string' ? path : '';
    }
    return '';
  }

  /** Whether the router has the route; `undefined` if the router is neither that of Express nor that of Fastify. */
  private isRegistered(): boolean | undefined {
    const path = this.inNest!;
    const instance: ExpressApplication & FastifyApplication = this.context.host.httpAdapter.getInstance();
    if (typeof instance.hasRoute === 'function') return instance.hasRoute({ method: 'POST', url: path });
    return instance.router?.stack?.some(
      ({ route }) => route?.path === path && route.methods?.['post'] === true,
    );
  }
}

/** The part of a route's path before its first segment with a parameter or a wildcard. */
function literalPart(pattern: string): string {
  const segments = pattern.split('/');
  const end = segments.findIndex((segment) => SPECIAL.test(segment));
  return asInUrl(joinPath(...(end === -1 ? segments : segments.slice(0, end))));
}

/** A path as browsers write it into URLs. They compare cookie paths with that, character by character. */
function asInUrl(path: string): string {
  const url = new URL('http://localhost');
  url.pathname = path;
  return url.pathname;
}
