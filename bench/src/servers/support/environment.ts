/** HTTP adapters of Nest. */
export type Adapter = 'express' | 'fastify';

/** What the runner tells a server process. */
export interface ServerEnvironment {
  readonly adapter: Adapter;
  /** `postgres://…`, `mysql://…`, or `sqlite:` and a file name or `:memory:`; empty where the contender needs none. */
  readonly databaseUrl: string;
  /** Connections to the database, at the most. */
  readonly pool: number;
  /** 43 random characters; the same for all processes of one run. */
  readonly secret: string;
}

/** The environment of this server process. */
export function readEnvironment(): ServerEnvironment {
  const { ADAPTER = 'express', DATABASE_URL = '', POOL = '16', SECRET = '' } = process.env;
  if (ADAPTER !== 'express' && ADAPTER !== 'fastify') throw new Error(`There is no adapter "${ADAPTER}".`);
  return { adapter: ADAPTER, databaseUrl: DATABASE_URL, pool: Number(POOL), secret: SECRET };
}
