import { Client } from 'pg';

/** All databases of one run have the same prefix, so that they can be found and dropped at the end. */
const RUN = process.env['TEST_RUN'] ?? String(process.pid);
/** The databases of this worker. A worker runs one suite after the other, so no other suite uses them at the same time. */
const WORKER = process.env['VITEST_POOL_ID'] ?? '0';

const UNKNOWN_DATABASE = '3D000';

const inUse = new Set<string>();

/**
 * An empty database. PostgreSQL takes a third of a second to make one, but a few milliseconds to empty one. So a worker uses
 * its databases again.
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

/**
 * Returns a database. Until it is used again, it behaves like a dropped one: connections are closed, and new ones refused.
 */
export async function returnPostgresDatabase(server: string, url: URL): Promise<void> {
  const name = url.pathname.slice(1);
  // Not several statements in one query: that would be one transaction, and other connections would not see the first one.
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
