// Runs a TypeScript source in a process of its own, as vitest would. Its argument is the path of the file, from here.
import { fileURLToPath } from 'node:url';
import 'reflect-metadata';
import { runnerImport } from 'vite';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { module } = await runnerImport(fileURLToPath(new URL(process.argv[2], import.meta.url)), {
  root,
  configFile: false,
  logLevel: 'error',
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  resolve: { alias: { 'nestjs-session-tokens': `${root}lib/index.ts` } },
});
module.serve();
