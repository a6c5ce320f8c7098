import { AsyncLocalStorage } from 'node:async_hooks';
import { type Context, context, type ContextManager, ROOT_CONTEXT } from '@opentelemetry/api';
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { instrumentSessions } from 'nestjs-session-tokens/opentelemetry';
import { afterEach, beforeEach } from 'vitest';
import { handToSearch } from '../support/log-search.js';

/** Values by series, such as `thefts{module=default,kind=sibling}`. Of durations, the number of measurements. */
export type Series = Readonly<Record<string, number>>;

const PREFIX = 'session_tokens.';

/** What the module gives to OpenTelemetry's SDK. */
export class Telemetry {
  readonly spans = new InMemorySpanExporter();
  readonly tracerProvider = new BasicTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(this.spans)],
  });
  private readonly reader = new PeriodicExportingMetricReader({
    exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE),
    exportIntervalMillis: 2 ** 30,
  });
  private readonly meterProvider = new MeterProvider({ readers: [this.reader] });
  private readonly manager = new AsyncContextManager();
  private readonly stop: () => void;

  constructor() {
    context.setGlobalContextManager(this.manager);
    const { meterProvider, tracerProvider } = this;
    this.stop = instrumentSessions({ meterProvider, tracerProvider });
  }

  async metrics(): Promise<MetricData[]> {
    const { resourceMetrics, errors } = await this.reader.collect();
    if (errors.length > 0) throw new AggregateError(errors);
    return resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics);
  }

  async series(): Promise<Series> {
    const series: Record<string, number> = {};
    for (const { descriptor, dataPoints, dataPointType } of await this.metrics()) {
      for (const { attributes, value } of dataPoints) {
        const names = Object.entries(attributes).map(
          ([name, each]) => `${name.replace(PREFIX, '')}=${String(each)}`,
        );
        const isDuration = dataPointType === DataPointType.HISTOGRAM;
        series[`${descriptor.name.replace(PREFIX, '')}{${names.join(',')}}`] = isDuration
          ? (value as { count: number }).count
          : (value as number);
      }
    }
    return series;
  }

  /** All that has been exported, as text. */
  async text(): Promise<string> {
    const spans = this.spans
      .getFinishedSpans()
      .map(({ name, attributes, events, status }) => ({ name, attributes, events, status }));
    return JSON.stringify([await this.metrics(), spans]);
  }

  async end(): Promise<void> {
    handToSearch('telemetry', await this.text());
    this.stop();
    context.disable();
    await this.meterProvider.shutdown();
    await this.tracerProvider.shutdown();
  }
}

/** Telemetry for the tests of the describe block that this is called in. */
export function useTelemetry(): () => Telemetry {
  let telemetry: Telemetry;
  beforeEach(() => {
    telemetry = new Telemetry();
  });
  afterEach(() => telemetry.end());
  return () => telemetry;
}

/** The context follows promises, as with the SDK for Node. */
class AsyncContextManager implements ContextManager {
  private readonly storage = new AsyncLocalStorage<Context>();

  active(): Context {
    return this.storage.getStore() ?? ROOT_CONTEXT;
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    active: Context,
    call: F,
    thisArg?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    return this.storage.run(active, () => call.apply(thisArg, args));
  }

  bind<T>(active: Context, target: T): T {
    if (typeof target !== 'function') return target;
    return ((...args: unknown[]) => this.with(active, () => target(...args) as unknown)) as T;
  }

  enable(): this {
    return this;
  }

  disable(): this {
    this.storage.disable();
    return this;
  }
}
