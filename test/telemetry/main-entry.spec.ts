import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';

const lib = join(import.meta.dirname, '../../lib');

interface Reached {
  /** In `lib`. */
  readonly files: ReadonlySet<string>;
  readonly packages: ReadonlySet<string>;
}

/** All that an entry of the package imports, for its types or not. */
function reachedFrom(entry: string): Reached {
  const files = new Set<string>();
  const packages = new Set<string>();
  const waiting = [entry];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (files.has(file)) continue;
    files.add(file);
    const { importedFiles } = ts.preProcessFile(readFileSync(join(lib, file), 'utf8'));
    for (const { fileName } of importedFiles) {
      if (!fileName.startsWith('.')) packages.add(fileName);
      else waiting.push(relative(lib, join(lib, dirname(file), fileName)).replace(/\.js$/, '.ts'));
    }
  }
  return { files, packages };
}

it('the main entry works where @opentelemetry/api is not installed: nothing in it imports that', () => {
  const { files, packages } = reachedFrom('index.ts');
  expect(files.size).toBeGreaterThan(100);
  expect(files).toContain('diagnostics/channels.ts');
  expect(packages).toContain('@nestjs/common');
  expect([...packages].filter((name) => name.startsWith('@opentelemetry'))).toEqual([]);
  expect([...files].filter((file) => file.startsWith('opentelemetry'))).toEqual([]);
});

it('the entry for telemetry needs @opentelemetry/api, and no SDK', () => {
  const { packages } = reachedFrom('opentelemetry/index.ts');
  expect([...packages].filter((name) => name.startsWith('@opentelemetry'))).toEqual(['@opentelemetry/api']);
});

/** Packages of which an application may have none. */
const OPTIONAL = /^@nestjs\/(swagger|terminus)(\/|$)|^@opentelemetry\//;

it.each(['index.ts', 'openapi/index.ts', 'terminus/index.ts'])('%s imports no optional package', (entry) => {
  const { packages } = reachedFrom(entry);
  expect(packages).toContain('@nestjs/core');
  expect([...packages].filter((name) => OPTIONAL.test(name))).toEqual([]);
});

it('the main entry has nothing of the entries for OpenAPI and Terminus', () => {
  const { files } = reachedFrom('index.ts');
  expect([...files].filter((file) => /^(openapi|terminus)\//.test(file))).toEqual([]);
});

it('the package says that the peer is optional, and has an entry for it', () => {
  const manifest = JSON.parse(readFileSync(join(lib, '../package.json'), 'utf8')) as {
    exports: Record<string, unknown>;
    peerDependencies: Record<string, string>;
    peerDependenciesMeta: Record<string, unknown>;
  };
  expect(manifest.exports['./opentelemetry']).toEqual({
    types: './dist/lib/opentelemetry/index.d.ts',
    default: './dist/lib/opentelemetry/index.js',
  });
  expect(manifest.peerDependencies).toHaveProperty(['@opentelemetry/api']);
  expect(manifest.peerDependenciesMeta).toEqual({ '@opentelemetry/api': { optional: true } });
});
