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
