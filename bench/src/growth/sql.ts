import { createConnection } from 'mysql2/promise';
import { Client } from 'pg';
import type { BenchDatabase } from '../run/databases.js';

export type SqlRow = Readonly<Record<string, unknown>>;

/** One connection to a database, for what the benchmark does itself: to fill tables, and to ask how large they are. */
export interface Sql {
  readonly kind: 'postgres' | 'mysql';
  run(text: string, values?: unknown[]): Promise<SqlRow[]>;
  end(): Promise<void>;
}

export async function connect(database: BenchDatabase): Promise<Sql> {
  if (database.kind === 'postgres') {
    const client = new Client({ connectionString: database.url });
    // A database that is dropped ends its connections.
    client.on('error', () => undefined);
    await client.connect();
    return {
      kind: 'postgres',
      run: async (text, values) => (await client.query<SqlRow>(text, values)).rows,
      end: () => client.end(),
    };
  }
  const connection = await createConnection(database.url);
  return {
    kind: 'mysql',
    async run(text, values) {
      const [rows] = await connection.query(text, values);
      return Array.isArray(rows) ? (rows as SqlRow[]) : [];
    },
    end: () => connection.end(),
  };
}
