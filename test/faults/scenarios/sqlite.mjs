import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

async function file(stage) {
  const folder = await mkdtemp(join(tmpdir(), 'session-tokens-faults-'));
  stage.onEnd(() => rm(folder, { recursive: true, force: true }));
  return { type: 'better-sqlite3', database: join(folder, 'faults.sqlite'), enableWAL: true };
}

/** @type {import('../stage.mjs').Scenario[]} */
export const scenarios = [
  {
    name: 'sqlite: kill -9, four times',
    setUp: async (stage) => ({
      databases: await file(stage),
      allowed: { cut: 200 },
      async fault() {
        for (let n = 0; n < 4; n++) {
          const application = stage.applications[n % stage.applications.length];
          await application.kill();
          await stage.pause(1_000);
          await application.start();
          await stage.pause(2_000);
        }
      },
    }),
  },
];
