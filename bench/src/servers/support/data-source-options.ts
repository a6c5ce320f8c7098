import libsql from 'libsql';
import type { DataSourceOptions, Logger } from 'typeorm';
import { readEnvironment } from './environment.js';

let queries = 0;

/** Statements that TypeORM has sent in this process; counted when the environment has `COUNT_QUERIES`. */
export const countQueries = (): number => queries;

/** Counts statements, and says nothing. */
const counter: Logger = {
  logQuery: () => {
    queries++;
  },
  logQueryError() {},
  logQuerySlow() {},
  logSchemaBuild() {},
  logMigration() {},
  log() {},
};

/** TypeORM's options for the database of the environment. */
export function dataSourceOptions(): DataSourceOptions {
  const { databaseUrl, pool } = readEnvironment();
  const counting = process.env['COUNT_QUERIES'] ? { logging: true, logger: counter } : {};
  if (databaseUrl.startsWith('sqlite:')) {
    return {
      type: 'better-sqlite3',
      driver: libsql,
      database: databaseUrl.slice('sqlite:'.length),
      ...counting,
    };
  }
  const type = databaseUrl.startsWith('postgres:') ? 'postgres' : 'mysql';
  return { type, url: databaseUrl, poolSize: pool, ...counting };
}
