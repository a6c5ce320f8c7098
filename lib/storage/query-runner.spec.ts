import { EventEmitter } from 'node:events';
import { DataSource } from 'typeorm';
import { expect, it } from 'vitest';
import { withQueryRunner } from './query-runner.js';

/** Ends the statement of a connection. */
type Query = () => Promise<unknown>;

/** TypeORM with a pool of one connection. `released` has what the pool is told of it when it comes back. */
function poolOf(query: Query): { dataSource: DataSource; released: unknown[] } {
  const dataSource = new DataSource({ type: 'postgres' });
  const released: unknown[] = [];
  const connection = Object.assign(new EventEmitter(), { query });
  const master = {
    connect: (done: (error: undefined, client: unknown, release: (error?: unknown) => void) => void) =>
      done(undefined, connection, (error) => released.push(error)),
  };
  Object.assign(dataSource.driver, { master });
  return { dataSource, released };
}

it.each<[string, Query, unknown[]]>([
  ['is good', async () => ({ rows: [] }), [undefined]],
  [
    'was refused',
    async () => {
      throw Object.assign(new Error('cannot execute UPDATE in a read-only transaction'), {
        severity: 'ERROR',
      });
    },
    [undefined],
  ],
  [
    'was not answered',
    async () => {
      throw new Error('Query read timeout');
    },
    [expect.objectContaining({ message: 'Query read timeout' })],
  ],
])('a connection whose statement %s comes back to the pool once, as what it is', async (_, query, told) => {
  const { dataSource, released } = poolOf(query);
  await withQueryRunner(dataSource, async (queryRunner) => queryRunner.query('SELECT 1')).catch(
    () => undefined,
  );
  expect(released).toEqual(told);
});

it('a connection that breaks in the turn in which the pool gives it does not end the process', async () => {
  const dataSource = new DataSource({ type: 'postgres' });
  const connection = Object.assign(new EventEmitter(), { query: async () => ({ rows: [] }) });
  const pool = new EventEmitter();
  const failures: unknown[] = [];
  const connect = (done: (error: undefined, client: unknown, release: () => void) => void) => {
    pool.emit('acquire', connection);
    done(undefined, connection, () => undefined);
    try {
      connection.emit('error', new Error('terminating connection due to administrator command'));
    } catch (error) {
      failures.push(error);
    }
  };
  Object.assign(dataSource.driver, { master: Object.assign(pool, { connect }) });
  await withQueryRunner(dataSource, async (queryRunner) => queryRunner.query('SELECT 1'));
  expect(failures).toEqual([]);
});
