import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { StorageUnavailableError, withMigrationLock } from 'nestjs-session-tokens';
import { databases, type TestDatabase } from '../support/databases.js';
import { MINUTE } from '../support/time.js';
import { LibraryProcess, plainOptions, useProcesses } from '../processes/process-pool.js';

/** In milliseconds, of the database's and the system's own time: longer than idle transactions may be in one case. */
const HELD = 1_000;

/** Options of an application that could take the lock away from who has it, or keep it from who asks. */
const VARIANTS: Record<string, Record<string, object>> = {
  sqlite: { 'as it is': {}, 'in WAL mode': { enableWAL: true } },
  postgres: {
    'as it is': {},
    'with one connection': { poolSize: 1 },
    'whose idle transactions are ended': { extra: { idle_in_transaction_session_timeout: 700 } },
  },
  mysql: { 'as it is': {}, 'with one connection': { poolSize: 1 } },
};

describe('the migration lock', { timeout: 2 * MINUTE }, () => {
  const processes = useProcesses(4);

  describe.each(databases)('of $name', (kind) => {
    let database: TestDatabase;
    let open: DataSource | undefined;

    beforeEach(async () => {
      database = await kind.create();
    });
    afterEach(async () => {
      vi.restoreAllMocks();
      await open?.destroy();
      open = undefined;
      await database.remove();
    });

    const count = async (sql: string) => {
      open = await new DataSource(database.options).initialize();
      const [row] = await open.query<[{ n: unknown }]>(sql);
      return Number(row.n);
    };

    test('lets one of four processes run the migrations of an empty database, and the others find them done', async () => {
      const plain = plainOptions(database);
      const runs = await Promise.all(processes.map((each) => each.call('migrate', plain)));
      expect(runs.toSorted((a, b) => a - b)).toEqual([0, 0, 0, 1]);
      expect(await count('SELECT count(*) AS n FROM counted')).toBe(1);
    });

    test('lets one of four processes run those of the option "database"', async () => {
      const plain = plainOptions(database);
      await Promise.all(processes.map((each) => each.call('start', plain, {})));
      await Promise.all(processes.map((each) => each.call('stop')));
      expect(await count('SELECT count(*) AS n FROM user_session_migration')).toBe(1);
    });

    test.each(Object.entries(VARIANTS[kind.name]!))('lets in one at a time, %s', async (_, options) => {
      const target = { ...database.options, ...options } as DataSourceOptions;
      let inside = 0;
      const overlaps: number[] = [];
      const work = async () => {
        overlaps.push(++inside);
        await new Promise((resolve) => setTimeout(resolve, HELD));
        overlaps.push(inside--);
      };
      await Promise.all([withMigrationLock(target, work), withMigrationLock(target, work)]);
      expect(overlaps).toEqual([1, 1, 1, 1]);
    });

    test('is free after what it was taken for has failed', async () => {
      const failing = withMigrationLock(database.options, async () => {
        throw new Error('No.');
      });
      await expect(failing).rejects.toThrow('No.');
      expect(await withMigrationLock(database.options, async () => 'done')).toBe('done');
    });

    test('is free after the process that has it was killed', async () => {
      const holder = await LibraryProcess.spawn();
      await holder.call('keepMigrationLock', plainOptions(database));
      const waiting = withMigrationLock(database.options, async () => 'done');
      await holder.end('SIGKILL');
      expect(await waiting).toBe('done');
    });

    test('is not waited for for ever', async () => {
      const work = vi.fn<() => Promise<void>>(async () => undefined);
      await withMigrationLock(database.options, async () => {
        let time = 0;
        vi.spyOn(performance, 'now').mockImplementation(() => (time += MINUTE));
        const waiting = withMigrationLock(database.options, work);
        await expect(waiting).rejects.toThrow(StorageUnavailableError);
        await expect(waiting).rejects.toThrow(/for 5 minutes/);
      });
      expect(work).not.toHaveBeenCalled();
    });
  });
});

test('a database in memory has no lock: nobody else can reach it', async () => {
  expect(await withMigrationLock({ type: 'sqljs' }, async () => 'done')).toBe('done');
  expect(await withMigrationLock({ type: 'better-sqlite3', database: ':memory:' }, async () => 'done')).toBe(
    'done',
  );
});

test('a driver whose lock is not known is refused', async () => {
  const options = { type: 'cockroachdb', timeTravelQueries: false } as const;
  await expect(withMigrationLock(options, async () => 'done')).rejects.toThrow(/"cockroachdb"/);
});
