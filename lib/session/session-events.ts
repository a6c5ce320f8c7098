import { channel } from 'node:diagnostics_channel';
import { Observable, type Observer, type Operator, Subject, Subscriber, type Subscription } from 'rxjs';
import { logger } from '../util/logger.js';
import type { EndedSession } from '../storage/session.store.js';
import type { CheckedReason } from './revoke-options.js';
import type { NewSessionEvent, SessionEvent } from './session-event.js';

/** The name of the channel of `node:diagnostics_channel` with the events of all session modules of this process. */
export const SESSION_CHANNEL = 'nestjs-session-tokens:session';

/** The events of sessions, for the application and for the module itself. They are delivered after they have been committed. */
export class SessionEvents {
  private readonly subject = new Subject<SessionEvent>();
  private readonly own: ((event: SessionEvent) => void)[] = [];
  private observers: ((event: SessionEvent) => unknown)[] = [];
  private readonly channel = channel(SESSION_CHANNEL);

  readonly stream: Observable<SessionEvent> = new HarmlessObservable((subscriber) =>
    this.subject.subscribe(subscriber),
  );

  /** @param module name of the module */
  constructor(readonly module: string) {}

  /** Whether the application listens. If it does not, frequent events need not be made. */
  get isObserved(): boolean {
    return this.subject.observed || this.observers.length > 0 || this.channel.hasSubscribers;
  }

  /** Has a part of the module hear the events, before the application does. It does not count as an observer. */
  hear(listener: (event: SessionEvent) => void): void {
    this.own.push(listener);
  }

  /** Has a part of the application hear the events. It may fail. */
  observe(observer: (event: SessionEvent) => unknown): void {
    this.observers.push(observer);
  }

  /** @param at when it happened */
  emit(facts: NewSessionEvent, at: number): void {
    const event = { ...facts, at: new Date(at), module: this.module } as SessionEvent;
    for (const listener of this.own) listener(event);
    this.subject.next(event);
    for (const observer of this.observers) harmless(() => observer(event));
    if (this.channel.hasSubscribers) this.channel.publish(event);
  }

  /**
   * Tells of sessions that this process has ended, one event each. If nobody is named who has signed somebody out, it is they
   * themselves.
   *
   * @param at when it happened
   */
  emitRevoked(ended: readonly EndedSession[], { reason, by }: CheckedReason, at: number): void {
    for (const { id, userId, actor } of ended) {
      const who = by ?? (reason === 'logout' ? (actor?.userId ?? userId) : undefined);
      const facts = { sessionId: id, userId, actor: actor ?? undefined, reason, by: who, elsewhere: false };
      this.emit({ type: 'revoked', ...facts }, at);
    }
  }

  complete(): void {
    this.subject.complete();
    this.observers = [];
  }
}

/**
 * An observable whose observers may fail. RxJS throws the errors of an observer again where nobody can catch them, which ends
 * the process; so does Node with a promise that is rejected. Here they are logged, and the observer gets the next event.
 */
class HarmlessObservable<T> extends Observable<T> {
  /** What `pipe()` makes is of this class, too. */
  override lift<R>(operator?: Operator<T, R>): Observable<R> {
    const lifted = new HarmlessObservable<R>();
    lifted.source = this;
    lifted.operator = operator;
    return lifted;
  }

  override subscribe(
    observerOrNext?: Partial<Observer<T>> | ((value: T) => void) | null,
    error?: ((error: unknown) => void) | null,
    complete?: (() => void) | null,
  ): Subscription {
    // Operators pass errors on; only the last observer fails.
    if (observerOrNext instanceof Subscriber) return super.subscribe(observerOrNext);
    const isObserver = typeof observerOrNext === 'object' && observerOrNext !== null;
    const observer: Partial<Observer<T>> = isObserver
      ? observerOrNext
      : { next: observerOrNext ?? undefined, error: error ?? undefined, complete: complete ?? undefined };
    return super.subscribe({
      next: (value) => harmless(() => observer.next?.(value)),
      error: (reason: unknown) => harmless(() => (observer.error ? observer.error(reason) : report(reason))),
      complete: () => harmless(() => observer.complete?.()),
    });
  }
}

function harmless(call: () => unknown): void {
  try {
    const result = call();
    if (result instanceof Promise) result.catch(report);
  } catch (error) {
    report(error);
  }
}

function report(error: unknown): void {
  logger.error('An observer of session events failed.', error);
}
