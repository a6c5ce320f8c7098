import { Logger } from '@nestjs/common';
import { SESSION_ENTITIES, SESSION_MIGRATIONS } from 'nestjs-session-tokens';
import { DataSource } from 'typeorm';
import { afterEach, describe, expect, it } from 'vitest';
import { SESSION_RUNTIME } from '../../lib/module/session.constants.js';
import type { SessionMaintenance } from '../../lib/module/session-maintenance.js';
import { openSessionDataSource } from '../../lib/storage/session-data-source.js';
import { type AccountApp, accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { DAY, pass } from '../support/time.js';

/** What the migration of a later version may do while this one is running. */
const additions: readonly [what: string, sql: string][] = [
  ['a column that may be null', 'ALTER TABLE user_session ADD COLUMN later varchar(64)'],
  ['a column with a default', "ALTER TABLE user_session ADD COLUMN later varchar(64) DEFAULT 'x' NOT NULL"],
  ['an index', 'CREATE INDEX later ON user_session (last_seen_at)'],
  ['a table', 'CREATE TABLE user_session_later (id varchar(36) NOT NULL PRIMARY KEY)'],
  ['a column of the keys', "ALTER TABLE user_session_key ADD COLUMN later varchar(64) DEFAULT 'x' NOT NULL"],
  ['a column of the not-befores', 'ALTER TABLE user_session_not_before ADD COLUMN later int'],
];

async function expectAllToWork(
  app: AccountApp,
  browser: Awaited<ReturnType<AccountApp['signIn']>>,
): Promise<void> {
  expect(await browser.get('/me')).toMatchObject({ status: 200 });
  // A refresh, and the first use of what it gave.
  pass('16m');
  expect(await browser.get('/me')).toMatchObject({ status: 200 });
  pass('2m');
  expect(await browser.get('/me')).toMatchObject({ status: 200 });
  await app.signIn();
  expect((await app.sessions.findAllForUser('alice')).sessions.length).toBeGreaterThanOrEqual(2);
  expect(await browser.request('PUT', '/data', { body: { a: 1 } })).toMatchObject({ status: 200 });
  const ended = await app.sessions.revokeAllForUser('alice');
  expect(ended).toBeGreaterThanOrEqual(2);
  expect(await browser.get('/me')).toMatchObject({ status: 401 });
  await app.sessions.rotateSigningKeys({ drop: 'current' });
  // Rows, keys and not-befores are removed.
  pass(61 * DAY);
  const { maintenance } = app.app.get<{ maintenance: SessionMaintenance }>(SESSION_RUNTIME, {
    strict: false,
  });
  await maintenance.run();
  expect(await app.rows()).toEqual([]);
}

describe.each(databases)('two versions at once on $name', (kind) => {
  const start = accountApps(adapters[0], kind);

  it.each(additions)('this one goes on, and starts, when the other one has added %s', async (_, sql) => {
    const app = await start();
    const browser = await app.signIn();
    const admin = await new DataSource(app.database.options).initialize();
    await admin.query(sql).finally(() => admin.destroy());
    await expectAllToWork(app, browser);
    const again = await start({}, { database: app.database });
    await expectAllToWork(again, await again.signIn());
    expect(await again.rows()).toEqual([]);
  });
});

const NAMES = SESSION_MIGRATIONS.map(({ name }) => name);

interface Unready {
  readonly name: string;
  /** Of a database on which all migrations have been run. */
  readonly undo: readonly string[];
  readonly says: RegExp;
}

const unready: readonly Unready[] = [
  {
    name: 'on which no migration has been run',
    undo: [
      'DROP TABLE user_session',
      'DROP TABLE user_session_key',
      'DROP TABLE user_session_not_before',
      'DROP TABLE migrations',
    ],
    says: new RegExp(
      `no table .*user_session.*, no table .*user_session_key.*, no table .*user_session_not_before.*have not been run: ${NAMES.join(', ')}\\. Add .*SESSION_MIGRATIONS.*migrationsRun`,
    ),
  },
  {
    name: 'that a later version has not migrated yet',
    undo: [
      'ALTER TABLE user_session DROP COLUMN label',
      'ALTER TABLE user_session_key DROP COLUMN material',
      `DELETE FROM migrations WHERE name = '${NAMES.at(-1)}'`,
    ],
    says: new RegExp(
      `no column label in the table .*user_session.*, no column material in the table .*have not been run: ${NAMES.at(-1)}\\. `,
    ),
  },
  {
    name: 'that somebody has changed by hand',
    undo: ['ALTER TABLE user_session DROP COLUMN label'],
    says: /no column label .*All migrations of the sessions have been run/,
  },
];

describe.each(databases)('a start on a database of $name', (kind) => {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });

  /** As an application that runs its migrations itself. */
  async function applicationOn(database: TestDatabase): Promise<DataSource> {
    const dataSource = new DataSource({ ...database.options, entities: [...SESSION_ENTITIES] });
    await dataSource.initialize();
    cleanups.push(() => dataSource.destroy());
    return dataSource;
  }

  it.each(unready)('$name is refused, and the message says what to do', async ({ undo, says }) => {
    const database = await kind.create();
    cleanups.push(() => database.remove());
    const admin = await connect(database);
    for (const sql of undo) await admin.query(sql);
    await admin.destroy();
    const start = openSessionDataSource(await applicationOn(database), {}, new Logger());
    await expect(start).rejects.toThrow(says);
    await expect(start).rejects.toMatchObject({ code: 'invalid_option' });
  });
});
