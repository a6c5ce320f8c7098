import { Client } from 'pg';

/** Databases of one run of the suites are named alike, so that they can be found and dropped at its end. */
const RUN = process.env['TEST_RUN'] ?? String(process.pid);
/** One worker runs one suite after the other, so that what is its own is nobody else's. */
const WORKER = process.env['VITEST_POOL_ID'] ?? '0';

const UNKNOWN_DATABASE = '3D000';

const inUse = new Set<string>();

/**
 * An empty database. PostgreSQL takes a third of a second to make one and a few milliseconds to empty one: a worker uses
 * its own again.
 *
 * @returns its URL
 */
export async function takePostgresDatabase(server: string): Promise<URL> {
  let name = '';
  for (let n = 0; name === '' || inUse.has(name); n++) name = `session_tokens_test_${RUN}_${WORKER}_${n}`;
  inUse.add(name);
  const url = new URL(server);
  url.pathname = `/${name}`;
  try {
    await run(server, `ALTER DATABASE ${name} WITH ALLOW_CONNECTIONS true`);
    await run(url.href, EMPTY);
  } catch (error) {
    if ((error as { code?: string }).code !== UNKNOWN_DATABASE) throw error;
    await run(server, `CREATE DATABASE ${name}`);
  }
  return url;
}

/** Gives a database back. Until it is taken again, it is as good as dropped: who is connected is cut off, and nobody gets in. */
export async function returnPostgresDatabase(server: string, url: URL): Promise<void> {
  const name = url.pathname.slice(1);
  // Not one statement after the other in one query: that would be one transaction, in which nobody sees the first yet.
  await run(server, `ALTER DATABASE ${name} WITH ALLOW_CONNECTIONS false`);
  await run(server, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
  inUse.delete(name);
}

/** Drops all databases of this run. */
export async function dropPostgresDatabases(server: string): Promise<void> {
  const rows = await run(
    server,
    `SELECT datname FROM pg_database WHERE starts_with(datname, 'session_tokens_test_${RUN}_')`,
  );
  for (const { datname } of rows) await run(server, `DROP DATABASE ${datname} WITH (FORCE)`);
}

const EMPTY = `
  DO $$
  DECLARE name text;
  BEGIN
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
      EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
  END $$;
  CREATE SCHEMA public`;

async function run(url: string, statements: string): Promise<Record<string, string>[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, string>>(statements)).rows;
  } finally {
    await client.end();
  }
}
