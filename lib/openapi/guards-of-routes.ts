import type { INestApplicationContext, Type } from '@nestjs/common';
import { ApplicationConfig, MetadataScanner, ModulesContainer, Reflector } from '@nestjs/core';
import { authenticatorOf, moduleOfGuard, SessionGuard } from '../guard/session.guard.js';
import { readRules, type RouteRules } from '../guard/session.metadata.js';
import type { AuthenticationFacts } from '../http/authentication-facts.js';
import { SAFE_METHODS } from '../http/csrf-check.js';
import type { SessionAuthenticator } from '../http/session-authenticator.js';
import { type ReadyMade, ReadyMadeRoute } from '../module/ready-made-route.js';
import { type NestModule, partsOf } from '../module/session-modules.js';

/** Where `@UseGuards()` stores guards. Nest exports no name for it. */
const GUARDS = '__guards__';

/** A guard that looks for a session in a request. */
export interface GuardedRequest {
  readonly facts: AuthenticationFacts;
  readonly rules: RouteRules;
  /** Whether the request may change something, by its method. */
  readonly isUnsafe: boolean;
}

/** A ready-made route, and what concerns its module. */
export interface ReadyMadeOperation {
  readonly kind: ReadyMade;
  readonly facts: AuthenticationFacts;
}

/** The controllers of an application, and the session guards of their handlers, as Nest finds them. */
export class GuardsOfRoutes {
  private readonly controllers = new Map<object, NestModule>();
  private readonly handlers = new Set<object>();
  private readonly authenticators = new Map<SessionAuthenticator, AuthenticationFacts>();
  private readonly config: ApplicationConfig;
  private readonly reflector: Reflector;

  constructor(app: INestApplicationContext) {
    this.config = app.get(ApplicationConfig);
    this.reflector = app.get(Reflector);
    const scanner = new MetadataScanner();
    for (const nestModule of app.get(ModulesContainer).values()) {
      for (const { metatype, instance } of nestModule.controllers.values()) {
        const prototype = Object.getPrototypeOf(instance) as Record<string, object>;
        this.controllers.set(metatype as Type, nestModule);
        for (const name of scanner.getAllMethodNames(prototype)) this.handlers.add(prototype[name]!);
      }
      const parts = partsOf(nestModule);
      if (parts) this.authenticators.set(parts.authenticator, parts.facts());
    }
  }

  /** All controllers and handlers. */
  get targets(): object[] {
    return [...this.controllers.keys(), ...this.handlers];
  }

  /** A request to a handler, for each guard that looks for a session. */
  requestsTo(controller: object, handler: object, method: string): GuardedRequest[] {
    const isUnsafe = !SAFE_METHODS.has(method.toUpperCase());
    const nestModule = this.controllers.get(controller);
    const bound = [controller, handler].flatMap(
      (target) => (Reflect.getMetadata(GUARDS, target) ?? []) as unknown[],
    );
    const guards = [
      ...this.config.getGlobalGuards(),
      ...this.config.getGlobalRequestGuards().map(({ instance }) => instance as unknown),
      ...bound.map((guard) =>
        typeof guard === 'function' ? nestModule?.injectables.get(guard)?.instance : guard,
      ),
    ];
    const facts = new Set(guards.map((guard) => this.factsOf(guard)));
    return [...facts]
      .filter((each) => each !== undefined)
      .map((each) => ({
        facts: each,
        rules: readRules(this.reflector, each.module, [handler as Type, controller as Type]),
        isUnsafe,
      }))
      .filter(({ rules }) => !rules.skip);
  }

  /** What a ready-made controller does, and with which module. */
  readyMade(controller: object): ReadyMadeOperation | undefined {
    const kind = this.reflector.get(ReadyMadeRoute, controller as Type) as ReadyMade | undefined;
    const nestModule = this.controllers.get(controller);
    const parts = nestModule && partsOf(nestModule);
    return kind && parts && { kind, facts: parts.facts() };
  }

  private factsOf(guard: unknown): AuthenticationFacts | undefined {
    if (!(guard instanceof SessionGuard)) return undefined;
    const authenticator = authenticatorOf(guard);
    if (authenticator) return this.authenticators.get(authenticator);
    // Nest makes the guard for each request. Its class tells the module.
    const module = moduleOfGuard(guard.constructor as Type);
    return [...this.authenticators.values()].find((each) => each.module === module);
  }
}
