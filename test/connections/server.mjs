// Runs the server from the TypeScript sources in a process of its own.
import { fileURLToPath } from 'node:url';
import 'reflect-metadata';
import { runnerImport } from 'vite';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { module } = await runnerImport(fileURLToPath(new URL('server.ts', import.meta.url)), {
  root,
  configFile: false,
  logLevel: 'error',
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  resolve: { alias: { 'nestjs-session-tokens': `${root}lib/index.ts` } },
});
module.serve();
