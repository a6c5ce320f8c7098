// No server: how long this process takes to import the library, once its peer dependencies are there.
import { serve } from '../support/serve.js';

export type ImportTimes = Readonly<Record<'peers' | 'jose' | 'library', number>>;

let times: ImportTimes | undefined;

serve({
  async listen() {
    const start = performance.now();
    await import('reflect-metadata');
    await import('rxjs');
    await import('@nestjs/common');
    await import('@nestjs/core');
    await import('typeorm');
    const peers = performance.now();
    await import('jose');
    const jose = performance.now();
    await import('nestjs-session-tokens');
    times = { peers: peers - start, jose: jose - peers, library: performance.now() - jose };
  },
  close: async () => undefined,
  calls: { times: () => times },
});
