import { databaseNames, TEST_POSTGRES_URL } from './database-urls.js';

/** Says at the end which databases the suites ran on, so that a run without a server cannot pass for one with it. */
export default function setup(): () => Promise<void> {
  // The workers inherit it.
  process.env['TEST_RUN'] = String(process.pid);
  return async () => {
    if (TEST_POSTGRES_URL) {
      const { dropPostgresDatabases } = await import('./postgres-databases.js');
      await dropPostgresDatabases(TEST_POSTGRES_URL);
    }
    console.log(`\nDatabases tested: ${databaseNames.join(', ')}`);
  };
}
