import type { CanActivate, Type, WebSocketAdapter } from '@nestjs/common';
import { type ApplicationConfig, MetadataScanner, type ModulesContainer } from '@nestjs/core';
import { GatewayDoor } from '../guard/gateway-door.js';
import type { GatewayCheck } from '../guard/handshake.js';
import { SessionGuard } from '../guard/session.guard.js';
import { logger } from '../util/logger.js';

// Keys of Nest's metadata. It exports them from other paths in each major version, or from a package that may be missing.
const GATEWAY = 'websockets:is_gateway';
const GATEWAY_OPTIONS = 'websockets:gateway_options';
const PORT = 'port';
const GUARDS = '__guards__';

type Module = ModulesContainer extends Map<string, infer T> ? T : never;
type Guard = Type<CanActivate> | CanActivate;

/** What Nest makes one server for. Gateways with the same address share its clients. */
interface Address {
  readonly port: number;
  readonly path: unknown;
  readonly namespace: unknown;
}

interface ServerOptions {
  readonly path?: unknown;
  readonly namespace?: unknown;
}

/** The applications whose adapters are known. An application may have several modules. */
const watched = new WeakSet<ApplicationConfig>();

/**
 * Has the clients of guarded gateways checked when they connect.
 *
 * Nest calls no guards then: whoever connects gets all that the gateway sends to everybody. The only thing between a client and
 * the gateway is the WebSocket adapter, whichever the application has. So the adapter is watched: which servers it makes, and
 * what it binds to their clients. Nest gets the adapter while it starts, after the providers were made. If a version of Nest
 * did this in another way, nothing would be watched, and the guard would still check each message.
 */
export function watchGateways(config: ApplicationConfig, modules: ModulesContainer): void {
  if (watched.has(config)) return;
  watched.add(config);
  const setAdapter = config.setIoAdapter.bind(config);
  config.setIoAdapter = (adapter) => {
    watchAdapter(adapter, (address) => checksOf(address, config, modules));
    setAdapter(adapter);
  };
  const present = config.getIoAdapter() as WebSocketAdapter | null | undefined;
  if (present) config.setIoAdapter(present);
}

function watchAdapter(adapter: WebSocketAdapter, checks: (address: Address) => GatewayCheck[]): void {
  const doors = new WeakMap<object, GatewayDoor>();
  const create = adapter.create.bind(adapter);
  const bindClientConnect = adapter.bindClientConnect.bind(adapter);

  adapter.create = (port, options: ServerOptions = {}) => {
    const server = create(port, options) as object;
    const door = doors.get(server) ?? new GatewayDoor(server);
    doors.set(server, door);
    const { path, namespace } = options;
    door.lead(() => checks({ port, path, namespace }));
    return server;
  };
  adapter.bindClientConnect = (server: object, callback: (...parameters: unknown[]) => void) => {
    const door = doors.get(server);
    return bindClientConnect(server, door ? door.guarded(callback) : callback) as unknown;
  };
}

/** The checks of all gateways that share a server. */
function checksOf(address: Address, config: ApplicationConfig, modules: ModulesContainer): GatewayCheck[] {
  const checks: GatewayCheck[] = [];
  for (const module of modules.values()) {
    for (const { metatype, isNotMetatype } of module.providers.values()) {
      if (isNotMetatype || !metatype || !Reflect.hasMetadata(GATEWAY, metatype)) continue;
      if (isAt(address, metatype)) checks.push(checkOf(metatype as Type, module, config));
    }
  }
  return checks;
}

function isAt(address: Address, gateway: object): boolean {
  const options = (Reflect.getMetadata(GATEWAY_OPTIONS, gateway) ?? {}) as ServerOptions;
  const port = (Reflect.getMetadata(PORT, gateway) ?? 0) as number;
  return (
    port === address.port &&
    options.path === address.path &&
    namespaceOf(options.namespace) === namespaceOf(address.namespace)
  );
}

/** Nest gives a namespace its leading slash. Namespaces can also be patterns and functions. */
function namespaceOf(namespace: unknown): unknown {
  if (typeof namespace !== 'string') return namespace;
  return namespace === '' ? undefined : namespace.replace(/^\/?/, '/');
}

function checkOf(type: Type, module: Module, config: ApplicationConfig): GatewayCheck {
  if (config.getGlobalRequestGuards().some(({ metatype }) => isSessionGuard(metatype as Type))) {
    warnOfScope('the global SessionGuard');
  }
  const onClass = (Reflect.getMetadata(GUARDS, type) ?? []) as Guard[];
  const required = new Set([
    ...config.getGlobalGuards().filter((guard) => guard instanceof SessionGuard),
    ...sessionGuards(onClass, module),
  ]);
  const prototype = type.prototype as Record<string, object>;
  const onHandlers = new MetadataScanner()
    .getAllMethodNames(prototype)
    .flatMap((name) => (Reflect.getMetadata(GUARDS, prototype[name]!) ?? []) as Guard[]);
  const offered = new Set(sessionGuards(onHandlers, module).filter((guard) => !required.has(guard)));
  return { type, required: [...required], offered: [...offered] };
}

/** The instances of those guards that look for sessions. Others are for messages, as Nest has it. */
function sessionGuards(guards: readonly Guard[], { injectables }: Module): CanActivate[] {
  return guards.flatMap((guard) => {
    if (typeof guard !== 'function') return guard instanceof SessionGuard ? [guard] : [];
    if (!isSessionGuard(guard)) return [];
    const wrapper = injectables.get(guard);
    if (wrapper?.isDependencyTreeStatic()) return [wrapper.instance as CanActivate];
    warnOfScope(guard.name);
    return [];
  });
}

function isSessionGuard(guard: Type): boolean {
  return guard === SessionGuard || guard.prototype instanceof SessionGuard;
}

function warnOfScope(guard: string): void {
  logger.warn(
    `${guard} is request-scoped, and a connection is no request: it checks the messages of a gateway, but not who connects. Give it the default scope.`,
  );
}
