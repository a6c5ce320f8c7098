import type { ModulesContainer } from '@nestjs/core';
import { InvalidOptionError } from '../errors/session.errors.js';
import type { SessionEvent } from '../session/session-event.js';
import type { SessionEvents } from '../session/session-events.js';

/**
 * Injection token of the application's {@link SessionObserver}. Any module may provide it, and several may.
 *
 * @example
 * ```ts
 * providers: [{ provide: SESSION_OBSERVER, useClass: AuditLog }]
 * ```
 */
export const SESSION_OBSERVER = Symbol('SESSION_OBSERVER');

/** Hears the events of all session modules of the application; see {@link SESSION_OBSERVER}. */
export interface SessionObserver {
  /**
   * Called after what has happened has been committed. Nobody waits for the promise. An error is logged, and harms nobody.
   */
  onSessionEvent(event: SessionEvent): unknown;
}

/** Tells the observers that the application provides of the events. All providers exist when this is called. */
export function attachObservers(events: SessionEvents, modules: ModulesContainer): void {
  for (const observer of observersIn(modules)) events.observe((event) => observer.onSessionEvent(event));
  for (const emitter of emittersIn(modules)) {
    events.observe((event) => emitter.emit(`session.${event.type}`, event));
  }
}

/** What is used of an `EventEmitter2`. */
interface Emitter {
  emit(name: string, event: SessionEvent): unknown;
  /** Node's emitters, whose names of events nobody has agreed on with the application, do not have it. */
  onAny(listener: () => void): unknown;
}

/**
 * The emitter of Nest's `EventEmitterModule`, if the application has it. It is known by the name of that module, so that this
 * package does not need `@nestjs/event-emitter`, and finds whichever copy of it the application has.
 */
function emittersIn(modules: ModulesContainer): ReadonlySet<Emitter> {
  const emitters = new Set<Emitter>();
  for (const { metatype, providers } of modules.values()) {
    if (metatype?.name !== 'EventEmitterModule') continue;
    for (const { instance } of providers.values()) if (isEmitter(instance)) emitters.add(instance);
  }
  return emitters;
}

function isEmitter(instance: unknown): instance is Emitter {
  const { emit, onAny } = (instance ?? {}) as Partial<Record<keyof Emitter, unknown>>;
  return typeof emit === 'function' && typeof onAny === 'function';
}

/** @throws {@link InvalidOptionError} */
function observersIn(modules: ModulesContainer): ReadonlySet<SessionObserver> {
  const observers = new Set<SessionObserver>();
  for (const { providers } of modules.values()) {
    const provider = providers.get(SESSION_OBSERVER);
    if (!provider) continue;
    // Nest makes such a provider for each request. Most events have none.
    if (!provider.isDependencyTreeStatic()) {
      throw new InvalidOptionError('SESSION_OBSERVER', 'is request-scoped. An observer must be a singleton.');
    }
    const observer = provider.instance as Partial<SessionObserver> | null | undefined;
    if (typeof observer?.onSessionEvent !== 'function') {
      throw new InvalidOptionError('SESSION_OBSERVER', 'must have a method onSessionEvent(event).');
    }
    observers.add(observer as SessionObserver);
  }
  return observers;
}
