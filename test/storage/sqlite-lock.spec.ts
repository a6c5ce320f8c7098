import { setTimeout as delay } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import libsql from 'libsql';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StorageUnavailableError } from 'nestjs-session-tokens';
import type { SessionCore } from '../../lib/module/session.core.js';
import { openSessionDataSource, type SessionDataSource } from '../../lib/storage/session-data-source.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { startCore } from '../support/core.js';

const sqlite = databases.find(({ name }) => name === 'sqlite')!;

/**
 * For how long the event loop may stand still, in milliseconds. A driver that waits for a lock stops it for as long as
 * it waits, 5 s by default; a machine that is busy with other things stops it for a fraction of a second.
 */
const MAX_BLOCK = 1_500;
/** How long the lock is held. */
const HELD = 300;

// These tests wait in real time, because they test the lock of another connection.
describe('a SQLite file that another connection has locked', () => {
  let database: TestDatabase;
  let own: SessionDataSource;
  let core: SessionCore;
  let other: InstanceType<typeof libsql>;

  beforeEach(async () => {
    database = await sqlite.create();
    own = await openSessionDataSource(undefined, { database: database.options }, new Logger());
    core = await startCore(own.dataSource);
    other = new libsql(String(database.options.database));
  });
  afterEach(async () => {
    other.close();
    await own.dataSource.destroy();
    await database.remove();
  });

  test.each(['IMMEDIATE', 'EXCLUSIVE'])(
    'by a transaction (%s): writes wait for its end, and the event loop goes on',
    async (mode) => {
      const { session } = await core.service.tokens.issue({ userId: 1 });
      other.exec(`BEGIN ${mode}`);
      other.exec("INSERT INTO user_session_key VALUES ('k', 'other', 1, '', '', 0, 0)");
      const held = blockedUntil(() => other.exec('COMMIT'));

      const begun = performance.now();
      await Promise.all([
        core.service.updateData(session.id, { n: 1 }),
        core.service.tokens.issue({ userId: 2 }),
        core.service.revokeAllForUser(3),
      ]);
      expect(performance.now() - begun).toBeGreaterThan(HELD - 20);
      expect(await held).toBeLessThan(MAX_BLOCK);
      expect((await core.service.find(session.id))!.data).toEqual({ n: 1 });
      expect((await core.service.findAllForUser(2)).sessions).toHaveLength(1);
    },
  );

  test('for longer than a request can wait: says so, and ends no session', async () => {
    const { session, refreshToken } = await core.service.tokens.issue({ userId: 1 });
    other.exec('BEGIN EXCLUSIVE');
    await expect(core.service.updateData(session.id, { new: true })).rejects.toThrow(StorageUnavailableError);
    other.exec('ROLLBACK');
    await expect(core.service.tokens.refresh(refreshToken.token)).resolves.toMatchObject({
      session: { id: session.id },
    });
  }, 20_000);

  test('when many write at once: all is there for every connection after it, and the event loop goes on', async () => {
    await core.service.tokens.issue({ userId: 1 });
    other.exec('BEGIN IMMEDIATE');
    const held = blockedUntil(() => other.exec('COMMIT'));
    await Promise.all(Array.from({ length: 10 }, async (_, userId) => core.service.tokens.issue({ userId })));
    const longest = await held;
    const [row] = other.prepare('SELECT count(*) AS n FROM user_session').all() as { n: number }[];
    expect(row).toEqual({ n: 11 });
    expect(longest).toBeLessThan(MAX_BLOCK);
  });

  test('by a transaction of the application in this process, which takes nothing with it when it rolls back', async () => {
    const application = await connect(database);
    const sessions = await openSessionDataSource(application, {}, new Logger());
    const { service } = await startCore(sessions.dataSource);
    const transaction = application.createQueryRunner();
    await transaction.startTransaction();
    await transaction.query("INSERT INTO user_session_key VALUES ('k', 'other', 1, '', '', 0, 0)");
    const issuing = service.tokens.issue({ userId: 1 });
    await delay(HELD);
    await transaction.rollbackTransaction();
    const { session } = await issuing;
    expect(await service.find(session.id)).not.toBeNull();
    expect(await core.service.find(session.id)).not.toBeNull();
    await sessions.dataSource.destroy();
    await application.destroy();
  });
});

/**
 * Waits while the lock is held, then releases it.
 *
 * @returns the longest time for which the event loop was blocked, in milliseconds
 */
async function blockedUntil(release: () => void): Promise<number> {
  let last = performance.now();
  let longest = 0;
  const look = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  };
  const timer = setInterval(look, 5);
  await delay(HELD);
  clearInterval(timer);
  look();
  release();
  return longest;
}
