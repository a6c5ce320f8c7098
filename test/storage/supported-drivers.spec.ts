import { Logger } from '@nestjs/common';
import type { DataSource, DataSourceOptions } from 'typeorm';
import { describe, expect, test } from 'vitest';
import { InvalidOptionError } from 'nestjs-session-tokens';
import { openSessionDataSource } from '../../lib/storage/session-data-source.js';
import { connect, databases } from '../support/databases.js';

type Type = DataSourceOptions['type'];
type Supported = 'postgres' | 'mysql' | 'mariadb' | 'better-sqlite3' | 'sqljs';

/** Every other driver of TypeORM. If one is missing, this does not compile. */
const unsupported: Record<Exclude<Type, Supported>, true> = {
  'aurora-mysql': true,
  'aurora-postgres': true,
  capacitor: true,
  cockroachdb: true,
  cordova: true,
  expo: true,
  mongodb: true,
  mssql: true,
  nativescript: true,
  oracle: true,
  'react-native': true,
  sap: true,
  spanner: true,
};

/** Values that a JavaScript caller may pass. */
const others = ['sqlite', 'libsql', '', undefined];

const MESSAGE =
  /only by postgres, mysql, mariadb, better-sqlite3, sqljs\. Give the options of such a database in "database"; for SQLite use "better-sqlite3"/;

async function whyNot(application: unknown, database?: unknown): Promise<InvalidOptionError> {
  const opening = openSessionDataSource(
    application as DataSource | undefined,
    { database: database as DataSourceOptions | undefined },
    new Logger(),
  );
  const error: unknown = await opening.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(InvalidOptionError);
  return error as InvalidOptionError;
}

describe.each([...Object.keys(unsupported), ...others])('the driver "%s" stops the start', (type) => {
  test('as that of the option "database"', async () => {
    const { option, message } = await whyNot(undefined, { type });
    expect(option).toBe('database');
    expect(message).toMatch(MESSAGE);
    expect(message).toContain(`"${type}"`);
  });

  test("as that of the application's DataSource", async () => {
    const application = { options: { type }, isInitialized: true, hasMetadata: () => true };
    const { option, message } = await whyNot(application);
    expect(option).toBe('dataSource');
    expect(message).toMatch(MESSAGE);
    expect(message).toContain(`"${type}"`);
  });
});

describe.each(databases.filter(({ name }) => name === 'mysql'))('the SQL mode of $name', (kind) => {
  test('NO_BACKSLASH_ESCAPES stops the start', async () => {
    const database = await kind.create();
    const application = await connect({
      ...database,
      options: { ...database.options, poolSize: 1 } as DataSourceOptions,
    });
    await application.query("SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')");
    // This is what it is about.
    expect(await application.query('SELECT ? AS agent', ["x' OR 1=1 -- "])).not.toEqual([
      { agent: "x' OR 1=1 -- " },
    ]);
    expect((await whyNot(application)).message).toMatch(/NO_BACKSLASH_ESCAPES.*SQL injection/);
    await application.query("SET SESSION sql_mode = ''");
    await expect(openSessionDataSource(application, {}, new Logger())).resolves.toMatchObject({
      isOwn: false,
    });
    await application.destroy();
    await database.remove();
  });
});
