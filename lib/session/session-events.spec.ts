import { Logger } from '@nestjs/common';
import { filter, map, type Observable, tap } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SessionEvent } from './session-event.js';
import { SessionEvents } from './session-events.js';

const NOW = Date.UTC(2026, 0, 15);

const event = { type: 'refreshed', sessionId: 's', userId: 'alice' } as const;

const fail = () => {
  throw new Error('of the observer');
};

type Events = Observable<SessionEvent>;

/** Observers that fail at each event. */
const OBSERVERS: Record<string, (events: Events) => unknown> = {
  'a function': (events) => events.subscribe(fail),
  'a function that waits': (events) =>
    events.subscribe(async () => Promise.reject(new Error('of the observer'))),
  'an object': (events) => events.subscribe({ next: fail }),
  'an object that waits': (events) => events.subscribe({ next: async () => Promise.resolve().then(fail) }),
  'behind operators': (events) =>
    events
      .pipe(filter(() => true))
      .pipe(map(() => 1))
      .subscribe(fail),
  'forEach, whose promise is handled': (events) => events.forEach(fail).catch(() => undefined),
};

const settle = () => new Promise((resolve) => setTimeout(resolve, 5));

describe('an observer of events that fails', () => {
  const unhandled = vi.fn<() => void>();
  let logged: ReturnType<typeof vi.spyOn>;
  beforeEach(() => {
    logged = vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    process.on('uncaughtException', unhandled).on('unhandledRejection', unhandled);
  });
  afterEach(() => {
    process.off('uncaughtException', unhandled).off('unhandledRejection', unhandled);
    vi.restoreAllMocks();
    unhandled.mockReset();
  });

  it.each(Object.entries(OBSERVERS))('harms nobody: %s', async (_, observe) => {
    const events = new SessionEvents('default');
    const seen: string[] = [];
    events.stream.subscribe(({ type }) => seen.push(`before ${type}`));
    observe(events.stream);
    events.stream.subscribe(({ type }) => seen.push(`after ${type}`));
    for (let count = 0; count < 2; count++) events.emit(event, NOW);
    await settle();
    expect(seen).toEqual(['before refreshed', 'after refreshed', 'before refreshed', 'after refreshed']);
    expect(unhandled).not.toHaveBeenCalled();
  });

  it('harms nobody if the application has provided it', async () => {
    const events = new SessionEvents('default');
    const seen: string[] = [];
    events.observe(fail);
    events.observe(async () => Promise.reject(new Error('of the observer')));
    events.observe(({ type }) => seen.push(type));
    events.emit(event, NOW);
    await settle();
    expect(seen).toEqual(['refreshed']);
    expect(unhandled).not.toHaveBeenCalled();
    expect(logged).toHaveBeenCalledTimes(2);
    events.complete();
    events.emit(event, NOW);
    expect(seen).toEqual(['refreshed']);
  });

  it('is logged, each time', async () => {
    const events = new SessionEvents('default');
    events.stream.pipe(filter(() => true)).subscribe(fail);
    events.emit(event, NOW);
    events.emit(event, NOW);
    await settle();
    expect(logged.mock.calls).toEqual(
      Array.from({ length: 2 }, () => ['An observer of session events failed.', expect.any(Error)]),
    );
  });

  it('in an operator, ends its own subscription and is logged once', async () => {
    const events = new SessionEvents('default');
    const seen: string[] = [];
    events.stream.pipe(tap(fail)).subscribe(() => seen.push('never'));
    events.stream.subscribe(({ type }) => seen.push(type));
    events.emit(event, NOW);
    events.emit(event, NOW);
    await settle();
    expect(seen).toEqual(['refreshed', 'refreshed']);
    expect(unhandled).not.toHaveBeenCalled();
    expect(logged).toHaveBeenCalledTimes(1);
  });

  it('and one with an error handler of its own gets what operators throw', () => {
    const events = new SessionEvents('default');
    const errors: unknown[] = [];
    events.stream.pipe(map(fail)).subscribe({ error: (error: unknown) => errors.push(error) });
    events.emit(event, NOW);
    expect(errors).toMatchObject([{ message: 'of the observer' }]);
    expect(logged).not.toHaveBeenCalled();
  });

  it('completes like any other', () => {
    const events = new SessionEvents('default');
    const complete = vi.fn<() => void>();
    events.stream.subscribe({ complete });
    events.stream.pipe(filter(() => true)).subscribe({ complete });
    events.complete();
    expect(complete).toHaveBeenCalledTimes(2);
  });
});
