import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import {
  type Attributes,
  type BatchObservableResult,
  context,
  diag,
  type MeterProvider,
  metrics,
  type Observable,
  type Span,
  SpanStatusCode,
  trace,
  type TracerProvider,
} from '@opentelemetry/api';
import {
  moduleStates,
  type Operation,
  operations,
  type StatementRun,
  statements,
} from '../diagnostics/channels.js';
import { SessionError, type SessionErrorCode } from '../errors/session.errors.js';
import type { SessionEvent } from '../session/session-event.js';
import { SESSION_CHANNEL } from '../session/session-events.js';

/** Where metrics and spans go. */
export interface SessionTelemetryOptions {
  /** @default the global one, which must have been registered before the call */
  readonly meterProvider?: MeterProvider;
  /** @default the global one */
  readonly tracerProvider?: TracerProvider;
}

/** The name of meter and tracer. */
const SCOPE = 'nestjs-session-tokens';

/*
 * The attributes. Each has few values. None ever has a user, a session, an address or a token.
 */
const MODULE = 'session_tokens.module';
const RESULT = 'session_tokens.result';
const REASON = 'session_tokens.reason';
const KIND = 'session_tokens.kind';
const PURPOSE = 'session_tokens.purpose';
const STATEMENT = 'session_tokens.statement';

/** The kinds of thefts. A token of a session that is over is none. */
const THEFTS = ['superseded', 'sibling'];

/** The buckets that the semantic conventions have for the duration of database operations, in seconds. */
const DURATION = {
  unit: 's',
  advice: { explicitBucketBoundaries: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10] },
};

/** Errors that are answers to a client. Others are faults. */
const ANSWERS: ReadonlySet<SessionErrorCode> = new Set(['look_again', 'session_over', 'token_theft']);

/**
 * Gives OpenTelemetry the metrics and spans of all session modules of this process, also of those that start later. Call it
 * once, after the SDK has been started. The attribute `session_tokens.module` has the name of the module.
 *
 * The spans `session.refresh` and `session.prove` are children of the active span, and parents of the spans that an
 * instrumentation of the database makes for their statements.
 *
 * @returns ends this
 * @example
 * ```ts
 * sdk.start();
 * instrumentSessions();
 * ```
 */
