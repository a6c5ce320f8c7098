import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig(({ mode }) => ({
  // Nest's dependency injection and TypeORM's entities need the legacy decorators with their type metadata.
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  resolve: {
    alias: [
      {
        find: /^nestjs-session-tokens$/,
        replacement: fileURLToPath(new URL('lib/index.ts', import.meta.url)),
      },
      {
        find: /^nestjs-session-tokens\/(\w+)$/,
        replacement: fileURLToPath(new URL('lib/$1/index.ts', import.meta.url)),
      },
    ],
  },
  test: {
    include: ['lib/**/*.spec.ts', 'test/**/*.spec.ts', 'sample-app/**/*.spec.ts'],
    // `--mode large` makes the exploration of the rotation rules large.
    env: { MODEL: mode },
    // The default leaves one core idle, which on a machine with two is half of it.
    maxWorkers: '100%',
    // A slow machine is no failure; what hangs is.
    testTimeout: 30_000,
    setupFiles: ['reflect-metadata', 'test/support/database-clock.ts', 'test/support/log-search.setup.ts'],
    // They end in the reverse order: the log is searched last.
    globalSetup: ['test/support/log-search.global.ts', 'test/support/databases.setup.ts'],
  },
}));
