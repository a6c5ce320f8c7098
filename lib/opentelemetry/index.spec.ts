import { type Meter, type MeterProvider, trace, type TracerProvider } from '@opentelemetry/api';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterEach, describe, expect, it } from 'vitest';
import { operate, operations, statements, timeStatement } from '../diagnostics/channels.js';
import {
  KeysUnavailableError,
  LookAgainError,
  SessionOverError,
  StorageUnavailableError,
  TokenTheftError,
} from '../errors/session.errors.js';
import type { SessionEvent } from '../session/session-event.js';
import { SessionEvents } from '../session/session-events.js';
import { instrumentSessions } from './index.js';

const NOW = Date.UTC(2026, 0, 15);
const stale = {
  sessionId: 'the-session',
  userId: 'the-user',
  tokenId: 'the-token',
  kind: 'sibling',
  behind: 0,
  age: 1,
  sinceRotation: 1,
  device: { userAgent: 'the-agent', ip: 'the-address' },
} as const;
const request = { userAgent: 'the-agent', ip: 'the-address' };
const MODULE = { 'session_tokens.module': 'admin' };

/** A meter that keeps what it is given. */
class Recorder {
  readonly recorded: [metric: string, value: number, attributes: object][] = [];
  private readonly instrument = (metric: string) => {
    const keep = (value: number, attributes: object) => void this.recorded.push([metric, value, attributes]);
    return { add: keep, record: keep };
  };
  readonly provider = {
    getMeter: () =>
      ({
        createCounter: this.instrument,
        createHistogram: this.instrument,
        createObservableCounter: this.instrument,
        createObservableGauge: this.instrument,
        addBatchObservableCallback: () => undefined,
        removeBatchObservableCallback: () => undefined,
      }) as unknown as Meter,
  } satisfies MeterProvider;

  take() {
    return this.recorded.splice(0).map(([metric, value, attributes]) => [metric, value, attributes]);
  }
}

const refresh = async (run: () => Promise<string>) =>
  operate({ name: 'refresh', module: 'admin', run, resultOf: (result) => `${result}!` });
const fail = (error: Error) => async () => Promise.reject(error);
const fails = () => {
  throw new Error('of the telemetry');
};

let stop: () => void = () => undefined;
afterEach(() => stop());

describe('an event', () => {
  const emit = (event: object) =>
    new SessionEvents('admin').emit(event as Parameters<SessionEvents['emit']>[0], NOW);
  const session = { sessionId: 'the-session', userId: 'the-user' };
  const revoked = { type: 'revoked', ...session, reason: 'admin', by: 'the-root' };

  it.each<[SessionEvent['type'], object, [string, object][]]>([
    ['created', { type: 'created', ...session, device: request }, [['sessions.created', {}]]],
    ['refreshed', { type: 'refreshed', ...session }, []],
    [
      'revoked',
      { ...revoked, elsewhere: false },
      [['sessions.revoked', { 'session_tokens.reason': 'admin' }]],
    ],
    // The process that has revoked it counts it.
    ['revoked', { ...revoked, elsewhere: true }, []],
    ['stale', { type: 'stale', ...stale, request }, [['looks_again', { 'session_tokens.kind': 'sibling' }]]],
    ['theft', { type: 'theft', ...stale, request }, [['thefts', { 'session_tokens.kind': 'sibling' }]]],
    [
      'key_rotated',
      { type: 'key_rotated', purpose: 'refresh', kid: 'the-kid', signsFrom: new Date(NOW), dropped: [] },
      [['key.rotations', { 'session_tokens.purpose': 'refresh' }]],
    ],
    [
      'csrf_refused',
      {
        type: 'csrf_refused',
        method: 'POST',
        path: '/the-path',
        origin: 'the-origin',
        request,
        message: 'no',
      },
      [['csrf.refusals', {}]],
    ],
  ])('%s is counted with few attributes, and none of a person', (_, event, expected) => {
    const recorder = new Recorder();
    stop = instrumentSessions({ meterProvider: recorder.provider });
    emit(event);
    const all = expected.map(([name, attributes]) => [
      `session_tokens.${name}`,
      1,
      { ...MODULE, ...attributes },
    ]);
    expect(recorder.take()).toEqual(all);
    expect(JSON.stringify(all)).not.toContain('the-');
  });
});

