import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { accountApps } from '../http/account-app.js';
import { SESSION_RUNTIME } from '../../lib/module/session.constants.js';
import type { SessionDataSource } from '../../lib/storage/session-data-source.js';
import { withoutDatabase } from '../support/statements.js';
import { pass } from '../support/time.js';
import { steps } from './steps.js';
import { useTelemetry } from './telemetry.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
// Inside the repository, so that packages are found.
const folder = join(root, 'dist', `dashboard-${process.pid}`);
const read = (file: string) => readFile(join(root, 'docs', file), 'utf8');

interface Target {
  readonly expr: string;
}
interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly Target[];
}
interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly query: string | { readonly query: string } }[];
  };
}

/** The name that a metric has in Prometheus, by the rules of OpenTelemetry. */
function prometheusName({ descriptor, dataPointType, ...metric }: MetricData): string {
  const unit = descriptor.unit === 's' ? '_seconds' : '';
  const isCounter = dataPointType === DataPointType.SUM && 'isMonotonic' in metric && metric.isMonotonic;
  return descriptor.name.replaceAll('.', '_') + unit + (isCounter ? '_total' : '');
}

function attributesOf({ dataPoints }: MetricData): string[] {
  return [...new Set(dataPoints.flatMap(({ attributes }) => Object.keys(attributes)))].toSorted();
}

function sorted<T extends { readonly name?: string }>(metrics: readonly T[]): T[] {
  return metrics.toSorted((a, b) => (a.name! < b.name! ? -1 : 1));
}

/** The names of metrics and labels in expressions of PromQL. */
function namesIn(expressions: readonly string[]): { metrics: Set<string>; labels: Set<string> } {
  const text = expressions.join('\n').replaceAll(/"[^"]*"/g, '""');
  const labels = new Set<string>();
  const lists = [
    ...text.matchAll(/\b(?:by|on|without) \(([^)]*)\)/g),
    ...text.matchAll(/\{([^}]*)\}/g),
    ...text.matchAll(/label_values\(\w+, (\w+)\)/g),
  ];
  for (const [, list] of lists) for (const [name] of list!.matchAll(/\w+/g)) labels.add(name);
  const metrics = [...text.matchAll(/\bsession_tokens_\w+/g)]
    .map(([name]) => name.replace(/_(?:bucket|count|sum)$/, ''))
    .filter((name) => !labels.has(name));
  return { metrics: new Set(metrics), labels };
}

/** The expressions of the rules. Each is on one line, or a block of lines that are indented more. */
function expressionsOf(rules: string): string[] {
  return [...rules.matchAll(/^( +)expr: (?:\|\n((?:\1 .*\n)+)|(.*)\n)/gm)].map(([, , block, line]) =>
    (block ?? line)!.trim(),
  );
}

/** What is compiled: the format's types, with texts in the place of its enums, and with the options of each kind of panel. */
const FORMAT = `
import type { Dashboard, DataSourceRef, GraphFieldConfig, Panel, RowPanel } from '@grafana/schema';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as TimeSeriesOptions } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

type Plain<T> = unknown extends T ? unknown
  : T extends string ? \`\${T}\`
  : T extends number | boolean | null | undefined ? T
  : T extends readonly (infer E)[] ? Plain<E>[]
  : { [K in keyof T]: Plain<T[K]> };

interface Query { datasource: DataSourceRef; refId: string; expr: string; legendFormat: string; editorMode: 'code'; range: true }
type Own<TType, TOptions, TCustom> = Omit<Panel<TOptions, TCustom>, 'type' | 'options' | 'targets' | 'fieldConfig'>
  & { type: TType; options: TOptions; targets: Query[]; fieldConfig: FieldConfigOf<TCustom> };
type Source = NonNullable<Panel['fieldConfig']>;
type FieldConfigOf<TCustom> = Omit<Source, 'defaults'> & { defaults: Omit<Source['defaults'], 'custom'> & { custom?: TCustom } };
type AnyPanel = Own<'timeseries', TimeSeriesOptions, GraphFieldConfig> | Own<'stat', StatOptions, never> | RowPanel & { type: 'row' };
export type Format = Plain<Omit<Dashboard, 'panels'> & { panels: AnyPanel[] }>;
`;

/** What is wrong with dashboards, by their names. */
async function errorsIn(dashboards: Readonly<Record<string, string>>): Promise<Map<string, string[]>> {
  await writeFile(join(folder, 'format.ts'), FORMAT);
  const files: [string, string][] = [];
  for (const [index, [name, json]] of Object.entries(dashboards).entries()) {
    const file = join(folder, `dashboard-${index}.ts`);
    await writeFile(
      file,
      `import type { Format } from './format.js';\nexport const dashboard: Format = ${json};`,
    );
    files.push([name, file]);
  }
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    target: ts.ScriptTarget.ES2023,
    types: [],
  };
  const all = [join(folder, 'format.ts'), ...files.map(([, file]) => file)];
  const program = ts.createProgram(all, options);
  const messages = (file: string) =>
    ts
      .getPreEmitDiagnostics(program, program.getSourceFile(file))
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
  expect(messages(all[0]!)).toEqual([]);
  return new Map(files.map(([name, file]) => [name, messages(file)]));
}

let json: string;
let dashboard: Dashboard;
let rules: string;

