import type { Step } from '../../../load/load.js';
import type { Bench, ServerSpec } from '../../../questions/question.js';
import type { Adapter } from '../../support/environment.js';

/** One of those that are compared. */
export interface PeerContender {
  readonly name: string;
  /** Module under `servers/`. */
  readonly server: string;
  readonly adapter: Adapter;
  readonly database: boolean;
  /** Steps that it cannot do, and why. */
  readonly cannot: Partial<Record<Step, string>>;
}

/** Whose figures the others' are divided by. */
export const OURS = 'nestjs-session-tokens';

/**
 * Connections to the database of each contender. All take part in one race, and PostgreSQL has 100 by default; with a server
 * on one core, none of them waits for a connection.
 */
const POOL = 8;

const NO_RENEWAL = 'no renewal: the cookie never changes';

export const CONTENDERS: readonly PeerContender[] = [
  { name: OURS, server: 'ours/session-tokens', adapter: 'express', database: true, cannot: {} },
  { name: `${OURS}, Fastify`, server: 'ours/session-tokens', adapter: 'fastify', database: true, cannot: {} },
  {
    name: '@nestjs/jwt, passport-jwt',
    server: 'peers/jwt-passport',
    adapter: 'express',
    database: true,
    cannot: {},
  },
  {
    name: 'express-session, connect-pg-simple',
    server: 'peers/express-session-pg',
    adapter: 'express',
    database: true,
    cannot: { renew: `${NO_RENEWAL}, each GET moves its expiry`, devices: 'the store has no list' },
  },
  {
    name: 'express-session, connect-typeorm',
    server: 'peers/express-session-typeorm',
    adapter: 'express',
    database: true,
    cannot: {
      renew: `${NO_RENEWAL}, each GET moves its expiry`,
      devices: 'the store lists the sessions of all users only',
    },
  },
  {
    name: 'better-auth',
    server: 'peers/better-auth',
    adapter: 'express',
    database: true,
    cannot: { renew: `${NO_RENEWAL}, its expiry moves once a day` },
  },
  {
    name: 'better-auth, cookie cache',
    server: 'peers/better-auth-cookie-cache',
    adapter: 'express',
    database: true,
    cannot: {},
  },
  {
    name: 'iron-session',
    server: 'peers/iron-session',
    adapter: 'express',
    database: false,
    cannot: { devices: 'the server does not know of any session' },
  },
  { name: 'supertokens-node', server: 'peers/supertokens', adapter: 'express', database: false, cannot: {} },
];

/** How a contender is started, with an empty database of its own. @param options of our module */
export async function specOf(
  bench: Bench,
  contender: PeerContender,
  options: object = {},
): Promise<ServerSpec> {
  const { server, adapter } = contender;
  const database = contender.database ? await bench.database('postgres') : undefined;
  if (contender.database && !database) throw new Error('This question needs PostgreSQL: see README.md.');
  return {
    server,
    adapter,
    pool: POOL,
    ...(database && { databaseUrl: database.url }),
    env: { SESSION_OPTIONS: JSON.stringify(options) },
  };
}
