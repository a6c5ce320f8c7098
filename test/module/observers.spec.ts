import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Injectable, Logger, type ModuleMetadata, Scope } from '@nestjs/common';
import { SESSION_OBSERVER, SessionModule, type SessionEvent, SessionService } from 'nestjs-session-tokens';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SESSION_CHANNEL, SessionEvents } from '../../lib/session/session-events.js';
import { asModule } from '../support/as-module.js';
import { pass, stopClock } from '../support/time.js';
import { applications } from './context.js';

/** What observers depend on. */
@Injectable()
class AuditTable {
  readonly events: SessionEvent[] = [];
}

/** It depends on the service whose events it hears. */
@Injectable()
class AuditLog {
  constructor(
    private readonly table: AuditTable,
    readonly sessions: SessionService,
  ) {}

  onSessionEvent(event: SessionEvent): void {
    this.table.events.push(event);
  }
}

const audit = asModule({
  providers: [AuditTable, { provide: SESSION_OBSERVER, useClass: AuditLog }],
  exports: [AuditTable],
});

/** Signs in, refreshes, and revokes. */
async function live(sessions: SessionService): Promise<void> {
  const { session, refreshToken } = await sessions.tokens.issue({ userId: 'ann' });
  pass('16m');
  await sessions.tokens.refresh(refreshToken.token);
  await sessions.revoke(session.id, { reason: 'admin' });
}
const ignore = () => undefined;

const LIFE = ['created', 'refreshed', 'revoked'];

describe('observers of an application', () => {
  const { start, database } = applications();
  beforeEach(() => stopClock());
  afterEach(() => {
    vi.restoreAllMocks();
    vi.useRealTimers();
  });

  it.each<[string, (options: object) => ModuleMetadata['imports']]>([
    ['forRoot', (options) => [SessionModule.forRoot({ isGlobal: true, ...options })]],
    [
      'forRootAsync',
      (options) => [SessionModule.forRootAsync({ isGlobal: true, useFactory: () => options })],
    ],
  ])('are taken from any module, with %s', async (_, imports) => {
    const { options } = await database();
    // The module with the observer comes first, and later, so that its place does not matter.
    const { context, sessions } = await start({
      imports: [audit, ...imports({ database: options })!],
      providers: [AuditTable, { provide: SESSION_OBSERVER, useClass: AuditLog }],
    });
    await live(sessions);
    const tables = context.get<unknown, AuditTable[]>(AuditTable, { strict: false, each: true } as never);
    expect(tables.map(({ events }) => events.map(({ type }) => type))).toEqual([LIFE, LIFE]);
  });

  it('hear of all session modules, each event once, and which module it is', async () => {
    const [users, admins] = [await database(), await database()];
    const cookies = { accessName: 'a', refreshName: 'r', lookAgainName: 'l' };
    const { context } = await start({
      imports: [
        SessionModule.forRoot({ isGlobal: true, database: users.options }),
        SessionModule.forRoot({ name: 'admin', database: admins.options, cookies }),
        audit,
      ],
    });
    const { sessions } = context.get<AuditLog>(SESSION_OBSERVER, { strict: false });
    const channel: SessionEvent[] = [];
    const listen = (event: unknown) => void channel.push(event as SessionEvent);
    subscribe(SESSION_CHANNEL, listen);
    try {
      await sessions.tokens.issue({ userId: 1 });
      await context
        .get<SessionService>('SessionService admin', { strict: false })
        .tokens.issue({ userId: 2 });
    } finally {
      unsubscribe(SESSION_CHANNEL, listen);
    }
    await sessions.tokens.issue({ userId: 3 });
    const { events } = context.get(AuditTable, { strict: false });
    const said = events.map(({ module, userId }) => [module, userId]);
    expect(said).toEqual([
      ['default', 1],
      ['admin', 2],
      ['default', 3],
    ]);
    expect(channel).toEqual(events.slice(0, 2));
  });

  it('are those of EventEmitterModule, too, by the type of the event', async () => {
    const { options } = await database();
    const emitted: [string, SessionEvent][] = [];
    /** In the place of that of @nestjs/event-emitter. */
    class EventEmitter2 {
      onAny(): void {}
      emit(name: string, event: SessionEvent): boolean {
        emitted.push([name, event]);
        throw new Error('of a listener');
      }
    }
    class Plain {
      readonly emit = (name: string, event: SessionEvent) => void emitted.push([name, event]);
    }
    class EventEmitterModule {
      readonly isOfNest = true;
    }
    const emitters = { module: EventEmitterModule, providers: [EventEmitter2, Plain] };
    const { sessions } = await start({
      imports: [SessionModule.forRoot({ database: options }), emitters],
      // The application's own emitters are its own.
      providers: [EventEmitter2],
    });
    vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    await live(sessions);
    expect(emitted.map(([name, { type }]) => [name, type])).toEqual(
      LIFE.map((type) => [`session.${type}`, type]),
    );
  });

  it('that are no observers stop the start', async () => {
    const { options } = await database();
    const imports = [SessionModule.forRoot({ database: options })];
    for (const [provider, message] of [
      [{ useValue: {} }, /must have a method onSessionEvent/],
      [{ useClass: class Scoped extends AuditTable {}, scope: Scope.REQUEST }, /is request-scoped/],
    ] as const) {
      const providers = [{ provide: SESSION_OBSERVER, ...provider }];
      await expect(start({ imports, providers })).rejects.toThrow(message);
    }
  });

  it('are the only reason to make events of sign-ins and refreshes', async () => {
    const { options } = await database();
    const { sessions } = await start({ imports: [SessionModule.forRoot({ database: options })] });
    const emit = vi.spyOn(SessionEvents.prototype, 'emit');
    await live(sessions);
    expect(emit.mock.calls.map(([{ type }]) => type)).toEqual(['revoked']);
    const subscription = sessions.events.subscribe();
    await live(sessions);
    subscription.unsubscribe();
    subscribe(SESSION_CHANNEL, ignore);
    await live(sessions);
    unsubscribe(SESSION_CHANNEL, ignore);
    await live(sessions);
    expect(emit.mock.calls.map(([{ type }]) => type)).toEqual(['revoked', ...LIFE, ...LIFE, 'revoked']);
  });
});