beforeAll(async () => {
  await mkdir(folder, { recursive: true });
  json = await read('grafana/dashboard.json');
  dashboard = JSON.parse(json) as Dashboard;
  rules = await read('grafana/alerts.yaml');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the dashboard', () => {
  /** Each is refused, so that the check can fail. */
  const damages: [string, RegExp, string][] = [
    ['a title that is no text', /"title": "Verifications"/, '"title": 7'],
    ['a name that the format does not have', /"schemaVersion"/, '"schemaVersions"'],
    ['a panel with a place that is no number', /"x": 0/, '"x": "0"'],
    ['a panel with a name that it does not have', /"gridPos"/, '"gridpos": {}, "gridPos"'],
    ['a kind of panel that the test does not know', /"type": "stat"/, '"type": "graph"'],
    ['a colour mode that does not exist', /"palette-classic"/, '"palette-modern"'],
    ['a style of lines that does not exist', /"drawStyle": "line"/, '"drawStyle": "lines"'],
    ['options of another kind of panel', /"graphMode": "area"/, '"legend": {}'],
    ['a query without an expression', /"expr"/, '"expression"'],
  ];

  it('is of the format, and what is not is refused', async () => {
    const broken = damages.map(([name, from, to]) => [name, json.replace(from, to)] as const);
    const errors = await errorsIn({ dashboard: json, ...Object.fromEntries(broken) });
    expect(errors.get('dashboard')).toEqual([]);
    const accepted = damages.filter(([name]) => errors.get(name)!.length === 0).map(([name]) => name);
    expect(accepted).toEqual([]);
  }, 60_000);

  it('has panels that do not overlap, with a unit and a word on what they show', () => {
    const { panels } = dashboard;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const overlaps = panels.flatMap((a, index) =>
      panels
        .slice(index + 1)
        .filter(
          ({ gridPos: b }) =>
            a.gridPos.x < b.x + b.w &&
            b.x < a.gridPos.x + a.gridPos.w &&
            a.gridPos.y < b.y + b.h &&
            b.y < a.gridPos.y + a.gridPos.h,
        )
        .map((b) => `${a.title} and ${b.title}`),
    );
    expect(overlaps).toEqual([]);
    const shown = panels.filter(({ type }) => type !== 'row');
    const bare = shown.filter(({ description, fieldConfig }) => !description || !fieldConfig?.defaults.unit);
    expect(bare).toEqual([]);
  });
});

describe('what is emitted', () => {
  const start = accountApps('express');
  const telemetry = useTelemetry();

  const emitted = async () => {
    for (const { prepare } of steps) await (await prepare(await start()))();
    // What fails has one more attribute.
    const app = await start();
    const { tokens } = app.sessions;
    const { refreshToken } = await tokens.issue({ userId: 'alice' });
    pass('16m');
    const { accessToken } = await tokens.refresh(refreshToken.token);
    pass('90s');
    const { dataSource } = Reflect.get(app.app.get(SESSION_RUNTIME), 'database') as SessionDataSource;
    await withoutDatabase({ dataSource }, async () => {
      await expect(tokens.verify(accessToken.token)).rejects.toMatchObject({ status: 503 });
      await expect(tokens.refresh(refreshToken.token)).rejects.toMatchObject({ status: 503 });
    });
    return telemetry().metrics();
  };

  it('is in the dashboard, and in the documentation, and they and the alerts have nothing else', async () => {
    const metrics = await emitted();
    const names = metrics.map(prometheusName).toSorted();
    expect(names.length).toBeGreaterThan(10);

    const shown = dashboard.panels.flatMap(({ targets }) => targets?.map(({ expr }) => expr) ?? []);
    const variables = dashboard.templating.list.map(({ query }) =>
      typeof query === 'string' ? query : query.query,
    );
    const inDashboard = namesIn([...shown, ...variables]);
    expect([...inDashboard.metrics].toSorted()).toEqual(names);

    const expressions = expressionsOf(rules);
    expect(expressions).toHaveLength(rules.match(/- alert:/g)!.length);
    const inAlerts = namesIn(expressions);
    expect([...inAlerts.metrics].filter((name) => !names.includes(name))).toEqual([]);
    for (const name of ['session_tokens_thefts_total', 'session_tokens_feed_lag_seconds'])
      expect([...inAlerts.metrics]).toContain(name);

    const labels = metrics.flatMap(attributesOf).map((name) => name.replaceAll('.', '_'));
    // What Prometheus and its histograms have beside the attributes.
    const known = new Set([...labels, 'le', 'job', 'instance']);
    const used = [...inDashboard.labels, ...inAlerts.labels, ...labelsShown(json)];
    expect(used.filter((label) => !known.has(label))).toEqual([]);

    const page = await read('telemetry.md');
    const rows = [...page.matchAll(/^\| `(session_tokens\.[\w.]+)` +\| (\w+) +\| `([^`]+)` +\| (.*?) +\|/gm)];
    const documented = rows.map(([, name, kind, unit, attributes]) => ({
      name,
      kind,
      unit,
      attributes: [...attributes!.matchAll(/`(.+?)`/g)].map(([, attribute]) => attribute!).toSorted(),
    }));
    const kinds = { [DataPointType.SUM]: 'counter', [DataPointType.GAUGE]: 'gauge' };
    const facts = metrics.map((metric) => ({
      name: metric.descriptor.name,
      kind: kinds[metric.dataPointType as keyof typeof kinds] ?? 'histogram',
      unit: metric.descriptor.unit,
      // All have the module.
      attributes: attributesOf(metric)
        .map((name) => name.replace('session_tokens.', ''))
        .filter((name) => name !== 'module'),
    }));
    expect(sorted(documented)).toEqual(sorted(facts));
  });
});

/** The labels that legends show. */
function labelsShown(text: string): string[] {
  return [...text.matchAll(/\{\{ ?(\w+) ?\}\}/g)].map(([, label]) => label!);
}
