import { Client } from 'pg';

let count = 0;

// Pools, Kysely and TypeORM all come through here. Only for an experiment that asks for it: nothing is in the way of others.
if (process.env['COUNT_QUERIES']) {
  const prototype = Client.prototype as { query: (...parameters: unknown[]) => unknown };
  const { query } = prototype;
  prototype.query = function (this: Client, ...parameters) {
    count++;
    return Reflect.apply(query, this, parameters);
  };
}

/** Statements that this process has sent to PostgreSQL; counted when the environment has `COUNT_QUERIES`. */
export function queryCount(): number {
  return count;
}
