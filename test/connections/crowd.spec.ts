import { describe, expect, it } from 'vitest';
import { databases } from '../support/databases.js';
import { plainOptions } from '../processes/process-pool.js';
import { watchCrowd } from './crowd.js';

// A thousand connections: npm run soak:connections.
describe.each(databases)('a crowd of connections at two processes, on $name', (kind) => {
  it(
    'ends with its sessions, and no byte comes later; nobody else is disturbed',
    { timeout: 120_000 },
    async () => {
      const database = await kind.create();
      try {
        const settings = { sessions: 14, each: 1, duration: 2_000, seed: 1 };
        const report = await watchCrowd({ ...settings, database: plainOptions(database) });
        expect(report).toMatchObject({ falseEnds: [], late: [], leftOver: 0 });
        expect(report.rows.filter(({ opened, ended }) => opened < 14 || ended < opened)).toEqual([]);
        // Each way in which a session ends has been seen.
        expect(Object.keys(report.fates)).toHaveLength(9);
        expect(report.racing.tried).toBeGreaterThan(0);
      } finally {
        await database.remove();
      }
    },
  );
});
