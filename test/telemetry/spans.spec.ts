import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { context, trace } from '@opentelemetry/api';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { operations, type StatementRun, statements } from '../../lib/diagnostics/channels.js';
import { accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { findSecrets } from '../support/log-search.js';
import { pass } from '../support/time.js';
import { steps } from './steps.js';
import { useTelemetry } from './telemetry.js';

describe.each(adapters)('spans over %s', (adapter) => {
  const start = accountApps(adapter);
  const telemetry = useTelemetry();

  it('are children of the active span, and parents of the statements', async () => {
    const tracer = telemetry().tracerProvider.getTracer('test');
    const parent = tracer.startSpan('GET /me');
    // In the place of an instrumentation of HTTP.
    const configure = (app: { use(...handlers: unknown[]): unknown }) =>
      void app.use((_request: unknown, _response: unknown, next: () => void) =>
        context.with(trace.setSpan(context.active(), parent), next),
      );
    const app = await start({}, { configure });
    // In the place of an instrumentation of the database.
    const parents: Record<string, string | undefined> = {};
    const note = (run: unknown) => {
      const active = trace.getActiveSpan() as { name?: string } | undefined;
      parents[(run as StatementRun).statement] = active?.name;
    };
    subscribe(statements.name, note);
    try {
      const browser = await app.signIn();
      pass('16m');
      expect(await browser.get('/me')).toMatchObject({ status: 200 });
      pass('90s');
      expect(await browser.get('/me')).toMatchObject({ status: 200 });
    } finally {
      unsubscribe(statements.name, note);
    }
    expect(parents).toMatchObject({ insert: 'GET /me', redeem: 'session.refresh', prove: 'session.prove' });
    const spans = telemetry().spans.getFinishedSpans();
    expect(spans.map(({ name, attributes }) => [name, attributes['session_tokens.result']])).toEqual([
      ['session.refresh', 'exchanged'],
      ['session.prove', 'proven'],
    ]);
    for (const { parentSpanContext } of spans)
      expect(parentSpanContext?.spanId).toBe(parent.spanContext().spanId);
  });

  it('and metrics have no tokens, users, sessions or addresses, whatever happens', async () => {
    const told: string[] = [];
    for (const { prepare } of steps) {
      const app = await start();
      const subscription = app.sessions.events.subscribe(({ sessionId }) => void told.push(sessionId ?? ''));
      await (
        await prepare(app)
      )();
      subscription.unsubscribe();
    }
    const ids = told.filter((id) => id !== '');
    expect(ids.length).toBeGreaterThan(steps.length);
    const text = await telemetry().text();
    expect(text).toContain('session.refresh');
    expect(findSecrets(text, [...ids, 'alice', 'root', '127.0.0.1', 'Mozilla', 'evil.example'])).toEqual([]);
  });
});

describe('without telemetry', () => {
  const start = accountApps('express');
  afterEach(() => vi.restoreAllMocks());

  it('nothing is made for it', async () => {
    const published = [vi.spyOn(operations, 'publish'), vi.spyOn(statements, 'publish')];
    for (const { prepare } of steps) await (await prepare(await start()))();
    for (const publish of published) expect(publish).not.toHaveBeenCalled();
  });
});