describe('an operation', () => {
  const spans = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  afterEach(() => spans.reset());

  const UNSET = 0;
  const ERROR = 2;
  const damaged = new StorageUnavailableError('The column of session the-session is damaged.');

  it.each<[string, () => Promise<string>, number, object]>([
    ['works', async () => 'done', UNSET, { result: 'done!' }],
    ['tells to look again', fail(new LookAgainError(stale)), UNSET, { result: 'look_again' }],
    ['finds the session over', fail(new SessionOverError()), UNSET, { result: 'session_over' }],
    ['finds a theft', fail(new TokenTheftError('the-user', stale)), UNSET, { result: 'token_theft' }],
    ['has no database', fail(damaged), ERROR, { result: 'storage_unavailable' }],
    ['has no keys', fail(new KeysUnavailableError('the-key')), ERROR, { result: 'keys_unavailable' }],
    ['has a defect', fail(new TypeError('the-user is undefined')), ERROR, { result: 'error' }],
  ])('that %s is measured, and has a span', async (_, run, code, { result }: { result?: string }) => {
    const recorder = new Recorder();
    stop = instrumentSessions({ meterProvider: recorder.provider, tracerProvider: provider });
    const settled = await Promise.allSettled([refresh(run), run()]);
    // What it gives or throws is the same as without telemetry.
    expect(settled[0]).toEqual(settled[1]);
    const fault = code === ERROR ? { 'error.type': result } : {};
    const attributes = { ...MODULE, 'session_tokens.result': result, ...fault };
    expect(recorder.take()).toEqual([
      ['session_tokens.refresh.duration', expect.any(Number) as number, attributes],
    ]);
    const [span, ...others] = spans.getFinishedSpans();
    expect(others).toEqual([]);
    expect(span).toMatchObject({ name: 'session.refresh', attributes, status: { code }, events: [] });
    expect(JSON.stringify([span!.attributes, span!.status])).not.toContain('the-');
  });

  it.each<[string, TracerProvider, MeterProvider]>([
    [
      'a tracer that fails',
      { getTracer: () => ({ startSpan: fails, startActiveSpan: fails }) },
      new Recorder().provider,
    ],
    [
      'a meter that fails',
      provider,
      {
        getMeter: () => ({
          ...new Recorder().provider.getMeter(),
          createHistogram: () => ({ record: fails }),
        }),
      },
    ],
  ])('goes on with %s', async (_, tracerProvider, meterProvider) => {
    stop = instrumentSessions({ tracerProvider, meterProvider });
    expect(await refresh(async () => 'done')).toBe('done');
    await expect(refresh(fail(new SessionOverError()))).rejects.toThrow(SessionOverError);
    const names = { statement: 'find', module: 'admin' };
    expect(await timeStatement(names, async () => 'rows')).toBe('rows');
  });
});

describe('a statement', () => {
  it.each([
    ['succeeded', async () => 'rows'],
    ['failed', async () => Promise.reject(new Error('down'))],
  ])('that %s is measured', async (result, run) => {
    const recorder = new Recorder();
    stop = instrumentSessions({ meterProvider: recorder.provider });
    await timeStatement({ statement: 'find', module: 'admin' }, run).catch(() => undefined);
    const attributes = { ...MODULE, 'session_tokens.statement': 'find', 'session_tokens.result': result };
    expect(recorder.take()).toEqual([
      ['session_tokens.statement.duration', expect.any(Number) as number, attributes],
    ]);
  });
});

describe('the call', () => {
  it('subscribes until it is ended, so that others pay nothing', () => {
    expect([operations.hasSubscribers, statements.hasSubscribers]).toEqual([false, false]);
    const end = instrumentSessions();
    expect([operations.hasSubscribers, statements.hasSubscribers]).toEqual([true, true]);
    end();
    expect([operations.hasSubscribers, statements.hasSubscribers]).toEqual([false, false]);
    expect(new SessionEvents('admin').isObserved).toBe(false);
  });

  it('takes the global providers where none are given', async () => {
    const spans = new InMemorySpanExporter();
    trace.setGlobalTracerProvider(
      new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }),
    );
    try {
      stop = instrumentSessions();
      await operate({ name: 'prove', module: 'admin', run: async () => 1, resultOf: () => 'proven' });
      expect(spans.getFinishedSpans().map(({ name }) => name)).toEqual(['session.prove']);
    } finally {
      trace.disable();
    }
  });
});
