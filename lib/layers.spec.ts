import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';

/** From top to bottom, as `docs/architecture.md` draws them. A folder imports only what is below it. */
const LAYERS = [
  'testing',
  'terminus',
  'openapi',
  'opentelemetry',
  'module',
  'guard',
  'connections',
  'http',
  'session',
  'revocation',
  'options',
  'tokens',
  'keys',
  'storage',
  'protocol',
  'errors',
  'diagnostics',
  'util',
  'types',
  // For programs without Nest. They import nothing.
  'client',
  'ssr',
];

const root = import.meta.dirname;

const sources = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
  (file) => file.endsWith('.ts') && !file.endsWith('.spec.ts'),
);

/** The folder of a file; `''` for `index.ts`, which lists what is public and may import everything. */
const folderOf = (file: string) => (file.includes('/') ? file.slice(0, file.indexOf('/')) : '');

const imports = sources.flatMap((file) =>
  ts
    .preProcessFile(readFileSync(join(root, file), 'utf8'))
    .importedFiles.filter(({ fileName }) => fileName.startsWith('.'))
    .map(({ fileName }) => ({ file, imported: relative(root, join(root, dirname(file), fileName)) })),
);

it('is in a folder of the architecture, every file but the index', () => {
  expect([...new Set(sources.map(folderOf))].toSorted()).toEqual(['', ...LAYERS].toSorted());
  expect(sources.filter((file) => folderOf(file) === '')).toEqual(['index.ts']);
});

it('asks the clock of the sessions for the time, every file but those that are about clocks', () => {
  const asking = sources
    .filter((file) => readFileSync(join(root, file), 'utf8').includes('Date.now()'))
    // Programs without Nest have no other clock.
    .filter((file) => !['client', 'ssr'].includes(folderOf(file)));
  expect(asking.toSorted()).toEqual([
    'storage/database-clock.ts',
    // It measures how long a statement takes.
    'storage/prepared-statement.ts',
    'util/clock.ts',
  ]);
});

it('imports nothing that is above it, every folder', () => {
  expect(imports.length).toBeGreaterThan(200);
  const upwards = imports.filter(({ file, imported }) => {
    const [from, to] = [LAYERS.indexOf(folderOf(file)), LAYERS.indexOf(folderOf(imported))];
    return from > to;
  });
  expect(upwards).toEqual([]);
});