export function instrumentSessions({
  meterProvider = metrics,
  tracerProvider = trace,
}: SessionTelemetryOptions = {}): () => void {
  const meter = meterProvider.getMeter(SCOPE);
  const tracer = tracerProvider.getTracer(SCOPE);

  const created = meter.createCounter('session_tokens.sessions.created', {
    unit: '{session}',
    description: 'Sign-ins.',
  });
  const revoked = meter.createCounter('session_tokens.sessions.revoked', {
    unit: '{session}',
    description: 'Sessions that this process has revoked, except stolen ones.',
  });
  const thefts = meter.createCounter('session_tokens.thefts', {
    unit: '{session}',
    description: 'Sessions that were revoked because two parties held their tokens.',
  });
  const looksAgain = meter.createCounter('session_tokens.looks_again', {
    unit: '{request}',
    description: 'Requests with a refresh token that looked old. The client was told to look again.',
  });
  const csrfRefusals = meter.createCounter('session_tokens.csrf.refusals', {
    unit: '{request}',
    description: 'Requests that were refused because a page of another site may have sent them.',
  });
  const rotations = meter.createCounter('session_tokens.key.rotations', {
    unit: '{rotation}',
    description: 'Keys that this process has made, or has rotated by hand.',
  });
  const durations = {
    refresh: meter.createHistogram('session_tokens.refresh.duration', {
      ...DURATION,
      description: 'Exchanges of refresh tokens.',
    }),
    prove: meter.createHistogram('session_tokens.prove.duration', {
      ...DURATION,
      description: 'Proofs of a generation, by the first use of an access token after the reuse window.',
    }),
  };
  const statementDuration = meter.createHistogram('session_tokens.statement.duration', {
    ...DURATION,
    description: 'Statements on the tables of sessions and keys.',
  });
  const verifications = meter.createObservableCounter('session_tokens.access_token.verifications', {
    unit: '{verification}',
    description: 'Verifications of access tokens.',
  });
  const cacheHits = meter.createObservableCounter('session_tokens.access_token.cache_hits', {
    unit: '{verification}',
    description: 'Verifications of access tokens that needed no cryptography.',
  });
  const feedReads = meter.createObservableCounter('session_tokens.feed.reads', {
    unit: '{read}',
    description: 'Reads of the revocations of all processes.',
  });
  const feedLag = meter.createObservableGauge('session_tokens.feed.lag', {
    unit: 's',
    description: 'For how long no read of the revocations has succeeded although one was tried.',
  });
  const keyReads = meter.createObservableCounter('session_tokens.key.reads', {
    unit: '{read}',
    description: 'Reads of keys, from the database, the application or the key server.',
  });
  const keyAge = meter.createObservableGauge('session_tokens.key.age', {
    unit: 's',
    description: 'For how long the present key has been signing.',
  });

  const count = (message: unknown) => {
    const event = message as SessionEvent;
    const module = { [MODULE]: event.module };
    switch (event.type) {
      case 'created':
        return created.add(1, module);
      case 'revoked':
        // The process that has revoked it counts it.
        return event.elsewhere ? undefined : revoked.add(1, { ...module, [REASON]: event.reason });
      case 'theft':
        return thefts.add(1, { ...module, [KIND]: event.kind });
      case 'stale':
        return looksAgain.add(1, { ...module, [KIND]: event.kind });
      case 'csrf_refused':
        return csrfRefusals.add(1, module);
      case 'key_rotated':
        return rotations.add(1, { ...module, [PURPOSE]: event.purpose });
      case 'refreshed':
        // Refreshes are measured.
        return undefined;
    }
  };

  const measure = (message: unknown) => {
    const operation = message as Operation;
    const { name, module, run, resultOf } = operation;
    operation.run = async () => {
      const start = performance.now();
      const span = harmless(() => tracer.startSpan(`session.${name}`, { attributes: { [MODULE]: module } }));
      const end = (attributes: Attributes) => {
        harmless(() => {
          durations[name].record(secondsSince(start), { [MODULE]: module, ...attributes });
          span?.setAttributes(attributes).end();
        });
      };
      try {
        const result = await within(span, run);
        end({ [RESULT]: resultOf(result) });
        return result;
      } catch (error) {
        const result = error instanceof SessionError ? error.code : 'error';
        const isAnswer = ANSWERS.has(result as SessionErrorCode);
        // Without the message of the error, which may name a session.
        if (!isAnswer) harmless(() => span?.setStatus({ code: SpanStatusCode.ERROR }));
        end(isAnswer ? { [RESULT]: result } : { [RESULT]: result, 'error.type': result });
        throw error;
      }
    };
  };

  const time = (message: unknown) => {
    const { statement, module, duration, hasFailed } = message as StatementRun;
    statementDuration.record(duration / 1_000, {
      [MODULE]: module,
      [STATEMENT]: statement,
      [RESULT]: hasFailed ? 'failed' : 'succeeded',
    });
  };

  const seen = new Set<string>();
  const observed: Observable[] = [verifications, cacheHits, feedReads, feedLag, keyReads, keyAge];
  const observe = (results: BatchObservableResult) => {
    for (const { module: name, verifications: verified, feed, keys } of moduleStates()) {
      const module = { [MODULE]: name };
      if (!seen.has(name)) {
        seen.add(name);
        // An alert sees a counter rise, but not that it is there for the first time.
        for (const kind of THEFTS) thefts.add(0, { ...module, [KIND]: kind });
      }
      for (const result of ['valid', 'expired', 'invalid'] as const)
        results.observe(verifications, verified[result], { ...module, [RESULT]: result });
      results.observe(cacheHits, verified.cached, module);
      for (const result of ['succeeded', 'failed'] as const) {
        if (feed) results.observe(feedReads, feed.reads[result], { ...module, [RESULT]: result });
        for (const { purpose, reads } of keys)
          results.observe(keyReads, reads[result], { ...module, [PURPOSE]: purpose, [RESULT]: result });
      }
      if (feed) results.observe(feedLag, feed.lag / 1_000, module);
      for (const { purpose, age } of keys)
        if (age !== undefined) results.observe(keyAge, age / 1_000, { ...module, [PURPOSE]: purpose });
    }
  };

  // Node ends the process if a subscriber throws.
  const channels = [
    [SESSION_CHANNEL, (event: unknown) => harmless(() => count(event))],
    [operations.name, measure],
    [statements.name, (run: unknown) => harmless(() => time(run))],
  ] as const;
  for (const [channel, listener] of channels) subscribe(channel, listener);
  meter.addBatchObservableCallback(observe, observed);
  return () => {
    for (const [channel, listener] of channels) unsubscribe(channel, listener);
    meter.removeBatchObservableCallback(observe, observed);
  };
}

/** Runs a function with a span as the active one. */
function within<T>(span: Span | undefined, run: () => Promise<T>): Promise<T> {
  return span ? context.with(trace.setSpan(context.active(), span), run) : run();
}

/** No refresh may fail because of what measures it. */
function harmless<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    diag.error(`${SCOPE}: a measurement failed.`, error);
    return undefined;
  }
}

function secondsSince(start: number): number {
  return (performance.now() - start) / 1_000;
}
