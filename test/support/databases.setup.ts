import { databaseNames, TEST_POSTGRES_URL } from './database-urls.js';

/** Prints at the end on which databases the suites ran, so that a run without a server is not mistaken for one with it. */
export default function setup(): () => Promise<void> {
  // The workers inherit this environment variable.
  process.env['TEST_RUN'] = String(process.pid);
  return async () => {
    if (TEST_POSTGRES_URL) {
      const { dropPostgresDatabases } = await import('./postgres-databases.js');
      await dropPostgresDatabases(TEST_POSTGRES_URL);
    }
    console.log(`\nDatabases tested: ${databaseNames.join(', ')}`);
  };
}
