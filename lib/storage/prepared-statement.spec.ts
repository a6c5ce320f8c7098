import { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { expect, it, vi } from 'vitest';
import { PreparedStatement } from './prepared-statement.js';

async function doesNotKnow(): Promise<never> {
  throw Object.assign(new Error('prepared statement does not exist'), { code: '26000' });
}

/** A database behind a pooler that gives each transaction another connection, which does not know the statement. */
function behindPooler(): DataSource {
  const Client = { Query: { prototype: { hasBeenParsed: () => false } } };
  const queryRunner = { query: async () => ({ records: [], affected: 0 }), release: async () => undefined };
  return {
    options: { type: 'postgres' },
    subscribers: [],
    driver: { master: { Client, query: doesNotKnow } },
    logger: { logQuery: () => undefined },
    createQueryRunner: () => queryRunner,
  } as unknown as DataSource;
}

it('says once that statements are not kept, however many find out at the same time', async () => {
  const warned = vi.spyOn(Logger.prototype, 'warn').mockReturnValue();
  const dataSource = behindPooler();
  const statements = ['SELECT 1', 'SELECT 2'].map((sql) => new PreparedStatement(dataSource, sql));
  const results = await Promise.all(statements.map(async (statement) => statement.run([])));
  expect(results).toEqual([
    { rows: [], rowCount: 0 },
    { rows: [], rowCount: 0 },
  ]);
  expect(warned.mock.calls.map(([text]) => text as string)).toEqual([
    expect.stringMatching(/did not keep a prepared statement/),
  ]);
  warned.mockRestore();
});
